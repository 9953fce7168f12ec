//! WindowKV's CUDA kernels behind a safe interface.
//!
//! The same kernel sources (the folder `cuda`) run on two machines: on an emulated GPU, which every build
//! has, and on a real one, with the feature `cuda`. A [`Device`] is one of them; [`Device::all`] gives all
//! that are at hand. `docs/emulated-gpu.md` tells what the emulated one is and what it checks.
//!
//! An op takes one struct of parameters, whose tensors are views: they say shape, strides and element type,
//! know where their memory lies and how long it lives, and were checked against it. Memory may be a [`Buffer`] or,
//! with the feature `cuda`, what cudarc owns. Nothing allocates or waits; an op can be captured in a CUDA graph.
//!
//! ```
//! use windowkv_kernels::{Device, Matrix, ops};
//!
//! let device = Device::emulated();
//! let input = device.upload(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! let mut sums = device.poisoned::<f32>(2)?;
//! ops::row_sum(&device, &Matrix::new(input.view(), 2, 3)?, sums.view_mut())?;
//! assert_eq!(sums.download()?, [6.0, 15.0]);
//! # Ok::<(), windowkv_kernels::Error>(())
//! ```

mod buffer;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
mod element;
mod error;
#[doc(hidden)]
pub mod ffi;
mod flags;
mod observation;
pub mod ops;
#[doc(hidden)]
pub mod probe;
mod sampling;
mod view;

pub use buffer::Buffer;
pub use device::{Device, Place, Schedule};
pub use element::{Element, Float, HalfPrecision};
pub use error::Error;
pub use flags::Flags;
pub use observation::Observation;
pub use sampling::Sampling;
pub use view::{
    CacheLayout, CacheMut, InOut, Matrix, MatrixMut, Pages, RowsF32, RowsF32Mut, Sequences, Shape,
    Slice, SliceMut, Strides, Tensor, TensorMut,
};
