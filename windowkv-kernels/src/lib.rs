//! WindowKV's CUDA kernels behind a safe interface.
//!
//! The same kernel sources (the folder `cuda`) run on two machines: on an emulated GPU, which every build
//! has, and on a real one, with the feature `cuda`. A [`Device`] is one of them; [`Device::all`] gives all
//! that are at hand. `docs/emulated-gpu.md` tells what the emulated one is and what it checks.
//!
//! ```
//! use windowkv_kernels::{Device, Matrix, ops};
//!
//! let device = Device::emulated();
//! let input = device.upload(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! let mut sums = device.poisoned::<f32>(2)?;
//! ops::row_sum(&device, &Matrix::new(&input, 2, 3)?, &mut sums)?;
//! assert_eq!(sums.download()?, [6.0, 15.0]);
//! # Ok::<(), windowkv_kernels::Error>(())
//! ```

mod device;
mod error;
#[doc(hidden)]
pub mod ffi;
pub mod ops;
pub mod probe;

pub use device::{Buffer, Device, Element, HalfPrecision, Matrix, MatrixMut, Schedule};
pub use error::Error;
