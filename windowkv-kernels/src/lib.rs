//! WindowKV's CUDA kernels behind a safe interface.
//!
//! The same kernel sources (the folder `cuda`) run on two machines: on an emulated GPU, which every build
//! has, and on a real one, with the feature `cuda`. A [`Device`] is one of them; [`Device::all`] gives all
//! that are at hand. `docs/emulated-gpu.md` tells what the emulated one is and what it checks.
//!
//! An op takes one struct of parameters, whose tensors are views: they say shape, strides and element type,
//! know where their memory lies and how long it lives, and were checked against it. Memory may be a [`Buffer`] or,
//! with the feature `cuda`, what cudarc owns. Nothing allocates or waits; an op can be captured in a CUDA graph,
//! whose replays use the same memory: it has to live as long as the graph.
//!
//! ```
//! use windowkv_kernels::{Device, Matrix, MatrixMut, ops};
//!
//! let device = Device::emulated();
//! let scores = device.upload(&[0.1_f32, 0.9, 0.3, 0.9])?;
//! let (num_windows, num_keep) = (device.upload(&[4_i32])?, device.upload(&[2_i32])?);
//! let (mut indices, mut num_kept) = (device.zeroed::<i32>(2)?, device.zeroed::<i32>(1)?);
//! ops::select(
//!     &device,
//!     ops::SelectParams {
//!         scores: Matrix::new(scores.view(), 1, 4)?,
//!         num_windows: num_windows.view(),
//!         num_keep: num_keep.view(),
//!         indices: MatrixMut::new(indices.view_mut(), 1, 2)?,
//!         num_kept: num_kept.view_mut(),
//!         flags: None,
//!     },
//! )?;
//! assert_eq!(indices.download()?, [1, 3]);
//! # Ok::<(), windowkv_kernels::Error>(())
//! ```
//!
//! `docs/kernels.md` tells what each kernel computes and how; the numbered examples lead from scored windows to a
//! whole group of layers.

mod buffer;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
mod element;
mod error;
mod faults;
#[doc(hidden)]
pub mod ffi;
mod flags;
mod mark;
pub mod matmul;
mod observation;
pub mod ops;
#[doc(hidden)]
pub mod probe;
mod range;
mod sampling;
mod trace;
mod view;

pub use buffer::Buffer;
pub use device::{Device, Place, Schedule};
pub use element::{Element, Float, HalfPrecision};
pub use error::Error;
pub use faults::Faults;
pub use flags::Flags;
pub use mark::Mark;
pub use observation::Observation;
pub use range::{Range, range};
pub use sampling::Sampling;
pub use trace::Trace;
pub use view::{
    CacheLayout, CacheMut, InOut, Matrix, MatrixMut, Pages, RowsF32, RowsF32Mut, Sequences, Shape,
    Slice, SliceMut, Strides, Tensor, TensorMut,
};
