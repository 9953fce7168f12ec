//! Products by TMA and `wgmma`, in f16.

use half::f16;
use windowkv_kernels::{Device, Error, Matrix, MatrixMut, ops};

use super::{Product, Verdict};

/// m, n, k. The last ones end exactly where their memory ends.
const SHAPES: [(usize, usize, usize); 3] = [(60, 56, 328), (8, 8, 8), (70, 72, 72)];

pub(crate) fn run(device: &Device) -> Result<Verdict, Error> {
    for shape in SHAPES {
        let product = Product::new(shape);
        let upload = |values: &[f32]| {
            let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
            device.upload(&halves)
        };
        let (a, b) = (upload(&product.a)?, upload(&product.b)?);
        let (m, n, k) = shape;
        let mut c = device.poisoned::<f16>(m * product.c_stride())?;
        ops::wgmma_product(
            device,
            &Matrix::new(a.view(), m, k)?,
            &Matrix::new(b.view(), n, k)?,
            &mut MatrixMut::strided(c.view_mut(), m, n, product.c_stride(), 0)?,
        )?;
        let values: Vec<f32> = c.download()?.into_iter().map(f16::to_f32).collect();
        let verdict = product.compare(&values, |sum| f16::from_f32(sum).to_f32());
        if !matches!(verdict, Verdict::Right) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Right)
}
