//! Products by `cp.async` and `mma`, in f16 with sums in f32.

use half::f16;
use windowkv_kernels::{Device, Error, Matrix, MatrixMut, ops};

use super::{Product, Verdict};

/// m, n, k. The last ones end exactly where their memory ends.
const SHAPES: [(usize, usize, usize); 3] = [(60, 50, 232), (8, 8, 8), (70, 66, 40)];

pub(crate) fn run(device: &Device) -> Result<Verdict, Error> {
    for shape in SHAPES {
        let product = Product::new(shape);
        let upload = |values: &[f32]| {
            let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
            device.upload(&halves)
        };
        let (a, b) = (upload(&product.a)?, upload(&product.b)?);
        let (m, n, k) = shape;
        let mut c = device.poisoned::<f32>(m * product.c_stride())?;
        ops::mma_product(
            device,
            &Matrix::new(a.view(), m, k)?,
            &Matrix::new(b.view(), n, k)?,
            &mut MatrixMut::strided(c.view_mut(), m, n, product.c_stride(), 0)?,
        )?;
        let verdict = product.compare(&c.download()?, |sum| sum);
        if !matches!(verdict, Verdict::Right) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Right)
}
