//! Scores: how much the observed query rows attend to each token of the prompt (spec section 3).

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut1, Axis, s};
use rayon::prelude::*;

use crate::attention::group_size;
use crate::linalg::{Threads, matmul};
use crate::policy::Windows;
use crate::{Error, Real};

/// Keys of a tile: one task scores them for all rows, so that K is read once.
const TILE_KV: usize = 256;
/// Query rows of a tile; only H2O, which observes every row, has more than one such tile.
const TILE_Q: usize = 128;

/// Column scores `t[h, j] = sum_i softmax(row i)[j]` for the first `columns` tokens.
///
/// `q [rows, num_heads_q, head_dim]` are the last `rows` query rows of the prompt and
/// `lse [num_heads_q, rows]` their log-sum-exp (natural log) from prefill attention; `k [seqlen,
/// num_heads_kv, head_dim]`. Returns `[num_heads_q, columns]`. One pass over K; no attention matrix:
/// the probabilities of one tile at a time.
///
/// # Errors
/// When the shapes do not fit together.
pub fn column_scores<F: Real>(
    q: ArrayView3<'_, F>,
    k: ArrayView3<'_, F>,
    lse: ArrayView2<'_, F>,
    softmax_scale: F,
    columns: usize,
) -> Result<Array2<F>, Error> {
    let group = group_size(q, k, k)?;
    let (rows, num_heads_q, _) = q.dim();
    let seqlen = k.dim().0;
    Error::same("lse's num_heads_q", lse.nrows(), num_heads_q)?;
    Error::same("lse's rows", lse.ncols(), rows)?;
    if columns > seqlen {
        return Err(Error::Shape {
            what: "columns",
            found: columns,
            expected: seqlen,
        });
    }

    let mut scores = Array2::zeros((num_heads_q, columns));
    let mut tiles = Vec::new();
    for (head, mut row) in scores.rows_mut().into_iter().enumerate() {
        for start in (0..columns).step_by(TILE_KV) {
            let tile_len = TILE_KV.min(row.len());
            let (tile, rest) = row.split_at(Axis(0), tile_len);
            tiles.push((head, start, tile));
            row = rest;
        }
    }
    tiles.into_par_iter().for_each(|(head, start, sums)| {
        let keys = k.slice(s![start..start + sums.len(), head / group, ..]);
        let queries = q.index_axis(Axis(1), head);
        // Position of query row 0; negative when there are more rows than keys.
        let first = seqlen as isize - rows as isize;
        let lse = lse.row(head);
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || sum_columns(queries, keys, lse, softmax_scale, first, start, sums),
        );
    });
    Ok(scores)
}

/// Adds `exp(q . k * scale - lse)` of all rows that see the keys `start ..` to `sums`.
#[inline(always)]
fn sum_columns<F: Real>(
    queries: ArrayView2<'_, F>,
    keys: ArrayView2<'_, F>,
    lse: ArrayView1<'_, F>,
    softmax_scale: F,
    first: isize,
    start: usize,
    mut sums: ArrayViewMut1<'_, F>,
) {
    let sums = sums
        .as_slice_mut()
        .expect("a piece of a fresh matrix's row is contiguous");
    // Rows before the one at position `start` see none of these keys.
    let first_row = (start as isize - first).clamp(0, queries.nrows() as isize) as usize;
    let mut tile = Array2::zeros((TILE_Q, sums.len()));
    for row in (first_row..queries.nrows()).step_by(TILE_Q) {
        let rows = row..(row + TILE_Q).min(queries.nrows());
        let mut tile = tile.slice_mut(s![..rows.len(), ..]);
        matmul(
            queries.slice(s![rows.clone(), ..]),
            keys.t(),
            tile.view_mut(),
            false,
            Threads::One,
        );
        for (row, mut scores) in rows.zip(tile.rows_mut()) {
            let scores = scores
                .as_slice_mut()
                .expect("a row of a fresh matrix is contiguous");
            let position = first + row as isize;
            let seen = (position + 1 - start as isize).clamp(0, scores.len() as isize) as usize;
            let lse = lse[row];
            let seen = &mut scores[..seen];
            for score in seen.iter_mut() {
                *score = *score * softmax_scale - lse;
            }
            F::exp_in_place(seen);
            for (sum, &probability) in sums.iter_mut().zip(&*seen) {
                *sum += probability;
            }
        }
    }
}

/// Average pooling of each row: odd `width`, stride 1, zero padding that counts. `scores [heads, tokens]`.
///
/// # Errors
/// [`Error::PoolingWidth`] for an even width.
pub fn average_pool<F: Real>(scores: ArrayView2<'_, F>, width: usize) -> Result<Array2<F>, Error> {
    let divisor = F::from_count(width);
    pool(scores, width, move |neighbours| {
        neighbours.iter().copied().sum::<F>() / divisor
    })
}

/// Max pooling of each row: odd `width`, stride 1; what lies outside the row never wins. `scores [heads, tokens]`.
///
/// # Errors
/// [`Error::PoolingWidth`] for an even width.
pub fn max_pool<F: Real>(scores: ArrayView2<'_, F>, width: usize) -> Result<Array2<F>, Error> {
    let larger = |a: F, b: F| if b > a || b.is_nan() { b } else { a };
    pool(scores, width, move |neighbours| {
        neighbours.iter().copied().fold(F::neg_infinity(), larger)
    })
}

fn pool<F: Real>(
    scores: ArrayView2<'_, F>,
    width: usize,
    combine: impl Fn(&[F]) -> F,
) -> Result<Array2<F>, Error> {
    if width.is_multiple_of(2) {
        return Err(Error::PoolingWidth {
            name: "kernel_size",
            width,
        });
    }
    let (heads, tokens) = scores.dim();
    let mut pooled = Array2::zeros((heads, tokens));
    for (row, mut out) in scores.rows().into_iter().zip(pooled.rows_mut()) {
        let row = row.to_vec();
        for (token, out) in out.iter_mut().enumerate() {
            let neighbours = token.saturating_sub(width / 2)..(token + width / 2 + 1).min(tokens);
            *out = combine(&row[neighbours]);
        }
    }
    Ok(pooled)
}

/// Window scores: for each head the mean of the `top_tokens` largest column scores of a window (all of
/// them if it has fewer), then the mean over heads.
///
/// `column_scores [num_heads_q, review tokens]`; returns one score a window.
///
/// # Errors
/// When `column_scores` does not have one column for each review token, or there is no head.
pub fn window_scores<F: Real>(
    column_scores: ArrayView2<'_, F>,
    windows: &Windows,
    top_tokens: usize,
) -> Result<Array1<F>, Error> {
    Error::nonzero("num_heads_q", column_scores.nrows())?;
    Error::nonzero("top_tokens", top_tokens)?;
    Error::same(
        "column_scores' tokens",
        column_scores.ncols(),
        windows.review_len(),
    )?;
    let heads = F::from_count(column_scores.nrows());
    let score = |window: usize| {
        let columns = column_scores.slice(s![.., windows.tokens(window)]);
        columns
            .rows()
            .into_iter()
            .map(|row| mean_of_largest(row, top_tokens))
            .sum::<F>()
            / heads
    };
    Ok((0..windows.count()).map(score).collect())
}

fn mean_of_largest<F: Real>(row: ArrayView1<'_, F>, count: usize) -> F {
    let mut values = row.to_vec();
    let count = count.min(values.len());
    // NaN goes first, so that it is always among the largest and cannot be lost.
    values.sort_by(|a, b| {
        b.partial_cmp(a)
            .unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
    });
    values[..count].iter().copied().sum::<F>() / F::from_count(count)
}

/// Mean over the query heads of each KV head: `[num_heads_q, tokens]` to `[num_heads_kv, tokens]`.
///
/// # Errors
/// [`Error::HeadsNotDivisible`].
pub fn mean_over_groups<F: Real>(
    scores: ArrayView2<'_, F>,
    num_heads_kv: usize,
) -> Result<Array2<F>, Error> {
    let num_heads_q = scores.nrows();
    if num_heads_kv == 0 || !num_heads_q.is_multiple_of(num_heads_kv) {
        return Err(Error::HeadsNotDivisible {
            num_heads_q,
            num_heads_kv,
        });
    }
    let group = num_heads_q / num_heads_kv;
    let divisor = F::from_count(group);
    let mut mean = Array2::zeros((num_heads_kv, scores.ncols()));
    for (head, row) in scores.rows().into_iter().enumerate() {
        mean.row_mut(head / group)
            .zip_mut_with(&row, |mean, &score| *mean += score);
    }
    mean.mapv_inplace(|sum| sum / divisor);
    Ok(mean)
}
