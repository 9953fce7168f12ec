//! Matrix products with weights: what stands between the kernels of a layer.

#[cfg(feature = "cuda")]
mod cuda;
mod emulated;

#[cfg(feature = "cuda")]
pub(crate) use cuda::Products;

use crate::device::Device;
use crate::element::{Float, HalfPrecision};
use crate::error::Error;
use crate::view::{Matrix, MatrixMut, Slice};

/// Parameters of [`matmul`].
#[derive(Debug)]
pub struct MatmulParams<'a, T: HalfPrecision, O: Float> {
    /// `[rows, in]`
    pub x: Matrix<'a, T>,
    /// `[out, in]`, as checkpoints have it.
    pub weight: Matrix<'a, T>,
    /// `[out]`
    pub bias: Option<Slice<'a, T>>,
    /// `[rows, out]`
    pub y: MatrixMut<'a, O>,
    /// Whether the product is added to what is in `y`, which is read in its own precision.
    pub accumulate: bool,
}

/// `y = x weight^T + bias`, or `y += x weight^T + bias`: sums in float32, one rounding at the end.
///
/// On a GPU cuBLASLt computes it, in one launch; which kernel it takes may depend on the number of rows. On the emulated
/// GPU each number is summed in one fixed order, so that a row has the same bits alone and among others.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::WrongDevice`], [`Error::Unsupported`] on a device that
/// has no matrix products or on a machine without cuBLASLt, [`Error::InvalidArgument`] on a GPU without a stream of
/// cudarc's, [`Error::Device`].
pub fn matmul<T: HalfPrecision, O: Float>(
    device: &Device,
    params: MatmulParams<'_, T, O>,
) -> Result<(), Error> {
    let MatmulParams {
        x, weight, bias, y, ..
    } = &params;
    x.on("x", device)?;
    weight.on("weight", device)?;
    y.on("y", device)?;
    Error::same("matmul: the columns of x", x.columns(), weight.columns())?;
    Error::same("matmul: the rows of y", y.rows(), x.rows())?;
    Error::same("matmul: the columns of y", y.columns(), weight.rows())?;
    if let Some(bias) = bias {
        bias.on("bias", device)?;
        Error::same("matmul: the length of bias", bias.len(), weight.rows())?;
    }
    device.launched("matmul")?;
    match device.name() {
        "emulated" => {
            emulated::matmul(params);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        "cuda" => cuda::matmul(device, params),
        _ => Err(Error::Unsupported(format!(
            "{} is another library's, which has no matrix products: use this one's devices",
            device.place()
        ))),
    }
}

/// Bytes of the device's memory that products work in, beside any [`Buffer`](crate::Buffer).
pub fn workspace_bytes(device: &Device) -> u64 {
    match device.name() {
        #[cfg(feature = "cuda")]
        "cuda" => cuda::WORKSPACE_BYTES as u64,
        _ => 0,
    }
}
