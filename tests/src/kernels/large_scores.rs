//! Attention whose scores are far larger than their differences.

/// Of the numbers here.
const HEAD_DIM: usize = 32;
/// The first number of the query.
const QUERY: f64 = 2048.0;

/// One query, its keys and values, all exact in every half-precision type, and what attention gives.
#[derive(Debug)]
pub struct LargeScores {
    /// `[head_dim]`
    pub q: Vec<f64>,
    /// `[keys, head_dim]`
    pub k: Vec<f64>,
    /// `[keys, head_dim]`, in [0, 2)
    pub v: Vec<f64>,
    /// `[head_dim]`
    pub out: Vec<f64>,
    /// Natural log
    pub lse: f64,
}

impl LargeScores {
    /// A factor with which scores times log2(e) are just below 2^24, what kernels go to, in size; its opposite too.
    pub const LAST_FACTOR: f64 = 5664.0;
    /// The next one that f16 and bf16 have.
    pub const FIRST_TOO_LARGE: f64 = 5696.0;

    /// With a softmax_scale of 1 the scores are `2048 factor - 7 .. 2048 factor`, the largest of the last keys.
    pub fn new(factor: f64, keys: usize) -> Self {
        let row = |first: f64, second: f64| {
            let mut row = vec![0.0; HEAD_DIM];
            (row[0], row[1]) = (first, second);
            row
        };
        let below: Vec<f64> = (0..keys).map(|j| (7 - 8 * j / keys) as f64).collect();
        let value = |j: usize, d: usize| ((j + d) % 8) as f64 / 4.0;
        let sum: f64 = below.iter().map(|x| (-x).exp()).sum();
        let out = |d| {
            let weighted = below
                .iter()
                .enumerate()
                .map(|(j, x)| (-x).exp() * value(j, d));
            weighted.sum::<f64>() / sum
        };
        Self {
            q: row(QUERY, 1.0),
            k: below.iter().flat_map(|&x| row(factor, -x)).collect(),
            v: (0..keys * HEAD_DIM)
                .map(|i| value(i / HEAD_DIM, i % HEAD_DIM))
                .collect(),
            out: (0..HEAD_DIM).map(out).collect(),
            lse: QUERY * factor + sum.ln(),
        }
    }

    /// Whether a kernel found it: each p and the output are rounded by `unit`, and lse is a float32.
    pub fn is_found(&self, unit: f64, out: &[f64], lse: f32) -> bool {
        let near = |(found, expected): (&f64, &f64)| (found - expected).abs() <= 4.0 * unit;
        let lse_bound = self.lse.abs() / (1 << 22) as f64;
        out.len() == HEAD_DIM
            && out.iter().zip(&self.out).all(near)
            && (f64::from(lse) - self.lse).abs() <= lse_bound.max(1e-5)
    }
}
