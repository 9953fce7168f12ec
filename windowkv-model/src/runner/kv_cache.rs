//! The compressed cache of one sequence.

use ndarray::{Array3, ArrayView2, ArrayView3, s};
use windowkv_ref::methods::Kept;

/// Keys and values of one layer: what prefill kept, then every new token.
#[derive(Debug, Clone)]
pub struct LayerCache {
    /// `[cache heads, capacity, head_dim]`
    k: Array3<f32>,
    /// `[cache heads, capacity, head_dim]`
    v: Array3<f32>,
    /// Tokens in use of the capacity.
    len: usize,
}

impl LayerCache {
    /// Gathers the kept tokens of `k v [seqlen, num_heads_kv, head_dim]`, with room for `new_tokens` more.
    pub fn gather(
        k: ArrayView3<'_, f32>,
        v: ArrayView3<'_, f32>,
        kept: &Kept,
        new_tokens: usize,
    ) -> Self {
        let (seqlen, num_heads_kv, head_dim) = k.dim();
        let (heads, len) = (kept.cache_heads(num_heads_kv), kept.len(seqlen));
        let compact = |source: ArrayView3<'_, f32>| {
            let mut compact = Array3::zeros((heads, len + new_tokens, head_dim));
            windowkv_ref::cache::gather_into(source, kept, compact.slice_mut(s![.., ..len, ..]));
            compact
        };
        Self {
            k: compact(k),
            v: compact(v),
            len,
        }
    }

    /// Appends one token's `k v [num_heads_kv, head_dim]`.
    ///
    /// # Panics
    /// When the room that the cache was made with is used up.
    pub fn append(&mut self, k: ArrayView2<'_, f32>, v: ArrayView2<'_, f32>) {
        let heads = self.k.dim().0;
        assert!(
            self.len < self.k.dim().1,
            "a cache is made with room for every new token"
        );
        for head in 0..heads {
            let head_kv = head * k.nrows() / heads;
            self.k
                .slice_mut(s![head, self.len, ..])
                .assign(&k.row(head_kv));
            self.v
                .slice_mut(s![head, self.len, ..])
                .assign(&v.row(head_kv));
        }
        self.len += 1;
    }

    /// Keys in use, `[len, cache heads, head_dim]`.
    pub fn k(&self) -> ArrayView3<'_, f32> {
        self.k
            .slice(s![.., ..self.len, ..])
            .permuted_axes([1, 0, 2])
    }

    /// Values in use, `[len, cache heads, head_dim]`.
    pub fn v(&self) -> ArrayView3<'_, f32> {
        self.v
            .slice(s![.., ..self.len, ..])
            .permuted_axes([1, 0, 2])
    }

    /// Tokens in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The cache of one sequence.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// One for each layer.
    pub layers: Vec<LayerCache>,
    /// Position of the next token: the prompt's length plus the new tokens, whatever the cache holds.
    pub position: usize,
}
