//! Views of device memory: shape, strides, dtype, device and lifetime, checked before a kernel sees them.

mod cache;
mod in_out;
mod layout;
mod matrix;
mod rows;
mod sequences;
mod slice;
mod tensor;

pub use cache::{CacheLayout, CacheMut, Pages};
pub use in_out::InOut;
pub use layout::{Shape, Strides};
pub use matrix::{Matrix, MatrixMut};
pub use rows::{RowsF32, RowsF32Mut};
pub use sequences::Sequences;
pub use slice::{Slice, SliceMut};
pub use tensor::{Tensor, TensorMut};

pub(crate) use rows::no_rows;
pub(crate) use tensor::{no_tensor, raw_strides};
