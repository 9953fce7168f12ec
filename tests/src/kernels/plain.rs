//! Attention as it is computed plainly in half precision, which a kernel must not be worse than.

use ndarray::{Array3, ArrayView3, s};
use windowkv_ref::attention;

use super::Half;

/// Scores, scaled scores, probabilities and outputs are rounded to `T`, sums are exact.
fn plain_half<T: Half>(
    q: ArrayView3<'_, f64>,
    k: ArrayView3<'_, f64>,
    v: ArrayView3<'_, f64>,
    softmax_scale: f64,
) -> Array3<f64> {
    let round = |x: f64| T::of(x).value();
    let group = q.dim().1 / k.dim().1;
    let mut out = Array3::zeros(q.dim());
    for row in 0..q.dim().0 {
        for head in 0..q.dim().1 {
            let seen = row + 1 + k.dim().0 - q.dim().0;
            let query = q.slice(s![row, head, ..]);
            let scores: Vec<f64> = (0..seen)
                .map(|j| round(query.dot(&k.slice(s![j, head / group, ..]))))
                .map(|score| round(score * softmax_scale))
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
            for d in 0..q.dim().2 {
                let products = scores
                    .iter()
                    .enumerate()
                    .map(|(j, s)| round((s - max).exp() / sum) * v[[j, head / group, d]]);
                out[[row, head, d]] = round(products.sum());
            }
        }
    }
    out
}

/// Whether `out` of attention of `q [seqlen_q, num_heads_q, head_dim]` to `k` and `v` `[seqlen_kv, num_heads_kv,
/// head_dim]` has at most 1.0 times the error of the plain computation, in the sum of squares and at most.
///
/// # Errors
/// Says by how much they are off.
///
/// # Panics
/// When the shapes do not fit together.
pub fn no_worse_than_plain<T: Half>(
    q: ArrayView3<'_, f64>,
    k: ArrayView3<'_, f64>,
    v: ArrayView3<'_, f64>,
    softmax_scale: f64,
    out: &Array3<f64>,
) -> Result<(), String> {
    let exact = attention::plain(q, k, v, softmax_scale).expect("shapes that fit");
    let plain = plain_half::<T>(q, k, v, softmax_scale);
    let errors = |found: &Array3<f64>| {
        let off = found - &exact.out;
        let largest = off.iter().fold(0.0f64, |a, x| a.max(x.abs()));
        (off.iter().map(|x| x * x).sum::<f64>().sqrt(), largest)
    };
    let ((ours, our_largest), (plain, plain_largest)) = (errors(out), errors(&plain));
    if ours <= plain && our_largest <= plain_largest {
        return Ok(());
    }
    Err(format!(
        "together off by {ours:e}, plain {plain:e}; at most by {our_largest:e}, plain {plain_largest:e}"
    ))
}
