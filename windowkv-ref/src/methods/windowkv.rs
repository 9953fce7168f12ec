use ndarray::Axis;

use super::{
    Chooser, Kept, LayerInput, Method, MethodKind, Rule, ScorePooling, Scored, Selection, Selector,
    check_input, check_model,
};
use crate::policy::{ModelShape, WindowChoice, WindowKvConfig, Windows};
use crate::scoring::{average_pool, window_scores};
use crate::{Error, Real};

/// Keeps whole windows of the review context, chosen by the first layer of each group, and the suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowKv {
    config: WindowKvConfig,
    every_layer: bool,
}

impl WindowKv {
    /// With these settings.
    pub fn new(config: WindowKvConfig) -> Self {
        Self {
            config,
            every_layer: false,
        }
    }

    /// Every layer is scored and chooses for itself with its group's budget, and is scored also where nothing has
    /// to go. A group's leader chooses as it does for the group. For looking at how much alike the layers choose
    /// (the paper's figure 2), not a way to save scoring.
    pub fn every_layer(config: WindowKvConfig) -> Self {
        Self {
            config,
            every_layer: true,
        }
    }
}

impl<F: Real> Method<F> for WindowKv {
    fn kind(&self) -> MethodKind {
        MethodKind::WindowKv
    }

    fn start(&self, model: ModelShape, seqlen: usize) -> Result<Box<dyn Selector<F>>, Error> {
        check_model(model)?;
        let budgets = self.config.layer_budgets(model.num_layers)?;
        let windows = Windows::new(seqlen, self.config.suffix_len, self.config.window_len)?;
        let config = self.config.clone();
        Ok(Box::new(WindowKvSelector {
            config,
            every_layer: self.every_layer,
            model,
            seqlen,
            windows,
            budgets,
            group: None,
        }))
    }
}

struct WindowKvSelector {
    config: WindowKvConfig,
    /// Whether every layer leads itself.
    every_layer: bool,
    model: ModelShape,
    seqlen: usize,
    windows: Windows,
    /// Review tokens that each layer may keep.
    budgets: Vec<usize>,
    /// The leader that chose last, and its windows.
    group: Option<(usize, Vec<usize>)>,
}

impl WindowKvSelector {
    fn leader(&self, layer: usize) -> usize {
        if self.every_layer {
            layer
        } else {
            layer - layer % self.config.shared_layers
        }
    }

    /// Whether the layer is a leader that has a choice to make, or one that is scored in any case.
    fn is_scored(&self, layer: usize) -> bool {
        let budget = self.budgets[layer];
        let has_choice = !self.windows.keeps_all(budget) && self.windows.kept_count(budget) > 0;
        layer == self.leader(layer) && (has_choice || self.every_layer && self.windows.count() > 0)
    }

    fn choose<F: Real>(
        &self,
        layer: usize,
        input: &LayerInput<'_, F>,
    ) -> Result<(Vec<usize>, ndarray::Array2<F>), Error> {
        let config = &self.config;
        let mut columns = input.column_scores(config.suffix_len, self.windows.review_len())?;
        if config.score_pooling > 1 {
            columns = average_pool(columns.view(), config.score_pooling)?;
        }
        let scores = window_scores(columns.view(), &self.windows, config.top_tokens())?;
        let windows = self
            .windows
            .select(&scores.to_vec(), self.budgets[layer])
            .map_err(|index| Error::NanScore {
                layer,
                what: "window",
                index,
            })?;
        Ok((windows, scores.insert_axis(Axis(0))))
    }
}

impl<F: Real> Selector<F> for WindowKvSelector {
    fn query_rows(&self, layer: usize) -> usize {
        if self.is_scored(layer) {
            self.config.suffix_len
        } else {
            0
        }
    }

    fn max_kept(&self, layer: usize) -> usize {
        let windows = self.windows.kept_count(self.budgets[layer]);
        let review = (windows * self.config.window_len).min(self.windows.review_len());
        review + (self.seqlen - self.windows.review_len())
    }

    fn cache_heads(&self, _layer: usize) -> usize {
        self.model.num_heads_kv
    }

    fn rule(&self, layer: usize) -> Rule {
        let budget = self.budgets[layer];
        let leader = self.leader(layer);
        if self.is_scored(layer) {
            let config = &self.config;
            Rule::Scored(Scored {
                query_len: config.suffix_len,
                suffix_len: config.suffix_len,
                window_len: config.window_len,
                num_windows: self.windows.count(),
                num_keep: self.windows.kept_count(budget),
                top_tokens: config.top_tokens(),
                pooling: match config.score_pooling {
                    1 => ScorePooling::None,
                    width => ScorePooling::Average(width),
                },
                chooser: Chooser::Layer,
            })
        } else if self.windows.keeps_all(budget) {
            Rule::All
        } else if self.windows.kept_count(budget) == 0 {
            Rule::Ends {
                first: 0,
                suffix_len: self.config.suffix_len,
            }
        } else {
            Rule::AsLeader { leader }
        }
    }

    fn select(&mut self, layer: usize, input: &LayerInput<'_, F>) -> Result<Selection<F>, Error> {
        check_input(layer, self.model, self.seqlen, input)?;
        let leader = self.leader(layer);
        let choice = |windows, leader| WindowChoice {
            window_len: self.config.window_len,
            windows,
            leader,
        };
        let scored = self.is_scored(layer);
        // Every layer of a group has the group's budget, so these two hold for the whole group.
        if !scored && self.windows.keeps_all(self.budgets[layer]) {
            let windows = Some(choice((0..self.windows.count()).collect(), None));
            return Ok(Selection {
                kept: Kept::All,
                windows,
                scores: None,
            });
        }
        if !scored && self.windows.kept_count(self.budgets[layer]) == 0 {
            let kept = Kept::Shared(self.windows.positions(&[]));
            return Ok(Selection {
                kept,
                windows: Some(choice(vec![], None)),
                scores: None,
            });
        }
        let (windows, scores) = if layer == leader {
            let (windows, scores) = self.choose(layer, input)?;
            (windows, Some(scores))
        } else {
            match &self.group {
                Some((of, windows)) if *of == leader => (windows.clone(), None),
                _ => return Err(Error::LeaderMissing { layer, leader }),
            }
        };
        let kept = Kept::Shared(self.windows.positions(&windows));
        let selection = Selection {
            kept,
            windows: Some(choice(windows.clone(), Some(leader))),
            scores,
        };
        self.group = Some((leader, windows));
        Ok(selection)
    }
}
