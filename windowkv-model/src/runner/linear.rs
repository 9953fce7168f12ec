//! Products with a weight matrix: many rows at once in prefill, few in decode.

use half::slice::HalfFloatSliceExt;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use rayon::prelude::*;
use windowkv_ref::linalg::{Threads, dot, matmul};

use crate::weights::{Elements, Linear, Tensor};

/// Elements of 16-bit weights that are widened to f32 at a time in prefill: large enough for the matrix
/// product to run at its full rate, small enough to stay in the last-level cache.
pub(super) const PANEL_ELEMENTS: usize = 1 << 20;

/// Up to so many rows reading the weights is what takes the time, and widening them would take more.
const STREAMED_ROWS: usize = 8;

/// What a product does with what its output held before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// `y = x W^T + b`
    Replace,
    /// `y += x W^T + b`, for residuals
    Add,
}

/// Elements of the f32 panel that [`project`] needs for a weight `[rows, columns]`.
fn panel_elements(weight: &Tensor) -> usize {
    match weight.elements() {
        Elements::F32(_) => 0,
        _ => panel_rows(weight) * weight.shape()[1],
    }
}

fn panel_rows(weight: &Tensor) -> usize {
    let (rows, columns) = (weight.shape()[0], weight.shape()[1]);
    (PANEL_ELEMENTS / columns).max(64).min(rows)
}

/// Prefill: `x [rows, in]`, `y [rows, out]`, through the GEMM crate. 16-bit weights are widened panel by
/// panel into `panel`, which grows to [`panel_elements`]. A few rows are left to [`stream`].
pub(super) fn project(
    x: ArrayView2<'_, f32>,
    linear: &Linear,
    mut y: ArrayViewMut2<'_, f32>,
    output: Output,
    panel: &mut Vec<f32>,
) {
    if x.nrows() <= STREAMED_ROWS {
        return stream(x, linear, y, output);
    }
    let accumulate = start(linear, &mut y, output);
    let weight = &linear.weight;
    let (out, columns) = (weight.shape()[0], weight.shape()[1]);
    let elements = weight.elements();
    if let Elements::F32(data) = elements {
        let w =
            ArrayView2::from_shape((out, columns), data).expect("a tensor is as long as its shape");
        matmul(x, w.t(), y, accumulate, Threads::All);
        return;
    }
    let rows = panel_rows(weight);
    panel.resize(panel_elements(weight).max(panel.len()), 0.0);
    for first in (0..out).step_by(rows) {
        let rows = rows.min(out - first);
        let panel = &mut panel[..rows * columns];
        panel
            .par_chunks_mut(columns)
            .with_min_len(16)
            .enumerate()
            .for_each(|(row, wide)| {
                let row = first + row;
                elements.to_f32(row * columns..(row + 1) * columns, wide);
            });
        let w =
            ArrayView2::from_shape((rows, columns), &*panel).expect("the panel was cut to this");
        matmul(
            x,
            w.t(),
            y.slice_mut(s![.., first..first + rows]),
            accumulate,
            Threads::All,
        );
    }
}

/// Puts the bias in place; returns whether the product must be added to what is in `y`.
fn start(linear: &Linear, y: &mut ArrayViewMut2<'_, f32>, output: Output) -> bool {
    match (&linear.bias, output) {
        (None, output) => output == Output::Add,
        (Some(bias), output) => {
            for mut row in y.rows_mut() {
                for (y, &bias) in row.iter_mut().zip(bias) {
                    *y = if output == Output::Add {
                        *y + bias
                    } else {
                        bias
                    };
                }
            }
            true
        }
    }
}

/// Decode: as [`project`] for a few rows. Each weight is read once, as it lies in memory, whatever the
/// number of rows; a row's result has the same bits alone and among others.
pub(super) fn stream(
    x: ArrayView2<'_, f32>,
    linear: &Linear,
    mut y: ArrayViewMut2<'_, f32>,
    output: Output,
) {
    let accumulate = start(linear, &mut y, output);
    let products = stream_tensor(x, &linear.weight);
    if accumulate {
        y += &products.t();
    } else {
        y.assign(&products.t());
    }
}

/// `W x^T`, `[out, rows]`, for `x [rows, in]` and a weight `[out, in]`.
pub(super) fn stream_tensor(x: ArrayView2<'_, f32>, weight: &Tensor) -> Array2<f32> {
    const OUTPUTS_PER_TASK: usize = 32;
    let (out, columns) = (weight.shape()[0], weight.shape()[1]);
    assert_eq!(
        x.ncols(),
        columns,
        "x and the weight have the same number of columns"
    );
    let rows = x.nrows();
    let x = x.as_standard_layout();
    let x = x.as_slice().expect("standard layout");
    let elements = weight.elements();
    let mut y = vec![0.0; out * rows];
    y.par_chunks_mut(OUTPUTS_PER_TASK * rows.max(1))
        .enumerate()
        .for_each(|(task, y)| {
            let first = task * OUTPUTS_PER_TASK;
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || stream_rows(x, elements, columns, first, rows, y),
            );
        });
    Array2::from_shape_vec((out, rows), y).expect("one product for each output and row")
}

/// Output features `first ..` for all rows: `y [features, rows]`.
#[inline(always)]
fn stream_rows(
    x: &[f32],
    elements: Elements<'_>,
    columns: usize,
    first: usize,
    rows: usize,
    y: &mut [f32],
) {
    const LANES: usize = 32;
    let mut wide = match elements {
        Elements::F16(_) => vec![0.0; columns],
        _ => Vec::new(),
    };
    for (feature, y) in y.chunks_exact_mut(rows).enumerate() {
        let range = (first + feature) * columns..(first + feature + 1) * columns;
        match elements {
            Elements::F32(w) => {
                for (y, x) in y.iter_mut().zip(x.chunks_exact(columns)) {
                    *y = dot::<LANES, f32, f32>(&w[range.clone()], x, |w| w);
                }
            }
            Elements::Bf16(w) => {
                for (y, x) in y.iter_mut().zip(x.chunks_exact(columns)) {
                    // bf16 is the upper half of an f32: widening is a shift, which vectorises.
                    *y = dot::<LANES, f32, half::bf16>(&w[range.clone()], x, |w| {
                        f32::from_bits(u32::from(w.to_bits()) << 16)
                    });
                }
            }
            Elements::F16(w) => {
                // Converted with the processor's instruction where it has one.
                w[range].convert_to_f32_slice(&mut wide);
                for (y, x) in y.iter_mut().zip(x.chunks_exact(columns)) {
                    *y = dot::<LANES, f32, f32>(&wide, x, |w| w);
                }
            }
        }
    }
}
