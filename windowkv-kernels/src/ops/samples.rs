//! The sample kernels of the tutorial (`cuda/samples`).

use crate::device::{Device, entry};
use crate::element::HalfPrecision;
use crate::error::Error;
use crate::ffi;
use crate::view::{Matrix, MatrixMut, SliceMut};

/// `output[r] = sum over c of input[r, c]`, in an order that depends on the number of columns only.
///
/// # Errors
/// [`Error::Shape`] when `output` has not one element a row; what the launch gives.
pub fn row_sum(
    device: &Device,
    input: &Matrix<'_, f32>,
    mut output: SliceMut<'_, f32>,
) -> Result<(), Error> {
    input.on("input", device)?;
    output.on("output", device)?;
    Error::same("row_sum: the length of output", output.len(), input.rows())?;
    let params = ffi::wkv_row_sum_params {
        struct_size: size_of::<ffi::wkv_row_sum_params>(),
        input: input.as_ptr(),
        output: output.as_mut_ptr(),
        rows: input.rows() as i64,
        columns: input.columns() as i64,
        input_stride: input.stride() as i64,
        stream: device.stream(),
    };
    let function = entry(device.testing()?.row_sum, "row_sum")?;
    // SAFETY: the views keep their memory alive and inside its bounds until the call returns; it lies where the
    // device's stream orders the kernel before every later use of it.
    device.check(unsafe { function(&params) })
}

/// `c = a b^T` with `a` [m, k] and `b` [n, k], on the tensor cores of SM 80 and later.
///
/// # Errors
/// [`Error::Shape`] when the shapes do not fit, [`Error::InvalidArgument`] when k or a stride is not a
/// multiple of 8 or a row is not 16-byte aligned; what the launch gives.
pub fn mma_product<T: HalfPrecision>(
    device: &Device,
    a: &Matrix<'_, T>,
    b: &Matrix<'_, T>,
    c: &mut MatrixMut<'_, f32>,
) -> Result<(), Error> {
    c.on("c", device)?;
    let shape = (c.rows(), c.columns(), c.stride());
    let params = product_params(device, a, b, shape, c.as_mut_ptr().cast())?;
    let function = entry(device.testing()?.mma_product, "mma_product")?;
    // SAFETY: as in `row_sum`.
    device.check(unsafe { function(&params) })
}

/// The same on the tensor cores of SM 90a, with `c` in half precision: rounded to nearest from a sum in f32.
///
/// # Errors
/// As [`mma_product`]; also when the rows of `c` are not 16-byte aligned or k is 0.
pub fn wgmma_product<T: HalfPrecision>(
    device: &Device,
    a: &Matrix<'_, T>,
    b: &Matrix<'_, T>,
    c: &mut MatrixMut<'_, T>,
) -> Result<(), Error> {
    c.on("c", device)?;
    let shape = (c.rows(), c.columns(), c.stride());
    let params = product_params(device, a, b, shape, c.as_mut_ptr().cast())?;
    let function = entry(device.testing()?.wgmma_product, "wgmma_product")?;
    // SAFETY: as in `row_sum`.
    device.check(unsafe { function(&params) })
}

fn product_params<T: HalfPrecision>(
    device: &Device,
    a: &Matrix<'_, T>,
    b: &Matrix<'_, T>,
    (m, n, c_stride): (usize, usize, usize),
    c: *mut std::ffi::c_void,
) -> Result<ffi::wkv_product_params, Error> {
    a.on("a", device)?;
    b.on("b", device)?;
    if a.rows() != m || b.rows() != n || a.columns() != b.columns() {
        return Err(Error::Shape(format!(
            "product: {} x {} times the transpose of {} x {} is not {m} x {n}",
            a.rows(),
            a.columns(),
            b.rows(),
            b.columns()
        )));
    }
    Ok(ffi::wkv_product_params {
        struct_size: size_of::<ffi::wkv_product_params>(),
        a: a.as_ptr().cast(),
        b: b.as_ptr().cast(),
        c,
        m: m as i64,
        n: n as i64,
        k: a.columns() as i64,
        a_stride: a.stride() as i64,
        b_stride: b.stride() as i64,
        c_stride: c_stride as i64,
        dtype: T::DTYPE,
        stream: device.stream(),
    })
}
