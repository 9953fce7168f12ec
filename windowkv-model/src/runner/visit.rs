//! What may look at a prompt's layers while they are worked through, and the one that compresses them.

use ndarray::ArrayView3;
use windowkv_ref::methods::{LayerInput, Selector};

use super::kv_cache::{KvCache, LayerCache};
use super::llama::Prefilled;
use crate::Result;

/// Is shown every layer of a prompt, in order, right after the layer's attention over the full prompt. What it does
/// with them does not change the layers that follow.
pub trait LayerVisitor {
    /// How many of the last query rows [`visit`](Self::visit) looks at in this layer; 0 when it needs none.
    fn query_rows(&self, layer: usize) -> usize;

    /// Looks at layer `layer`: `input` has at least [`query_rows`](Self::query_rows) query rows, and `v
    /// [seqlen, num_heads_kv, head_dim]` are the values that belong to its keys.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn visit(
        &mut self,
        layer: usize,
        input: &LayerInput<'_, f32>,
        v: ArrayView3<'_, f32>,
    ) -> Result<()>;

    /// Takes the logits of the prompt's last token, `[vocab_size]`, after the last layer.
    fn logits(&mut self, _logits: &[f32]) {}
}

/// Asks a method what each layer keeps, and gathers it.
pub(super) struct Compress {
    selector: Box<dyn Selector<f32>>,
    new_tokens: usize,
    prefilled: Prefilled,
}

impl Compress {
    /// For a prompt of `seqlen` tokens; the cache gets room for `new_tokens` more.
    pub(super) fn new(selector: Box<dyn Selector<f32>>, seqlen: usize, new_tokens: usize) -> Self {
        let cache = KvCache {
            layers: Vec::new(),
            position: seqlen,
        };
        Self {
            selector,
            new_tokens,
            prefilled: Prefilled {
                logits: Vec::new(),
                cache,
                selections: Vec::new(),
            },
        }
    }

    /// What is left when all layers have been seen.
    pub(super) fn finish(self) -> Prefilled {
        self.prefilled
    }
}

impl LayerVisitor for Compress {
    fn query_rows(&self, layer: usize) -> usize {
        self.selector.query_rows(layer)
    }

    fn visit(
        &mut self,
        layer: usize,
        input: &LayerInput<'_, f32>,
        v: ArrayView3<'_, f32>,
    ) -> Result<()> {
        let selection = self.selector.select(layer, input)?;
        let gathered = LayerCache::gather(input.k, v, &selection.kept, self.new_tokens);
        self.prefilled.cache.layers.push(gathered);
        let windows = selection.windows.as_ref().map(|choice| &choice.windows);
        let kept = selection.kept.len(input.k.dim().0);
        tracing::debug!(layer, kept, ?windows, "kept");
        self.prefilled.selections.push(selection);
        Ok(())
    }

    fn logits(&mut self, logits: &[f32]) {
        self.prefilled.logits = logits.to_vec();
    }
}
