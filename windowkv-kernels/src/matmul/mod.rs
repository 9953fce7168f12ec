//! Matrix products with weights: what stands between the kernels of a layer.

mod emulated;

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
/// On the emulated GPU each number is summed in one fixed order, so that a row has the same bits alone and among
/// others.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::WrongDevice`], [`Error::Unsupported`] on a device that
/// has no matrix products.
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
    if device.name() != "emulated" {
        return Err(Error::Unsupported(format!(
            "{} has no matrix products in this version: use the emulated device, or the CPU runner",
            device.place()
        )));
    }
    device.launched("matmul");
    emulated::matmul(params);
    Ok(())
}
