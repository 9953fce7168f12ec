//! The compact cache: the tokens that stay, one KV head after the other.

use ndarray::{Array3, ArrayView3, ArrayViewMut3, s};

use crate::Real;
use crate::methods::Kept;

/// Copies the kept tokens of one layer's K (or V).
///
/// `source [seqlen, num_heads_kv, head_dim]`; returns `[cache heads, kept, head_dim]`, tokens in position
/// order. There is one cache head for each KV head, or, when each query head chose its own tokens
/// ([`Kept::PerHead`] with `num_heads_q` lists), one for each query head.
///
/// # Panics
/// When a position is not below `seqlen`: a method never returns one.
pub fn gather<F: Real>(source: ArrayView3<'_, F>, kept: &Kept) -> Array3<F> {
    let (seqlen, num_heads_kv, head_dim) = source.dim();
    let mut out = Array3::zeros((kept.cache_heads(num_heads_kv), kept.len(seqlen), head_dim));
    gather_into(source, kept, out.view_mut());
    out
}

/// [`gather`] into memory of the caller: `out [cache heads, kept, head_dim]`.
///
/// # Panics
/// When `out` has another shape, or a position is not below `seqlen`.
pub fn gather_into<F: Real>(source: ArrayView3<'_, F>, kept: &Kept, mut out: ArrayViewMut3<'_, F>) {
    let (seqlen, num_heads_kv, head_dim) = source.dim();
    let heads = kept.cache_heads(num_heads_kv);
    assert_eq!(
        out.dim(),
        (heads, kept.len(seqlen), head_dim),
        "gather: shape of out"
    );
    for head in 0..heads {
        let head_kv = head * num_heads_kv / heads;
        for (row, position) in kept.positions(head, seqlen).enumerate() {
            out.slice_mut(s![head, row, ..])
                .assign(&source.slice(s![position, head_kv, ..]));
        }
    }
}
