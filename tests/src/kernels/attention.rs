//! What attention in half precision has to give, and by how much it may miss.

use ndarray::{Array2, Array3, ArrayView3, s};
use windowkv_ref::attention;

use super::Half;
use crate::attention::{bound, visible};

/// The exact result for one sequence, and what a kernel may be off by, element by element.
#[derive(Debug)]
pub struct Expected {
    /// `[seqlen_q, num_heads_q, head_dim]`
    pub out: Array3<f64>,
    /// The same shape.
    pub out_bound: Array3<f64>,
    /// `[num_heads_q, seqlen_q]`, natural log
    pub lse: Array2<f64>,
    /// The same shape.
    pub lse_bound: Array2<f64>,
}

impl Expected {
    /// Of a kernel with inputs and outputs of type `T`, sums in f32, keys in steps of `tile_kv`.
    ///
    /// An element of the output may be off by, with `p_j` its probabilities,
    /// - `T::UNIT * sum_j p_j |v_j|`: each p is rounded once, relative to the largest, before it meets v (c = 1 in the
    ///   accuracy rule), and `T::TINY * sum_j |v_j|` for those that are subnormal then;
    /// - what a computation in f32 may be off by. Its unit is 2^-22, four roundings: tensor cores may truncate where
    ///   an adder rounds, which is two, and exponents in base 2 round log2(e), its product with the scale, and the
    ///   maximum once more. No number goes through more additions than there are keys, and a few to collect lanes,
    ///   warps and splits;
    /// - `T::UNIT` of itself, or `T::TINY`: the rounding of the output.
    ///
    /// # Panics
    /// When the shapes do not fit together.
    pub fn new<T: Half>(
        q: ArrayView3<'_, f64>,
        k: ArrayView3<'_, f64>,
        v: ArrayView3<'_, f64>,
        softmax_scale: f64,
        tile_kv: usize,
    ) -> Self {
        const UNIT: f64 = 1.0 / (1 << 22) as f64;
        let exact = attention::plain(q, k, v, softmax_scale).expect("shapes that fit");
        let (seqlen_q, num_heads_q, head_dim) = q.dim();
        let (seqlen_kv, num_heads_kv, _) = k.dim();
        let chain = seqlen_kv + 64;
        let of_f32 = bound(q, k, v, softmax_scale, UNIT, tile_kv, chain);
        let mut out_bound = of_f32.out;
        for row in 0..seqlen_q {
            let seen = visible(row, seqlen_q, seqlen_kv);
            for head in 0..num_heads_q {
                let head_kv = head / (num_heads_q / num_heads_kv);
                for d in 0..head_dim {
                    let all: f64 = v
                        .slice(s![..seen, head_kv, d])
                        .iter()
                        .map(|v| v.abs())
                        .sum();
                    let at = [row, head, d];
                    let before = out_bound[at] + T::UNIT * of_f32.mass[at] + T::TINY * all;
                    let rounding = T::UNIT * (exact.out[at].abs() + before) + T::TINY;
                    out_bound[at] = if seen == 0 { 0.0 } else { before + rounding };
                }
            }
        }
        Self {
            out: exact.out,
            out_bound,
            lse: exact.lse,
            lse_bound: of_f32.lse,
        }
    }

    /// Whether `found` is within the bound of `out[row, head, d]`; a NaN is not.
    ///
    /// # Errors
    /// Says what was found.
    pub fn check_out(&self, row: usize, head: usize, d: usize, found: f64) -> Result<(), String> {
        let (expected, bound) = (self.out[[row, head, d]], self.out_bound[[row, head, d]]);
        if (found - expected).abs() <= bound {
            return Ok(());
        }
        Err(format!(
            "out[{row}, {head}, {d}] is {found}, not {expected}: off by {:e}, allowed {bound:e}",
            (found - expected).abs()
        ))
    }

    /// The same for `lse[head, row]`; without a key it is -inf.
    ///
    /// # Errors
    /// Says what was found.
    pub fn check_lse(&self, head: usize, row: usize, found: f64) -> Result<(), String> {
        let (expected, bound) = (self.lse[[head, row]], self.lse_bound[[head, row]]);
        if found == expected || (found - expected).abs() <= bound {
            return Ok(());
        }
        Err(format!(
            "lse[{head}, {row}] is {found}, not {expected}: allowed {bound:e}"
        ))
    }
}
