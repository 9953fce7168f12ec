//! The gate of a feed-forward layer.

use crate::device::Device;
use crate::element::HalfPrecision;
use crate::error::Error;
use crate::ffi;
use crate::view::{InOut, Matrix};

/// Parameters of [`silu_mul`].
#[derive(Debug)]
pub struct SiluMulParams<'a, T: HalfPrecision> {
    /// gate and out, `[rows, columns]`; `columns` is a multiple of 8.
    pub gate: InOut<'a, T>,
    /// `[rows, columns]`
    pub up: Matrix<'a, T>,
}

/// `out = gate / (1 + exp(-gate)) * up`, in float32.
///
/// # Errors
/// As [`rms_norm`](super::rms_norm).
pub fn silu_mul<T: HalfPrecision>(
    device: &Device,
    params: SiluMulParams<'_, T>,
) -> Result<(), Error> {
    let SiluMulParams { mut gate, up } = params;
    let (rows, columns) = (up.rows(), up.columns());
    up.on("up", device)?;
    gate.check("gate", device, rows, columns)?;
    let gate = gate.raw();
    let params = ffi::wkv_silu_mul_params {
        struct_size: size_of::<ffi::wkv_silu_mul_params>(),
        gate: gate.input.cast(),
        up: up.as_ptr().cast(),
        out: gate.output.cast(),
        gate_stride: gate.input_stride,
        up_stride: up.stride() as i64,
        out_stride: gate.output_stride,
        rows: rows as i64,
        columns: Error::int32("the number of columns", columns)?,
        dtype: T::DTYPE,
        stream: device.stream(),
    };
    let function = device.kernel(|kernels| kernels.silu_mul, "silu_mul")?;
    // SAFETY: as in `rms_norm`.
    device.check(unsafe { function(&params) })
}
