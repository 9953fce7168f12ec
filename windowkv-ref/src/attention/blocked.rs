use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis, s};
use rayon::prelude::*;

use super::{Attention, group_size};
use crate::linalg::{Threads, matmul};
use crate::{Error, Real};

/// Query rows of one head in a tile. With the heads of a group packed below each other, the scores of a
/// tile (`group * 64 x 256` numbers) stay in the second-level cache.
const TILE_Q: usize = 64;
/// Keys of a tile.
const TILE_KV: usize = 256;

/// Causal attention in blocks with an online softmax: no `seqlen x seqlen` matrix at any length.
///
/// `q [seqlen_q, num_heads_q, head_dim]`, `k v [seqlen_kv, num_heads_kv, head_dim]`; see the module for
/// the alignment. The result does not depend on the number of threads.
///
/// # Errors
/// When the shapes do not fit together.
pub fn prefill<F: Real>(
    q: ArrayView3<'_, F>,
    k: ArrayView3<'_, F>,
    v: ArrayView3<'_, F>,
    softmax_scale: F,
) -> Result<Attention<F>, Error> {
    let (seqlen_q, num_heads_q, _) = q.dim();
    let mut out = Array3::zeros(q.dim());
    let mut lse = Array2::zeros((num_heads_q, seqlen_q));
    prefill_into(q, k, v, softmax_scale, out.view_mut(), lse.view_mut())?;
    Ok(Attention { out, lse })
}

/// [`prefill`] into memory of the caller: `out [seqlen_q, num_heads_q, head_dim]`, `lse [num_heads_q, seqlen_q]`.
///
/// # Errors
/// When the shapes do not fit together.
pub fn prefill_into<F: Real>(
    q: ArrayView3<'_, F>,
    k: ArrayView3<'_, F>,
    v: ArrayView3<'_, F>,
    softmax_scale: F,
    mut out: ArrayViewMut3<'_, F>,
    mut lse: ArrayViewMut2<'_, F>,
) -> Result<(), Error> {
    let group = group_size(q, k, v)?;
    let (seqlen_q, num_heads_q, head_dim) = q.dim();
    Error::same("out's seqlen", out.dim().0, seqlen_q)?;
    Error::same("out's num_heads_q", out.dim().1, num_heads_q)?;
    Error::same("out's head_dim", out.dim().2, head_dim)?;
    Error::same("lse's num_heads_q", lse.nrows(), num_heads_q)?;
    Error::same("lse's seqlen", lse.ncols(), seqlen_q)?;

    // One task for each tile of query rows and KV head; the longest rows first, so that no thread is
    // left with them at the end.
    let mut tiles = Vec::new();
    let rows = out
        .axis_chunks_iter_mut(Axis(0), TILE_Q)
        .zip(lse.axis_chunks_iter_mut(Axis(1), TILE_Q));
    for (tile, (mut out, mut lse)) in rows.enumerate() {
        for head_kv in 0..num_heads_q / group {
            let (out_group, out_rest) = out.split_at(Axis(1), group);
            let (lse_group, lse_rest) = lse.split_at(Axis(0), group);
            tiles.push(Tile {
                row: tile * TILE_Q,
                head_kv,
                out: out_group,
                lse: lse_group,
            });
            (out, lse) = (out_rest, lse_rest);
        }
    }
    tiles.into_par_iter().rev().for_each_init(
        || Scratch::new(group, head_dim),
        |scratch, tile| {
            let heads = tile.head_kv * group..(tile.head_kv + 1) * group;
            let q = q.slice(s![tile.row..tile.row + tile.lse.ncols(), heads, ..]);
            let (k, v) = (
                k.index_axis(Axis(1), tile.head_kv),
                v.index_axis(Axis(1), tile.head_kv),
            );
            // Key position of the tile's first row, plus one: how many keys it sees.
            let visible_first = (tile.row + 1) as isize + k.nrows() as isize - seqlen_q as isize;
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || attend(q, k, v, softmax_scale, visible_first, tile, scratch),
            );
        },
    );
    Ok(())
}

/// Rows `row ..` of the heads of one group.
struct Tile<'a, F> {
    row: usize,
    head_kv: usize,
    /// `[rows, group, head_dim]`
    out: ArrayViewMut3<'a, F>,
    /// `[group, rows]`
    lse: ArrayViewMut2<'a, F>,
}

/// Working memory of one thread. Row `h * rows + i` of each matrix belongs to row `i` of the group's head `h`.
struct Scratch<F> {
    /// `[group * TILE_Q, head_dim]`: the queries, times the softmax scale
    q: Array2<F>,
    /// `[group * TILE_Q, TILE_KV]`: scores, then probabilities
    scores: Array2<F>,
    /// `[group * TILE_Q, head_dim]`: the output before its division by the row sum
    acc: Array2<F>,
    row_max: Vec<F>,
    row_sum: Vec<F>,
}

/// Numbers of working memory that a thread of [`prefill`] takes, to plan memory; `group` query heads read a KV head.
pub fn scratch_elements(group: usize, head_dim: usize) -> usize {
    group * TILE_Q * (TILE_KV + 2 * head_dim + 2)
}

impl<F: Real> Scratch<F> {
    fn new(group: usize, head_dim: usize) -> Self {
        let rows = group * TILE_Q;
        Self {
            q: Array2::zeros((rows, head_dim)),
            scores: Array2::zeros((rows, TILE_KV)),
            acc: Array2::zeros((rows, head_dim)),
            row_max: vec![F::zero(); rows],
            row_sum: vec![F::zero(); rows],
        }
    }
}

#[inline(always)]
fn attend<F: Real>(
    q: ArrayView3<'_, F>,
    k: ArrayView2<'_, F>,
    v: ArrayView2<'_, F>,
    softmax_scale: F,
    visible_first: isize,
    mut tile: Tile<'_, F>,
    scratch: &mut Scratch<F>,
) {
    let (rows, group, _) = q.dim();
    let packed = group * rows;
    let visible = |row: usize| (visible_first + row as isize).max(0) as usize;
    let row_max = &mut scratch.row_max[..packed];
    let row_sum = &mut scratch.row_sum[..packed];
    row_max.fill(F::neg_infinity());
    row_sum.fill(F::zero());
    let mut q_packed = scratch.q.slice_mut(s![..packed, ..]);
    let mut acc = scratch.acc.slice_mut(s![..packed, ..]);
    acc.fill(F::zero());
    for head in 0..group {
        q_packed
            .slice_mut(s![head * rows..(head + 1) * rows, ..])
            .zip_mut_with(&q.index_axis(Axis(1), head), |packed, &q| {
                *packed = q * softmax_scale
            });
    }

    for key in (0..visible(rows - 1)).step_by(TILE_KV) {
        let keys = key..(key + TILE_KV).min(visible(rows - 1));
        let mut scores = scratch.scores.slice_mut(s![..packed, ..keys.len()]);
        let k_tile = k.slice(s![keys.clone(), ..]);
        matmul(
            q_packed.view(),
            k_tile.t(),
            scores.view_mut(),
            false,
            Threads::One,
        );
        for (packed_row, mut scores) in scores.rows_mut().into_iter().enumerate() {
            let scores = scores
                .as_slice_mut()
                .expect("a row of the scratch is contiguous");
            let seen = visible(packed_row % rows)
                .saturating_sub(key)
                .min(scores.len());
            let rescale = online_softmax(
                scores,
                seen,
                &mut row_max[packed_row],
                &mut row_sum[packed_row],
            );
            if rescale != F::one() {
                acc.row_mut(packed_row).mapv_inplace(|x| x * rescale);
            }
        }
        // A masked key has the probability 0, but 0 times NaN or infinity is NaN: such values are left out of
        // the product and added to the rows that see them.
        let v_tile = v.slice(s![keys.clone(), ..]);
        let all_see = visible(0).clamp(keys.start, keys.end) - keys.start;
        let masked = v_tile.slice(s![all_see.., ..]);
        if masked.iter().all(|x| x.is_finite()) {
            matmul(scores.view(), v_tile, acc.view_mut(), true, Threads::One);
        } else {
            let finite = v_tile.mapv(|x| if x.is_finite() { x } else { F::zero() });
            matmul(
                scores.view(),
                finite.view(),
                acc.view_mut(),
                true,
                Threads::One,
            );
            for ((key, d), &value) in v_tile.indexed_iter().filter(|(_, x)| !x.is_finite()) {
                let sees = |row: &usize| visible(row % rows) > keys.start + key;
                for row in (0..packed).filter(sees) {
                    acc[[row, d]] += scores[[row, key]] * value;
                }
            }
        }
    }

    for head in 0..group {
        for row in 0..rows {
            let (max, sum) = (row_max[head * rows + row], row_sum[head * rows + row]);
            // No key, or scores of -inf only: lse -inf, out 0.
            tile.lse[[head, row]] = max + sum.ln();
            let factor = if sum == F::zero() {
                F::zero()
            } else {
                sum.recip()
            };
            let acc = acc.row(head * rows + row);
            tile.out
                .slice_mut(s![row, head, ..])
                .zip_mut_with(&acc, |out, &acc| *out = acc * factor);
        }
    }
}

/// Turns the scores of one row into `exp(score - max)`, 0 past the `seen` first of them, and brings the
/// row's maximum and sum up to date. Returns the factor for what was accumulated before.
#[inline(always)]
fn online_softmax<F: Real>(scores: &mut [F], seen: usize, row_max: &mut F, row_sum: &mut F) -> F {
    let (seen, masked) = scores.split_at_mut(seen);
    masked.fill(F::zero());
    if seen.is_empty() {
        return F::one();
    }
    let tile_max = lanes(seen, F::neg_infinity(), |a, b| {
        if b > a || b.is_nan() { b } else { a }
    });
    let max = if tile_max > *row_max || tile_max.is_nan() {
        tile_max
    } else {
        *row_max
    };
    // A row of -inf only: (-inf) - (-inf) would be NaN, its probabilities are 0.
    let shift = if max == F::neg_infinity() {
        F::zero()
    } else {
        max
    };
    for score in seen.iter_mut() {
        *score -= shift;
    }
    F::exp_in_place(seen);
    let rescale = (*row_max - shift).exp();
    *row_sum = *row_sum * rescale + lanes(seen, F::zero(), |a, b| a + b);
    *row_max = max;
    rescale
}

/// A reduction in 16 interleaved lanes, in a fixed order, so that it becomes SIMD code.
#[inline(always)]
fn lanes<F: Real>(xs: &[F], start: F, combine: impl Fn(F, F) -> F) -> F {
    const LANES: usize = 16;
    let mut partial = [start; LANES];
    let (body, tail) = xs.as_chunks::<LANES>();
    for chunk in body {
        for lane in 0..LANES {
            partial[lane] = combine(partial[lane], chunk[lane]);
        }
    }
    let total = partial.into_iter().fold(start, &combine);
    tail.iter().fold(total, |a, &b| combine(a, b))
}
