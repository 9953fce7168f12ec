//! How far a computation of attention in floating point may be from the exact one.

use ndarray::{Array2, Array3, ArrayView1, ArrayView3, s};
use windowkv_ref::Real;

/// Half the distance from 1 to the next float: the relative error of one rounding.
///
/// # Panics
/// Never: f64 holds every float's epsilon.
pub fn unit_roundoff<F: Real>() -> f64 {
    F::epsilon().to_f64().expect("f64 holds every float") / 2.0
}

/// What a computation of attention may be off by, element by element.
#[derive(Debug)]
pub struct AttentionBound {
    /// `[seqlen_q, num_heads_q, head_dim]`
    pub out: Array3<f64>,
    /// `[num_heads_q, seqlen_q]`
    pub lse: Array2<f64>,
    /// `sum_j p_j |v_j|`: the scale of the output's error, `[seqlen_q, num_heads_q, head_dim]`
    pub mass: Array3<f64>,
}

/// The exact attention of one query row: one number for each key that it sees.
#[derive(Debug)]
pub struct ExactRow {
    /// `q . k * softmax_scale`
    pub scores: Vec<f64>,
    /// `|q| . |k| * softmax_scale`: the scale of a score's error
    pub magnitudes: Vec<f64>,
    /// The softmax of the scores.
    pub probabilities: Vec<f64>,
    /// Log-sum-exp of the scores, natural; -inf without a key
    pub lse: f64,
}

impl ExactRow {
    /// Attention of `query [head_dim]` to the first `visible` keys of head `head_kv` of `k`.
    pub fn new(
        query: ArrayView1<'_, f64>,
        k: ArrayView3<'_, f64>,
        head_kv: usize,
        visible: usize,
        softmax_scale: f64,
    ) -> Self {
        let keys = k.slice(s![..visible, head_kv, ..]);
        let scaled = |product: fn(f64, f64) -> f64| -> Vec<f64> {
            let row = |key: ArrayView1<'_, f64>| -> f64 {
                query.iter().zip(key).map(|(&q, &k)| product(q, k)).sum()
            };
            keys.rows()
                .into_iter()
                .map(|key| row(key) * softmax_scale)
                .collect()
        };
        let scores = scaled(|q, k| q * k);
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
        Self {
            magnitudes: scaled(|q, k| (q * k).abs()),
            probabilities: scores.iter().map(|s| (s - max).exp() / sum).collect(),
            lse: if visible == 0 {
                f64::NEG_INFINITY
            } else {
                max + sum.ln()
            },
            scores,
        }
    }

    /// Error of each `score - shift` in roundings: `head_dim + 2` operations make a score (the scale, the
    /// products, their sum), and the difference is one more.
    pub fn exponent_roundings(&self, head_dim: usize, shift: f64) -> Vec<f64> {
        let error = |(&score, &magnitude): (&f64, &f64)| {
            (head_dim + 2) as f64 * magnitude + (shift - score).abs()
        };
        self.scores
            .iter()
            .zip(&self.magnitudes)
            .map(error)
            .collect()
    }
}

/// How many keys row `row` sees when the last row sees all.
pub fn visible(row: usize, seqlen_q: usize, seqlen_kv: usize) -> usize {
    (row + 1 + seqlen_kv).saturating_sub(seqlen_q)
}

/// The bound for attention computed with roundings of relative size `unit`, in blocks of `tile_kv` keys, where no
/// number goes through more than `chain` additions.
///
/// With `m` the largest score, `p_j = exp(s_j - m) / sum` is off by a factor `exp(+-e_j)`, where `e_j` counts in
/// units: the error of the exponent ([`ExactRow::exponent_roundings`]; what an online softmax rounds in its steps
/// from one maximum to the next adds up to the same `m - s_j`), 4 for the exponential (2 ulp), and 3 for each block
/// (the rescaling: an exponential of 1 ulp and a product). The sums of the numerator and of the denominator each
/// add `chain` roundings, the division 4 at most. The rest is the formula itself with every factor at its worst;
/// 1 % on top is for products of these errors. Numbers below `e^-87` may be taken for 0.
pub fn bound(
    q: ArrayView3<'_, f64>,
    k: ArrayView3<'_, f64>,
    v: ArrayView3<'_, f64>,
    softmax_scale: f64,
    unit: f64,
    tile_kv: usize,
    chain: usize,
) -> AttentionBound {
    const SECOND_ORDER: f64 = 1.01;
    let (seqlen_q, num_heads_q, head_dim) = q.dim();
    let (seqlen_kv, num_heads_kv, _) = k.dim();
    let mut bound = AttentionBound {
        out: Array3::zeros(q.dim()),
        lse: Array2::zeros((num_heads_q, seqlen_q)),
        mass: Array3::zeros(q.dim()),
    };
    let largest_v = v.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    for row in 0..seqlen_q {
        for head in 0..num_heads_q {
            let visible = visible(row, seqlen_q, seqlen_kv);
            if visible == 0 {
                continue;
            }
            let head_kv = head / (num_heads_q / num_heads_kv);
            let exact = ExactRow::new(
                q.slice(s![row, head, ..]),
                k,
                head_kv,
                visible,
                softmax_scale,
            );
            let max = exact
                .scores
                .iter()
                .copied()
                .fold(f64::NEG_INFINITY, f64::max);
            let blocks = visible.div_ceil(tile_kv);
            let factors: Vec<f64> = exact
                .exponent_roundings(head_dim, max)
                .into_iter()
                .map(|roundings| (unit * (roundings + 4.0 + 3.0 * blocks as f64)).exp())
                .collect();
            let weighted = exact.probabilities.iter().zip(&factors);
            let most: f64 = weighted.clone().map(|(p, factor)| p * factor).sum();
            let least: f64 = weighted.map(|(p, factor)| p / factor).sum();
            let sums = (unit * (chain + 4) as f64).exp();
            for d in 0..head_dim {
                let (mut error, mut mass) = (0.0, 0.0);
                for (j, (p, factor)) in exact.probabilities.iter().zip(&factors).enumerate() {
                    let above = factor / least * sums * sums - 1.0;
                    let below = 1.0 - 1.0 / (factor * most * sums * sums);
                    let size = p * v[[j, head_kv, d]].abs();
                    error += size * above.max(below);
                    mass += size;
                }
                let underflow = visible as f64 * (-86.0f64).exp() * largest_v;
                bound.out[[row, head, d]] = SECOND_ORDER * error + underflow;
                bound.mass[[row, head, d]] = mass;
            }
            let of_sum = most.ln().max(-least.ln()) + unit * (chain + 4) as f64;
            let of_lse = unit * (exact.lse.abs() + 2.0 * (exact.lse - max).abs());
            bound.lse[[head, row]] = SECOND_ORDER * (of_sum + of_lse);
        }
    }
    bound
}
