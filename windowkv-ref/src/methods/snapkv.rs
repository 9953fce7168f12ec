use super::budgeted::Plan;
use super::{
    Kept, LayerInput, Method, MethodKind, Pooling, Rule, ScorePooling, Selection, Selector,
    TokenConfig,
};
use crate::policy::ModelShape;
use crate::{Error, Real};

/// Keeps the tokens that the last `w` rows attend to most, after pooling over neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapKv {
    config: TokenConfig,
}

impl SnapKv {
    /// With these settings.
    pub fn new(config: TokenConfig) -> Self {
        Self { config }
    }
}

impl<F: Real> Method<F> for SnapKv {
    fn kind(&self) -> MethodKind {
        MethodKind::SnapKv
    }

    fn start(&self, model: ModelShape, seqlen: usize) -> Result<Box<dyn Selector<F>>, Error> {
        self.config.check_pooling()?;
        let same = |_, chosen| chosen;
        Ok(Box::new(ObservedRows(Plan::new(
            "SnapKV",
            model,
            self.config,
            seqlen,
            same,
        )?)))
    }
}

/// Chooses by the pooled column scores of the last rows; PyramidKV does the same with other budgets.
pub(super) struct ObservedRows(pub(super) Plan);

impl<F: Real> Selector<F> for ObservedRows {
    fn query_rows(&self, _layer: usize) -> usize {
        if self.0.keeps_all() {
            0
        } else {
            self.0.config.recent_len
        }
    }

    fn max_kept(&self, layer: usize) -> usize {
        self.0.max_kept(layer)
    }

    fn cache_heads(&self, _layer: usize) -> usize {
        self.0.cache_heads()
    }

    fn rule(&self, layer: usize) -> Rule {
        let config = self.0.config;
        let pooling = match config.pooling {
            Pooling::Average => ScorePooling::Average(config.kernel_size),
            Pooling::Max => ScorePooling::Max(config.kernel_size),
        };
        self.0.rule(layer, config.recent_len, pooling)
    }

    fn select(&mut self, layer: usize, input: &LayerInput<'_, F>) -> Result<Selection<F>, Error> {
        if self.0.check(layer, input)? {
            return Ok(Selection::unscored(Kept::All));
        }
        let scores = input.column_scores(self.0.config.recent_len, self.0.scored_len())?;
        // The heads of a group are averaged first: max pooling does not commute with the mean.
        let scores = self.0.per_cache_head(scores)?;
        self.0.choose(layer, self.0.config.pool(&scores)?)
    }
}
