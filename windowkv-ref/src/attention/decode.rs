use ndarray::{
    Array1, Array2, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut1, ArrayViewMut2, Axis,
};
use rayon::prelude::*;

use super::group_size;
use crate::linalg::dot;
use crate::{Error, Real};

/// Attention of one new token over its sequence's (compressed) cache.
///
/// `q [num_heads_q, head_dim]`, `k v [cache_len, num_heads_kv, head_dim]`, the new token's own key and
/// value included. Returns out `[num_heads_q, head_dim]` and the lse (natural log) `[num_heads_q]`.
/// An empty cache gives out 0 and lse -inf.
///
/// # Errors
/// When the shapes do not fit together.
pub fn decode<F: Real>(
    q: ArrayView2<'_, F>,
    k: ArrayView3<'_, F>,
    v: ArrayView3<'_, F>,
    softmax_scale: F,
) -> Result<(Array2<F>, Array1<F>), Error> {
    let mut out = Array2::zeros(q.dim());
    let lse = decode_into(q, k, v, softmax_scale, out.view_mut())?;
    Ok((out, lse))
}

/// [`decode`] into memory of the caller: `out [num_heads_q, head_dim]`; returns the lse.
///
/// # Errors
/// When the shapes do not fit together.
pub fn decode_into<F: Real>(
    q: ArrayView2<'_, F>,
    k: ArrayView3<'_, F>,
    v: ArrayView3<'_, F>,
    softmax_scale: F,
    mut out: ArrayViewMut2<'_, F>,
) -> Result<Array1<F>, Error> {
    let group = group_size(q.insert_axis(Axis(0)), k, v)?;
    Error::same("out's num_heads_q", out.nrows(), q.nrows())?;
    Error::same("out's head_dim", out.ncols(), q.ncols())?;
    let mut lse = Array1::from_elem(q.nrows(), F::neg_infinity());
    let heads = out
        .axis_iter_mut(Axis(0))
        .into_par_iter()
        .zip(lse.axis_iter_mut(Axis(0)).into_par_iter());
    // A task of less than about 64k products costs more to hand over than to compute.
    let work_per_head = 2 * k.dim().0 * q.ncols();
    let heads_per_task = (1usize << 16).div_ceil(work_per_head.max(1));
    heads
        .with_min_len(heads_per_task)
        .enumerate()
        .for_each(|(head, (out, lse))| {
            let (k, v) = (
                k.index_axis(Axis(1), head / group),
                v.index_axis(Axis(1), head / group),
            );
            let query = q.row(head).mapv(|x| x * softmax_scale).to_vec();
            *lse.into_scalar() = pulp::Arch::new().dispatch(
                #[inline(always)]
                || attend(&query, k, v, out),
            );
        });
    Ok(lse)
}

#[inline(always)]
fn attend<F: Real>(
    query: &[F],
    k: ArrayView2<'_, F>,
    v: ArrayView2<'_, F>,
    mut out: ArrayViewMut1<'_, F>,
) -> F {
    out.fill(F::zero());
    let score = |key: ArrayView1<'_, F>| match key.as_slice() {
        Some(key) => dot::<16, F, F>(key, query, |x| x),
        None => dot::<16, F, F>(&key.to_vec(), query, |x| x),
    };
    let mut scores: Vec<F> = k.rows().into_iter().map(score).collect();
    let Some(max) = scores
        .iter()
        .copied()
        .reduce(|a, b| if b > a || b.is_nan() { b } else { a })
    else {
        return F::neg_infinity();
    };
    // All -inf: (-inf) - (-inf) would be NaN, the probabilities are 0.
    let shift = if max == F::neg_infinity() {
        F::zero()
    } else {
        max
    };
    for score in &mut scores {
        *score -= shift;
    }
    F::exp_in_place(&mut scores);
    let sum = scores.iter().copied().sum::<F>();
    for (value, &weight) in v.rows().into_iter().zip(&scores) {
        out.zip_mut_with(&value, |out, &value| *out += weight * value);
    }
    if sum != F::zero() {
        out.mapv_inplace(|x| x / sum);
    }
    max + sum.ln()
}
