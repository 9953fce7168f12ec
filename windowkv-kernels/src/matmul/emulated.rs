//! Products over the emulated GPU's memory, which is the host's.

use super::MatmulParams;
use crate::element::{Float, HalfPrecision};

/// Interleaved partial sums: the loop becomes SIMD code, and the order of the additions depends on nothing.
const LANES: usize = 16;

/// Shapes and devices were checked.
pub(super) fn matmul<T: HalfPrecision, O: Float>(params: MatmulParams<'_, T, O>) {
    let MatmulParams {
        x,
        weight,
        bias,
        mut y,
        accumulate,
    } = params;
    let (rows, inner, outputs) = (x.rows(), x.columns(), weight.rows());
    let wide_x: Vec<f32> = (0..rows)
        .flat_map(|row| row_of(x.as_ptr(), row * x.stride(), inner))
        .map(|value| value.to_f32())
        .collect();
    let bias = bias.map(|bias| row_of(bias.as_ptr(), 0, outputs));
    let (y_start, y_stride) = (y.as_mut_ptr(), y.stride());
    let mut wide_w = vec![0.0_f32; inner];
    for output in 0..outputs {
        let w = row_of(weight.as_ptr(), output * weight.stride(), inner);
        for (wide, value) in wide_w.iter_mut().zip(w) {
            *wide = value.to_f32();
        }
        let bias = bias.map_or(0.0, |bias| bias[output].to_f32());
        for row in 0..rows {
            let mut sum = dot(&wide_x[row * inner..(row + 1) * inner], &wide_w) + bias;
            // SAFETY: the view's element (row, output) lies inside its memory, which is the host's and exclusive.
            let y = unsafe { &mut *y_start.add(row * y_stride + output) };
            if accumulate {
                sum += y.to_f32();
            }
            *y = O::from_f32(sum);
        }
    }
}

/// `len` elements of a view that was checked to hold them.
fn row_of<'a, T: Float>(start: *const T, offset: usize, len: usize) -> &'a [T] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the callers pass rows inside a checked view of the host's memory, which outlives the call of `matmul`.
    unsafe { std::slice::from_raw_parts(start.add(offset), len) }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_body, a_tail) = a.as_chunks::<LANES>();
    let (b_body, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a_body.iter().zip(b_body) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use crate::matmul::{MatmulParams, matmul};
    use crate::{Device, Error, Matrix, MatrixMut};

    fn numbers(count: usize, factor: usize) -> Vec<bf16> {
        // Small integers over 8: every product and sum of them is exact in float32.
        let value = |i: usize| bf16::from_f32(((i * factor) % 17) as f32 / 8.0 - 1.0);
        (0..count).map(value).collect()
    }

    #[test]
    fn a_strided_product_with_bias_is_added_to_what_was_there() {
        const ROWS: usize = 3;
        const INNER: usize = 37;
        const OUTPUTS: usize = 5;
        let device = Device::emulated();
        let (x, w, bias) = (
            numbers(ROWS * 40, 7),
            numbers(OUTPUTS * INNER, 5),
            numbers(OUTPUTS, 3),
        );
        let [x_buffer, w_buffer, bias_buffer] = [&x, &w, &bias].map(|v| device.upload(v).unwrap());
        let mut y = device.upload(&[0.5_f32; ROWS * 8]).unwrap();
        let params = MatmulParams {
            x: Matrix::strided(x_buffer.view(), ROWS, INNER, 40, 2).unwrap(),
            weight: Matrix::new(w_buffer.view(), OUTPUTS, INNER).unwrap(),
            bias: Some(bias_buffer.view()),
            y: MatrixMut::strided(y.view_mut(), ROWS, OUTPUTS, 8, 1).unwrap(),
            accumulate: true,
        };
        matmul(&device, params).unwrap();
        let y = y.download().unwrap();
        for row in 0..ROWS {
            for column in 0..8 {
                let expected = match column {
                    1..=OUTPUTS => {
                        let output = column - 1;
                        let product: f32 = (0..INNER)
                            .map(|i| x[2 + row * 40 + i].to_f32() * w[output * INNER + i].to_f32())
                            .sum();
                        0.5 + bias[output].to_f32() + product
                    }
                    _ => 0.5,
                };
                assert_eq!(y[row * 8 + column], expected, "row {row}, column {column}");
            }
        }
        assert_eq!(device.trace().launches["matmul"], 1);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let device = Device::emulated();
        let x = device.upload(&numbers(8, 1)).unwrap();
        let mut y = device.zeroed::<f32>(4).unwrap();
        let params = MatmulParams {
            x: Matrix::new(x.view(), 2, 4).unwrap(),
            weight: Matrix::new(x.view(), 2, 3).unwrap(),
            bias: None,
            y: MatrixMut::new(y.view_mut(), 2, 2).unwrap(),
            accumulate: false,
        };
        assert!(matches!(matmul(&device, params), Err(Error::Shape(_))));
    }
}
