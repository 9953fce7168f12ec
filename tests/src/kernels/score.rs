//! The scores that a kernel must find, and how far it may be off.

use ndarray::{Array1, Array2, ArrayView2, ArrayView3, s};
use windowkv_kernels::ops::Pooling;
use windowkv_ref::policy::Windows;
use windowkv_ref::scoring;

/// Half the distance from 1 to the next f32.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;
/// `exp2.approx` takes smaller numbers for 0.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64;

/// Numbers and what a kernel's may be off by, element by element.
#[derive(Debug, Clone)]
pub struct Bounded<A> {
    /// Exact, in f64.
    pub exact: A,
    /// The bound of the absolute error.
    pub error: A,
}

/// `lse [num_heads_q, rows]` of the last rows, causal, in f64: natural log, -inf for a row without keys.
pub fn log_sum_exp(
    q: ArrayView3<'_, f64>,
    k: ArrayView3<'_, f64>,
    softmax_scale: f64,
) -> Array2<f64> {
    let (rows, num_heads_q, _) = q.dim();
    let (seqlen, num_heads_kv, _) = k.dim();
    let mut lse = Array2::from_elem((num_heads_q, rows), f64::NEG_INFINITY);
    for head in 0..num_heads_q {
        let keys = k.slice(s![.., head / (num_heads_q / num_heads_kv), ..]);
        let scores = q.slice(s![.., head, ..]).dot(&keys.t()) * softmax_scale;
        for row in 0..rows {
            let seen = scores.slice(s![row, ..(row + 1 + seqlen).saturating_sub(rows)]);
            let max = seen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if !seen.is_empty() {
                lse[[head, row]] = max + seen.mapv(|x| (x - max).exp()).sum().ln();
            }
        }
    }
    lse
}

/// Column scores `t [num_heads_q, columns]` of the rows `q` (those that observe), with their `lse` as the kernel gets
/// it.
///
/// A probability is `exp2(acc * scale_log2 - lse * log2 e)`. In units of 2^-24, relative to the probability:
/// - `acc` adds head_dim products, 16 at a time with the sum so far, truncated by the tensor cores: 2 units for each
///   of these `17/16 head_dim` terms, of `|q| . |k| * scale`;
/// - `scale_log2` and the product are rounded (3 units of the score), so are log2 e and the product with lse (2 units
///   of it), and the difference (1 unit of it);
/// - the exponential is off by 2 ulp: 4 units; a result below 2^-126 is 0.
///
/// Sums of positive numbers lose a unit for each addition that a number goes through: 16 in a chunk of 64 rows, one
/// for each chunk, 2 over a quad. 1 % is for products of errors.
pub fn column_scores(
    q: ArrayView3<'_, f64>,
    k: ArrayView3<'_, f64>,
    lse: ArrayView2<'_, f64>,
    softmax_scale: f64,
    columns: usize,
) -> Bounded<Array2<f64>> {
    let exact = scoring::column_scores(q, k, lse, softmax_scale, columns).expect("shapes fit");
    let (rows, num_heads_q, head_dim) = q.dim();
    let (seqlen, num_heads_kv, _) = k.dim();
    let terms = 2.0 * 17.0 / 16.0 * head_dim as f64;
    let additions = 16.0 + rows.div_ceil(64) as f64 + 2.0;
    let mut error = Array2::zeros(exact.dim());
    for head in 0..num_heads_q {
        let keys = k.slice(s![..columns, head / (num_heads_q / num_heads_kv), ..]);
        let queries = q.slice(s![.., head, ..]);
        let scores = queries.dot(&keys.t()) * softmax_scale;
        let sizes = queries.mapv(f64::abs).dot(&keys.mapv(f64::abs).t()) * softmax_scale.abs();
        for row in 0..rows {
            let lse = lse[[head, row]];
            let seen = (row + 1 + seqlen).saturating_sub(rows).min(columns);
            for column in 0..seen {
                let score = scores[[row, column]];
                let units = terms * sizes[[row, column]]
                    + 3.0 * score.abs()
                    + 2.0 * lse.abs()
                    + (score - lse).abs()
                    + 4.0
                    + additions;
                error[[head, column]] +=
                    1.01 * (score - lse).exp() * (units * UNIT).exp_m1() + SMALLEST;
            }
        }
    }
    Bounded { exact, error }
}

/// The error of positive numbers after `operations` more roundings.
fn rounded<D: ndarray::Dimension>(
    exact: &ndarray::Array<f64, D>,
    error: ndarray::Array<f64, D>,
    operations: usize,
) -> ndarray::Array<f64, D> {
    let relative = 1.01 * operations as f64 * UNIT;
    error * (1.0 + relative) + &(exact * relative)
}

/// `pool(scores)`: the average of the errors, or the largest among the neighbours.
pub fn pooled(scores: &Bounded<Array2<f64>>, pooling: Pooling) -> Bounded<Array2<f64>> {
    let apply = |numbers: &Array2<f64>| match pooling {
        Pooling::None => numbers.clone(),
        Pooling::Average { width } => {
            scoring::average_pool(numbers.view(), width).expect("an odd width")
        }
        Pooling::Max { width } => scoring::max_pool(numbers.view(), width).expect("an odd width"),
    };
    let exact = apply(&scores.exact);
    let operations = match pooling {
        Pooling::Average { width } => width + 1,
        _ => 1,
    };
    let error = rounded(&exact, apply(&scores.error), operations);
    Bounded { exact, error }
}

/// The mean over the query heads of each KV head: an addition a head and a division.
pub fn mean_over_groups(
    scores: &Bounded<Array2<f64>>,
    num_heads_kv: usize,
) -> Bounded<Array2<f64>> {
    let mean = |numbers: &Array2<f64>| {
        scoring::mean_over_groups(numbers.view(), num_heads_kv).expect("heads divide")
    };
    let exact = mean(&scores.exact);
    let group = scores.exact.nrows() / num_heads_kv;
    let error = rounded(&exact, mean(&scores.error), group + 1);
    Bounded { exact, error }
}

/// Window scores. The mean of the largest moves by at most the mean of the largest errors. It takes an addition for
/// each token (of a long window fewer) or 8, a product for ties, two divisions and an addition a head.
pub fn window_scores(
    columns: &Bounded<Array2<f64>>,
    windows: &Windows,
    top_tokens: usize,
) -> Bounded<Array1<f64>> {
    let score = |numbers: &Array2<f64>| {
        scoring::window_scores(numbers.view(), windows, top_tokens).expect("shapes fit")
    };
    let exact = score(&columns.exact);
    let longest = windows.tokens(0).len();
    let operations = longest.max(8) + columns.exact.nrows() + 3;
    let error = rounded(&exact, score(&columns.error), operations);
    Bounded { exact, error }
}
