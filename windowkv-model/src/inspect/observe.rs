//! Notes what a method would keep of the layers of a prefill.

use ndarray::{ArrayView3, Axis};
use windowkv_ref::methods::{LayerInput, Method, Selection, Selector};
use windowkv_ref::policy::ModelShape;

use super::bits::Bits;
use crate::Result;
use crate::runner::LayerVisitor;

/// What one method chose, layer by layer.
pub(super) struct Choices {
    pub(super) layers: Vec<Choice>,
}

/// What one method chose in one layer.
pub(super) struct Choice {
    /// Tokens that a cache head keeps.
    pub(super) kept_tokens: usize,
    /// Tokens that it may keep at most.
    pub(super) max_kept: usize,
    /// Kept windows (WindowKV) or tokens of each cache head; one set where all heads keep the same.
    pub(super) kept: Vec<Bits>,
    /// How many of the windows or tokens could be chosen: those before what always stays.
    pub(super) candidates: usize,
    /// One score for each candidate where the layer was scored, the mean over its cache heads.
    pub(super) scores: Option<Vec<f32>>,
}

impl Choice {
    fn new(selection: &Selection<f32>, max_kept: usize, seqlen: usize) -> Self {
        let scores = selection.scores.as_ref().map(|scores| {
            let mean = scores.mean_axis(Axis(0));
            mean.map_or_else(Vec::new, |mean| mean.to_vec())
        });
        let kept = match &selection.windows {
            Some(choice) => {
                let count = scores.as_ref().map_or_else(
                    || choice.windows.last().map_or(0, |last| last + 1),
                    Vec::len,
                );
                vec![Bits::new(count, choice.windows.iter().copied())]
            }
            None => {
                let heads = selection.kept.cache_heads(1);
                let of_head = |head| Bits::new(seqlen, selection.kept.positions(head, seqlen));
                (0..heads).map(of_head).collect()
            }
        };
        Self {
            kept_tokens: selection.kept.len(seqlen),
            max_kept,
            kept,
            candidates: scores.as_ref().map_or(seqlen, Vec::len),
            scores,
        }
    }
}

/// Asks one method what each layer keeps, and keeps nothing but the answer.
pub(super) struct Observer {
    selector: Box<dyn Selector<f32>>,
    seqlen: usize,
    choices: Choices,
}

impl Observer {
    /// For one prompt of `seqlen` tokens.
    ///
    /// # Errors
    /// When the method does not fit the model or the prompt.
    pub(super) fn new(method: &dyn Method<f32>, model: ModelShape, seqlen: usize) -> Result<Self> {
        Ok(Self {
            selector: method.start(model, seqlen)?,
            seqlen,
            choices: Choices { layers: Vec::new() },
        })
    }

    /// What the method chose.
    pub(super) fn finish(self) -> Choices {
        self.choices
    }
}

impl LayerVisitor for Observer {
    fn query_rows(&self, layer: usize) -> usize {
        self.selector.query_rows(layer)
    }

    fn visit(
        &mut self,
        layer: usize,
        input: &LayerInput<'_, f32>,
        _v: ArrayView3<'_, f32>,
    ) -> Result<()> {
        let selection = self.selector.select(layer, input)?;
        let max_kept = self.selector.max_kept(layer);
        let choice = Choice::new(&selection, max_kept, self.seqlen);
        self.choices.layers.push(choice);
        Ok(())
    }
}
