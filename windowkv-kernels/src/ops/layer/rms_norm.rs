//! RMS norm with a residual.

use crate::device::Device;
use crate::element::HalfPrecision;
use crate::error::Error;
use crate::ffi;
use crate::view::{InOut, Matrix, Slice};

/// What is added to a layer's rows before they are normed.
#[derive(Debug)]
pub enum Residual<'a, T: HalfPrecision> {
    /// Added; the sum is not kept.
    Add(Matrix<'a, T>),
    /// Added; the sum is stored in the second matrix, or in its place: the residual stream goes on with it.
    AddAndStore(InOut<'a, T>),
}

/// Parameters of [`rms_norm`].
#[derive(Debug)]
pub struct RmsNormParams<'a, T: HalfPrecision> {
    /// x and out, `[rows, hidden]`; `hidden` is a multiple of 8.
    pub x: InOut<'a, T>,
    /// `[rows, hidden]`, or nothing.
    pub residual: Option<Residual<'a, T>>,
    /// `[hidden]`
    pub weight: Slice<'a, T>,
    /// Added to the mean of the squares.
    pub eps: f32,
}

/// `y = x + residual`, rounded to `T`; `out = y / sqrt(mean(y^2) + eps) * weight`, row by row, in float32.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::InvalidArgument`] when `hidden` or a stride is not a
/// multiple of 8 or rows are not 16-byte aligned, [`Error::WrongDevice`]; what the launch gives.
pub fn rms_norm<T: HalfPrecision>(
    device: &Device,
    params: RmsNormParams<'_, T>,
) -> Result<(), Error> {
    let RmsNormParams {
        mut x,
        residual,
        weight,
        eps,
    } = params;
    let (rows, hidden) = (x.rows(), x.columns());
    x.check("x", device, rows, hidden)?;
    weight.on("weight", device)?;
    Error::same("rms_norm: the length of weight", weight.len(), hidden)?;
    let x = x.raw();
    let mut raw = ffi::wkv_rms_norm_params {
        struct_size: size_of::<ffi::wkv_rms_norm_params>(),
        x: x.input.cast(),
        residual: std::ptr::null(),
        sum: std::ptr::null_mut(),
        weight: weight.as_ptr().cast(),
        out: x.output.cast(),
        x_stride: x.input_stride,
        residual_stride: 0,
        sum_stride: 0,
        out_stride: x.output_stride,
        rows: rows as i64,
        hidden: Error::int32("hidden", hidden)?,
        eps,
        dtype: T::DTYPE,
        stream: device.stream(),
    };
    match residual {
        None => {}
        Some(Residual::Add(residual)) => {
            residual.on("residual", device)?;
            Error::same("residual: the number of rows", residual.rows(), rows)?;
            Error::same(
                "residual: the number of columns",
                residual.columns(),
                hidden,
            )?;
            raw.residual = residual.as_ptr().cast();
            raw.residual_stride = residual.stride() as i64;
        }
        Some(Residual::AddAndStore(mut stored)) => {
            stored.check("residual", device, rows, hidden)?;
            let stored = stored.raw();
            raw.residual = stored.input.cast();
            raw.residual_stride = stored.input_stride;
            raw.sum = stored.output.cast();
            raw.sum_stride = stored.output_stride;
        }
    }
    let function = device.kernel(|kernels| kernels.rms_norm, "rms_norm")?;
    // SAFETY: the views keep their memory alive and inside its bounds until the call returns, and those that are
    // written are exclusive; it lies where the device's stream orders the kernel before every later use of it.
    device.check(unsafe { function(&raw) })
}
