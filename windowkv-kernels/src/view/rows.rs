//! float32 numbers of each head and token: log-sum-exps and scores.

use crate::device::Device;
use crate::error::Error;
use crate::ffi;
use crate::view::layout::check;
use crate::view::{Slice, SliceMut};

/// `[batch, heads, tokens]` of float32, the tokens of a head side by side, to be read.
#[derive(Clone, Copy, Debug)]
pub struct RowsF32<'a> {
    memory: Slice<'a, f32>,
    layout: Layout,
}

/// The same, to be written.
#[derive(Debug)]
pub struct RowsF32Mut<'a> {
    memory: SliceMut<'a, f32>,
    layout: Layout,
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    shape: [usize; 3],
    batch_stride: usize,
    head_stride: usize,
    offset: usize,
}

impl Layout {
    fn raw(self, start: *mut f32) -> ffi::wkv_rows_f32 {
        ffi::wkv_rows_f32 {
            data: start.wrapping_add(self.offset),
            batch_stride: self.batch_stride as i64,
            head_stride: self.head_stride as i64,
        }
    }
}

/// Rows that nobody gave.
pub(crate) fn no_rows() -> ffi::wkv_rows_f32 {
    ffi::wkv_rows_f32 {
        data: std::ptr::null_mut(),
        batch_stride: 0,
        head_stride: 0,
    }
}

macro_rules! rows_methods {
    ($slice:ident, $exclusive:literal) => {
        /// No gaps, from the start of `memory`.
        ///
        /// # Errors
        /// [`Error::Shape`] when it does not fit.
        pub fn new(memory: $slice<'a, f32>, shape: [usize; 3]) -> Result<Self, Error> {
            let [_, heads, tokens] = shape;
            Self::strided(memory, shape, heads.saturating_mul(tokens), tokens, 0)
        }

        /// With gaps between sequences and heads, from element `offset` of `memory` on.
        ///
        /// # Errors
        /// [`Error::Shape`] when it does not fit, or when it would be written and its elements overlap.
        pub fn strided(
            memory: $slice<'a, f32>,
            shape: [usize; 3],
            batch_stride: usize,
            head_stride: usize,
            offset: usize,
        ) -> Result<Self, Error> {
            let [batch, heads, tokens] = shape;
            check(
                &[(batch, batch_stride), (heads, head_stride)],
                tokens,
                offset,
                memory.len(),
                $exclusive,
            )?;
            Ok(Self {
                memory,
                layout: Layout {
                    shape,
                    batch_stride,
                    head_stride,
                    offset,
                },
            })
        }

        /// `[batch, heads, tokens]`.
        pub fn shape(&self) -> [usize; 3] {
            self.layout.shape
        }

        pub(crate) fn on(&self, name: &'static str, device: &Device) -> Result<(), Error> {
            self.memory.on(name, device)
        }
    };
}

impl<'a> RowsF32<'a> {
    rows_methods!(Slice, false);

    /// For the C ABI, which does not write through it.
    pub(crate) fn raw(&self) -> ffi::wkv_rows_f32 {
        self.layout.raw(self.memory.as_ptr().cast_mut())
    }
}

impl<'a> RowsF32Mut<'a> {
    rows_methods!(SliceMut, true);

    /// The same rows, to be read.
    pub fn view(&self) -> RowsF32<'_> {
        RowsF32 {
            memory: self.memory.view(),
            layout: self.layout,
        }
    }

    pub(crate) fn raw(&mut self) -> ffi::wkv_rows_f32 {
        self.layout.raw(self.memory.as_mut_ptr())
    }
}
