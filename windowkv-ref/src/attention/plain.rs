use ndarray::{Array2, Array3, ArrayView3};

use super::{Attention, group_size};
use crate::{Error, Real};

/// The formula itself, row by row: `out = softmax(q k^T * softmax_scale) v` over the visible keys.
///
/// The definition that the blocked version and every kernel are held to. Shapes as [`super::prefill`].
///
/// # Errors
/// When the shapes do not fit together.
pub fn plain<F: Real>(
    q: ArrayView3<'_, F>,
    k: ArrayView3<'_, F>,
    v: ArrayView3<'_, F>,
    softmax_scale: F,
) -> Result<Attention<F>, Error> {
    let group = group_size(q, k, v)?;
    let (seqlen_q, num_heads_q, head_dim) = q.dim();
    let seqlen_kv = k.dim().0;
    let mut out = Array3::zeros((seqlen_q, num_heads_q, head_dim));
    let mut lse = Array2::from_elem((num_heads_q, seqlen_q), F::neg_infinity());
    for row in 0..seqlen_q {
        let visible = (row + 1 + seqlen_kv).saturating_sub(seqlen_q);
        for head in 0..num_heads_q {
            let query = q.slice(ndarray::s![row, head, ..]);
            let score = |key: usize| {
                let k_row = k.slice(ndarray::s![key, head / group, ..]);
                query.iter().zip(k_row).map(|(&a, &b)| a * b).sum::<F>() * softmax_scale
            };
            let scores: Vec<F> = (0..visible).map(score).collect();
            let Some(max) = scores.iter().copied().reduce(F::max) else {
                continue;
            };
            let sum = scores.iter().map(|&s| (s - max).exp()).sum::<F>();
            lse[[head, row]] = max + sum.ln();
            for (key, &score) in scores.iter().enumerate() {
                let probability = (score - max).exp() / sum;
                for d in 0..head_dim {
                    out[[row, head, d]] += probability * v[[key, head / group, d]];
                }
            }
        }
    }
    Ok(Attention { out, lse })
}
