//! KV caches, in one run a sequence or in pages.

use crate::device::Device;
use crate::element::Element;
use crate::error::Error;
use crate::ffi;
use crate::view::layout::{Shape, Strides, check};
use crate::view::tensor::raw_strides;
use crate::view::{Slice, SliceMut};

/// Where the tokens of each sequence's cache lie. Keys and values, and all layers of a call, lie alike.
#[derive(Clone, Copy, Debug)]
pub struct CacheLayout<'a> {
    batch: usize,
    capacity: usize,
    heads: usize,
    head_dim: usize,
    strides: Strides,
    pages: Option<Pages<'a>>,
}

/// The pages of a paged cache.
#[derive(Clone, Copy, Debug)]
pub struct Pages<'a> {
    /// `[batch, pages_per_sequence]`: the page of tokens `i * page_len ..`. A number outside `0 .. num_pages` is
    /// no page: what would lie there is neither read nor written, and the flag for it is raised.
    pub table: Slice<'a, i32>,
    /// Pages that each sequence has in the table.
    pub pages_per_sequence: usize,
    /// Tokens of a page, a power of two.
    pub page_len: usize,
    /// Pages that the memory holds.
    pub num_pages: usize,
}

impl<'a> CacheLayout<'a> {
    /// `[batch, capacity, heads, head_dim]` with these strides.
    pub fn contiguous(shape: [usize; 4], strides: Strides) -> Self {
        let [batch, capacity, heads, head_dim] = shape;
        Self {
            batch,
            capacity,
            heads,
            head_dim,
            strides,
            pages: None,
        }
    }

    /// `[num_pages, page_len, heads, head_dim]` with these strides (`batch`: from one page to the next). Every
    /// sequence has room for `pages_per_sequence * page_len` tokens.
    ///
    /// # Errors
    /// [`Error::Shape`] when the table is not `[batch, pages_per_sequence]` or `page_len` no power of two.
    pub fn paged(
        batch: usize,
        heads: usize,
        head_dim: usize,
        strides: Strides,
        pages: Pages<'a>,
    ) -> Result<Self, Error> {
        let Pages {
            table,
            pages_per_sequence,
            page_len,
            num_pages: _,
        } = pages;
        if !page_len.is_power_of_two() {
            return Err(Error::Shape(format!(
                "page_len is {page_len}, not a power of two"
            )));
        }
        let wanted = batch.checked_mul(pages_per_sequence);
        if wanted != Some(table.len()) {
            return Err(Error::Shape(format!(
                "the page table has {} entries, not {pages_per_sequence} for each of {batch} sequences",
                table.len()
            )));
        }
        let capacity = pages_per_sequence.saturating_mul(page_len);
        Ok(Self {
            batch,
            capacity,
            heads,
            head_dim,
            strides,
            pages: Some(pages),
        })
    }

    /// Sequences.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Tokens that a sequence has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// KV heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Numbers of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Strides; `batch` is from one page to the next in a paged cache.
    pub fn strides(&self) -> Strides {
        self.strides
    }

    /// Strides of `[batch, capacity, heads, head_dim]` with tokens outermost and no gaps.
    pub fn tokens_outermost(shape: [usize; 4]) -> Strides {
        Shape::new(shape).tokens_outermost()
    }

    /// Checks that keys and values of `len` elements hold it, and that it lies on the device.
    pub(crate) fn check(
        &self,
        name: &'static str,
        device: &Device,
        len: usize,
    ) -> Result<(), Error> {
        if let Some(pages) = self.pages {
            pages.table.on(name, device)?;
            Error::int32(&format!("{name}: num_pages"), pages.num_pages)?;
            Error::int32(&format!("{name}: page_len"), pages.page_len)?;
        }
        Error::int32(&format!("{name}: the capacity"), self.capacity)?;
        check(&self.dims(), self.head_dim, 0, len, true)
    }

    /// Sizes and strides of the memory: of its sequences, or of its pages.
    fn dims(&self) -> [(usize, usize); 3] {
        let (outer, tokens) = match self.pages {
            Some(pages) => (pages.num_pages, pages.page_len),
            None => (self.batch, self.capacity),
        };
        [
            (outer, self.strides.batch),
            (tokens, self.strides.token),
            (self.heads, self.strides.head),
        ]
    }

    pub(crate) fn raw(&self) -> ffi::wkv_cache_layout {
        let (table, stride, page_len, num_pages) = match self.pages {
            Some(pages) => (
                pages.table.as_ptr(),
                pages.pages_per_sequence,
                pages.page_len,
                pages.num_pages,
            ),
            None => (std::ptr::null(), 0, 0, 0),
        };
        ffi::wkv_cache_layout {
            strides: raw_strides(self.strides),
            page_table: table,
            page_table_stride: stride as i64,
            page_len: page_len as i32,
            num_pages: num_pages as i32,
            capacity: self.capacity as i64,
        }
    }
}

/// The keys and values of one layer's cache.
#[derive(Debug)]
pub struct CacheMut<'a, T: Element> {
    /// Keys, as the layout says.
    pub k: SliceMut<'a, T>,
    /// Values, likewise.
    pub v: SliceMut<'a, T>,
}

impl<T: Element> CacheMut<'_, T> {
    pub(crate) fn check(&self, device: &Device, layout: &CacheLayout<'_>) -> Result<(), Error> {
        self.k.on("the keys of the cache", device)?;
        self.v.on("the values of the cache", device)?;
        layout.check("the keys of the cache", device, self.k.len())?;
        layout.check("the values of the cache", device, self.v.len())
    }
}
