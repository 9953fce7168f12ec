use super::budgeted::Plan;
use super::{
    Kept, LayerInput, Method, MethodKind, Rule, ScorePooling, Selection, Selector, TokenConfig,
};
use crate::policy::ModelShape;
use crate::{Error, Real};

/// Keeps the tokens that all rows of the prompt attend to most: column sums of the whole causal attention
/// matrix, which is never formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct H2o {
    config: TokenConfig,
}

impl H2o {
    /// With these settings.
    pub fn new(config: TokenConfig) -> Self {
        Self { config }
    }
}

impl<F: Real> Method<F> for H2o {
    fn kind(&self) -> MethodKind {
        MethodKind::H2o
    }

    fn start(&self, model: ModelShape, seqlen: usize) -> Result<Box<dyn Selector<F>>, Error> {
        let same = |_, chosen| chosen;
        Ok(Box::new(H2oSelector(Plan::new(
            "H2O",
            model,
            self.config,
            seqlen,
            same,
        )?)))
    }
}

struct H2oSelector(Plan);

impl<F: Real> Selector<F> for H2oSelector {
    fn query_rows(&self, _layer: usize) -> usize {
        if self.0.keeps_all() { 0 } else { self.0.seqlen }
    }

    fn max_kept(&self, layer: usize) -> usize {
        self.0.max_kept(layer)
    }

    fn cache_heads(&self, _layer: usize) -> usize {
        self.0.cache_heads()
    }

    fn rule(&self, layer: usize) -> Rule {
        self.0.rule(layer, self.0.seqlen, ScorePooling::None)
    }

    fn select(&mut self, layer: usize, input: &LayerInput<'_, F>) -> Result<Selection<F>, Error> {
        if self.0.check(layer, input)? {
            return Ok(Selection::unscored(Kept::All));
        }
        let scores = input.column_scores(self.0.seqlen, self.0.scored_len())?;
        self.0.choose(layer, self.0.per_cache_head(scores)?)
    }
}
