//! Matrices.

use crate::device::Device;
use crate::element::Element;
use crate::error::Error;
use crate::view::layout::check;
use crate::view::{Slice, SliceMut};

/// Rows in device memory, to be read: element (r, c) is at `offset + r * stride + c`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T: Element> {
    memory: Slice<'a, T>,
    layout: Layout,
}

/// The same, to be written.
#[derive(Debug)]
pub struct MatrixMut<'a, T: Element> {
    memory: SliceMut<'a, T>,
    layout: Layout,
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    rows: usize,
    columns: usize,
    stride: usize,
    offset: usize,
}

macro_rules! matrix_methods {
    ($slice:ident, $exclusive:literal) => {
        /// Adjacent rows from the start of `memory`.
        ///
        /// # Errors
        /// [`Error::Shape`] when they do not fit.
        pub fn new(memory: $slice<'a, T>, rows: usize, columns: usize) -> Result<Self, Error> {
            Self::strided(memory, rows, columns, columns, 0)
        }

        /// Rows `stride` elements apart from element `offset` of `memory` on.
        ///
        /// # Errors
        /// [`Error::Shape`] when they do not fit, or when they would be written and overlap.
        pub fn strided(
            memory: $slice<'a, T>,
            rows: usize,
            columns: usize,
            stride: usize,
            offset: usize,
        ) -> Result<Self, Error> {
            check(&[(rows, stride)], columns, offset, memory.len(), $exclusive)?;
            Ok(Self {
                memory,
                layout: Layout {
                    rows,
                    columns,
                    stride,
                    offset,
                },
            })
        }

        /// Rows.
        pub fn rows(&self) -> usize {
            self.layout.rows
        }

        /// Columns.
        pub fn columns(&self) -> usize {
            self.layout.columns
        }

        /// Elements from one row to the next.
        pub fn stride(&self) -> usize {
            self.layout.stride
        }

        pub(crate) fn on(&self, name: &'static str, device: &Device) -> Result<(), Error> {
            self.memory.on(name, device)
        }
    };
}

impl<'a, T: Element> Matrix<'a, T> {
    matrix_methods!(Slice, false);

    pub(crate) fn as_ptr(&self) -> *const T {
        self.memory.as_ptr().wrapping_add(self.layout.offset)
    }
}

impl<'a, T: Element> MatrixMut<'a, T> {
    matrix_methods!(SliceMut, true);

    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.memory.as_mut_ptr().wrapping_add(self.layout.offset)
    }
}
