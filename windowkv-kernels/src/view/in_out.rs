//! An op's input and output, which may be one memory.

use crate::device::Device;
use crate::element::Element;
use crate::error::Error;
use crate::view::{Matrix, MatrixMut};

/// What an op reads and what it writes: two matrices of one shape, or one that is overwritten.
#[derive(Debug)]
pub enum InOut<'a, T: Element> {
    /// The first is read, the second is written.
    Apart(Matrix<'a, T>, MatrixMut<'a, T>),
    /// The result takes the place of the input.
    InPlace(MatrixMut<'a, T>),
}

/// Its pointers and row strides for the C ABI.
pub(crate) struct RawInOut<T> {
    pub(crate) input: *const T,
    pub(crate) input_stride: i64,
    pub(crate) output: *mut T,
    pub(crate) output_stride: i64,
}

impl<T: Element> InOut<'_, T> {
    /// Rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Apart(input, _) => input.rows(),
            Self::InPlace(both) => both.rows(),
        }
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        match self {
            Self::Apart(input, _) => input.columns(),
            Self::InPlace(both) => both.columns(),
        }
    }

    /// Checks that both are `[rows, columns]` and lie on the device.
    pub(crate) fn check(
        &self,
        name: &'static str,
        device: &Device,
        rows: usize,
        columns: usize,
    ) -> Result<(), Error> {
        let same = |found: (usize, usize)| {
            Error::same(&format!("{name}: the number of rows"), found.0, rows)?;
            Error::same(&format!("{name}: the number of columns"), found.1, columns)
        };
        match self {
            Self::Apart(input, output) => {
                input.on(name, device)?;
                output.on(name, device)?;
                same((input.rows(), input.columns()))?;
                same((output.rows(), output.columns()))
            }
            Self::InPlace(both) => {
                both.on(name, device)?;
                same((both.rows(), both.columns()))
            }
        }
    }

    pub(crate) fn raw(&mut self) -> RawInOut<T> {
        match self {
            Self::Apart(input, output) => RawInOut {
                input: input.as_ptr(),
                input_stride: input.stride() as i64,
                output: output.as_mut_ptr(),
                output_stride: output.stride() as i64,
            },
            Self::InPlace(both) => {
                let stride = both.stride() as i64;
                let start = both.as_mut_ptr();
                RawInOut {
                    input: start,
                    input_stride: stride,
                    output: start,
                    output_stride: stride,
                }
            }
        }
    }
}
