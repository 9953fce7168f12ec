use super::budgeted::Plan;
use super::{Kept, LayerInput, Method, MethodKind, Rule, Selection, Selector, TokenConfig};
use crate::policy::ModelShape;
use crate::{Error, Real};

/// Keeps the first `C - w` tokens and the last `w`, whatever they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamingLlm {
    config: TokenConfig,
}

impl StreamingLlm {
    /// With these settings.
    pub fn new(config: TokenConfig) -> Self {
        Self { config }
    }
}

impl<F: Real> Method<F> for StreamingLlm {
    fn kind(&self) -> MethodKind {
        MethodKind::StreamingLlm
    }

    fn start(&self, model: ModelShape, seqlen: usize) -> Result<Box<dyn Selector<F>>, Error> {
        let first = |_, chosen| chosen;
        Ok(Box::new(StreamingLlmSelector(Plan::new(
            "StreamingLLM",
            model,
            self.config,
            seqlen,
            first,
        )?)))
    }
}

struct StreamingLlmSelector(Plan);

impl<F: Real> Selector<F> for StreamingLlmSelector {
    fn query_rows(&self, _layer: usize) -> usize {
        0
    }

    fn max_kept(&self, layer: usize) -> usize {
        self.0.max_kept(layer)
    }

    /// Every head keeps the same tokens, so there is nothing that query heads would keep for themselves.
    fn cache_heads(&self, _layer: usize) -> usize {
        self.0.model.num_heads_kv
    }

    fn rule(&self, layer: usize) -> Rule {
        if self.0.keeps_all() {
            return Rule::All;
        }
        let suffix_len = self.0.config.recent_len;
        Rule::Ends {
            first: self.0.max_kept(layer) - suffix_len,
            suffix_len,
        }
    }

    fn select(&mut self, layer: usize, input: &LayerInput<'_, F>) -> Result<Selection<F>, Error> {
        if self.0.check(layer, input)? {
            return Ok(Selection::unscored(Kept::All));
        }
        let first = self.0.max_kept(layer) - self.0.config.recent_len;
        let positions = (0..first)
            .chain(self.0.scored_len()..self.0.seqlen)
            .collect();
        Ok(Selection::unscored(Kept::Shared(positions)))
    }
}
