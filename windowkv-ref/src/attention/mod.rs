//! Causal GQA attention of one sequence, aligned at the bottom right.
//!
//! Row `i` of `seqlen_q` query rows sees the keys `0 ..= i + seqlen_kv - seqlen_q`: with equal lengths
//! that is ordinary causal attention, with fewer queries it is a chunk of a longer prompt, and with
//! more queries than keys the first rows see nothing (out 0, lse -inf).

mod blocked;
mod decode;
mod plain;

use ndarray::{Array2, Array3, ArrayView3};

pub use blocked::{prefill, prefill_into, scratch_elements};
pub use decode::{decode, decode_into};
pub use plain::plain;

use crate::{Error, Real};

/// What attention returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention<F> {
    /// `[seqlen_q, num_heads_q, head_dim]`
    pub out: Array3<F>,
    /// Natural log of the sum of `exp(q . k * softmax_scale)` over the visible keys, `[num_heads_q, seqlen_q]`.
    pub lse: Array2<F>,
}

/// Query heads per KV head, after checking that q, k and v fit together.
pub(crate) fn group_size<F: Real>(
    q: ArrayView3<'_, F>,
    k: ArrayView3<'_, F>,
    v: ArrayView3<'_, F>,
) -> Result<usize, Error> {
    let (_, num_heads_q, head_dim) = q.dim();
    let (seqlen_kv, num_heads_kv, _) = k.dim();
    Error::nonzero("num_heads_kv", num_heads_kv)?;
    Error::nonzero("num_heads_q", num_heads_q)?;
    Error::nonzero("head_dim", head_dim)?;
    Error::same("k's head_dim", k.dim().2, head_dim)?;
    Error::same("v's head_dim", v.dim().2, head_dim)?;
    Error::same("v's seqlen", v.dim().0, seqlen_kv)?;
    Error::same("v's num_heads_kv", v.dim().1, num_heads_kv)?;
    if num_heads_q % num_heads_kv != 0 {
        return Err(Error::HeadsNotDivisible {
            num_heads_q,
            num_heads_kv,
        });
    }
    Ok(num_heads_q / num_heads_kv)
}
