//! Memory of the emulated GPU so large that only the pages that are touched exist: for offsets past 2^31.

use std::marker::PhantomData;

use memmap2::{MmapMut, MmapOptions};
use windowkv_kernels::{Device, Element, Slice, SliceMut};

/// Zeros that the emulated GPU reads and writes where they lie.
#[derive(Debug)]
pub struct SparseMemory<T: Element> {
    pages: MmapMut,
    len: usize,
    device: Device,
    element: PhantomData<T>,
}

impl<T: Element> SparseMemory<T> {
    /// `len` zeros for `device`, which is an emulated one.
    ///
    /// # Panics
    /// For a GPU, or when the system does not give the addresses.
    pub fn new(device: &Device, len: usize) -> Self {
        assert_ne!(device.name(), "cuda", "a GPU has no such memory");
        let pages = MmapOptions::new()
            .len(len * size_of::<T>())
            .no_reserve_swap()
            .map_anon()
            .expect("addresses, and no memory yet");
        Self {
            pages,
            len,
            device: device.clone(),
            element: PhantomData,
        }
    }

    /// All of it, to be read.
    pub fn view(&self) -> Slice<'_, T> {
        // SAFETY: the mapping holds `len` zeros of a type to which any bits belong, starts at a page, and is borrowed
        // as long as the slice.
        unsafe { Slice::from_raw(self.pages.as_ptr().cast(), self.len, self.device.place()) }
    }

    /// All of it, to be written.
    pub fn view_mut(&mut self) -> SliceMut<'_, T> {
        // SAFETY: as in `view`, and the borrow is exclusive.
        unsafe {
            SliceMut::from_raw(
                self.pages.as_mut_ptr().cast(),
                self.len,
                self.device.place(),
            )
        }
    }

    /// The elements from `first` on.
    ///
    /// # Panics
    /// When they lie outside.
    pub fn elements(&mut self, first: usize, count: usize) -> &mut [T] {
        assert!(first + count <= self.len);
        // SAFETY: as in `view_mut`, inside the bounds; kernels on the emulated GPU have ended when their call returns.
        unsafe {
            std::slice::from_raw_parts_mut(self.pages.as_mut_ptr().cast::<T>().add(first), count)
        }
    }
}
