//! The types of numbers in device memory.

use half::{bf16, f16};

use crate::ffi;
use crate::observation::Observation;
use crate::sampling::Sampling;

mod sealed {
    pub trait Sealed {}
}

/// A type of numbers in device memory: any bits are a value of it, and it has no padding.
pub trait Element: Copy + Default + std::fmt::Debug + sealed::Sealed + 'static {}

/// A floating-point type that kernels take as `dtype`.
pub trait Float: Element {
    /// How the C ABI names it.
    #[doc(hidden)]
    const DTYPE: ffi::wkv_dtype;

    /// Rounded to nearest, ties to even.
    fn from_f32(value: f32) -> Self;

    /// Exact.
    fn to_f32(self) -> f32;
}

/// A half-precision type of the tensor cores: `f16` or `bf16`.
pub trait HalfPrecision: Float {}

macro_rules! elements {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {}
    )*};
}
elements!(
    u8,
    u16,
    u32,
    u64,
    i32,
    f32,
    f16,
    bf16,
    Observation,
    Sampling
);

impl Float for f16 {
    const DTYPE: ffi::wkv_dtype = ffi::wkv_dtype_WKV_F16;

    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }

    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
}
impl Float for bf16 {
    const DTYPE: ffi::wkv_dtype = ffi::wkv_dtype_WKV_BF16;

    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }

    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
}
impl Float for f32 {
    const DTYPE: ffi::wkv_dtype = ffi::wkv_dtype_WKV_F32;

    fn from_f32(value: f32) -> Self {
        value
    }

    fn to_f32(self) -> f32 {
        self
    }
}
impl HalfPrecision for f16 {}
impl HalfPrecision for bf16 {}
