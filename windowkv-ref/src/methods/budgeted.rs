//! What the methods of section 7 share: a capacity per head, the last tokens always kept, the best of
//! the others by score.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::{Chooser, Kept, Rule, ScorePooling, Scored, Selection, check_input, check_model};
use crate::policy::{ModelShape, top_indices};
use crate::scoring::{average_pool, max_pool, mean_over_groups};
use crate::{Error, Real};

/// Who chooses tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// Each KV head, by the mean of its query heads: storage per KV head.
    #[default]
    KvHead,
    /// Each query head keeps its own copy, as the released implementations do; for comparison with their numbers.
    QueryHead,
}

/// How neighbouring scores are pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean of `kernel_size` neighbours, zeros outside counted.
    Average,
    /// The largest of them.
    #[default]
    Max,
}

/// Settings of StreamingLLM, H2O, SnapKV and PyramidKV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenConfig {
    /// Tokens that a layer keeps, the last ones included (`max_capacity_prompt`); PyramidKV's mean.
    pub capacity: usize,
    /// Last tokens that are always kept (`window_size`); SnapKV and PyramidKV observe their query rows.
    pub recent_len: usize,
    /// Who chooses.
    pub granularity: Granularity,
    /// SnapKV and PyramidKV: how scores are pooled.
    pub pooling: Pooling,
    /// SnapKV and PyramidKV: odd width of the pooling.
    pub kernel_size: usize,
    /// PyramidKV: ratio of the pyramid.
    pub beta: usize,
}

impl Default for TokenConfig {
    /// The settings of KVCache-Factory's evaluation: 8 observed rows, max pooling over 7 tokens, beta 20.
    /// (Its StreamingLLM keeps the first 4 tokens: a `recent_len` of `capacity - 4`.)
    fn default() -> Self {
        Self {
            capacity: 2048,
            recent_len: 8,
            granularity: Granularity::KvHead,
            pooling: Pooling::Max,
            kernel_size: 7,
            beta: 20,
        }
    }
}

impl TokenConfig {
    pub(super) fn pool<F: Real>(&self, scores: &Array2<F>) -> Result<Array2<F>, Error> {
        match self.pooling {
            Pooling::Average => average_pool(scores.view(), self.kernel_size),
            Pooling::Max => max_pool(scores.view(), self.kernel_size),
        }
    }

    pub(super) fn check_pooling(&self) -> Result<(), Error> {
        let width = self.kernel_size;
        if width.is_multiple_of(2) {
            Err(Error::PoolingWidth {
                name: "kernel_size",
                width,
            })
        } else {
            Ok(())
        }
    }
}

/// One sequence's plan: how many scored tokens each layer keeps beside the last `recent_len`.
pub(super) struct Plan {
    pub model: ModelShape,
    pub config: TokenConfig,
    pub seqlen: usize,
    /// Scored tokens to keep, for each layer; `None` when the whole prompt stays.
    chosen: Option<Vec<usize>>,
}

impl Plan {
    /// `chosen_of_layer(layer, C - w)` says how many scored tokens a layer of a prompt that does not fit keeps.
    pub(super) fn new(
        method: &'static str,
        model: ModelShape,
        config: TokenConfig,
        seqlen: usize,
        chosen_of_layer: impl Fn(usize, usize) -> usize,
    ) -> Result<Self, Error> {
        check_model(model)?;
        let TokenConfig {
            capacity,
            recent_len,
            ..
        } = config;
        Error::nonzero("max_capacity_prompt", capacity)?;
        Error::nonzero("window_size", recent_len)?;
        if capacity <= recent_len {
            return Err(Error::CapacityTooSmall {
                method,
                capacity,
                recent_len,
            });
        }
        let chosen = (seqlen >= capacity).then(|| {
            (0..model.num_layers)
                .map(|layer| chosen_of_layer(layer, capacity - recent_len))
                .collect()
        });
        Ok(Self {
            model,
            config,
            seqlen,
            chosen,
        })
    }

    pub(super) fn keeps_all(&self) -> bool {
        self.chosen.is_none()
    }

    pub(super) fn max_kept(&self, layer: usize) -> usize {
        match &self.chosen {
            None => self.seqlen,
            Some(chosen) => (chosen[layer] + self.config.recent_len).min(self.seqlen),
        }
    }

    pub(super) fn cache_heads(&self) -> usize {
        match self.config.granularity {
            Granularity::QueryHead if !self.keeps_all() => self.model.num_heads_q,
            _ => self.model.num_heads_kv,
        }
    }

    /// How a layer chooses by the column scores of the last `query_len` rows.
    pub(super) fn rule(&self, layer: usize, query_len: usize, pooling: ScorePooling) -> Rule {
        let Some(chosen) = &self.chosen else {
            return Rule::All;
        };
        let num_windows = self.scored_len();
        Rule::Scored(Scored {
            query_len,
            suffix_len: self.config.recent_len,
            window_len: 1,
            num_windows,
            num_keep: chosen[layer].min(num_windows),
            top_tokens: 1,
            pooling,
            chooser: match self.config.granularity {
                Granularity::KvHead => Chooser::KvHead,
                Granularity::QueryHead => Chooser::QueryHead,
            },
        })
    }

    /// Tokens that are scored: all but the last `recent_len`.
    pub(super) fn scored_len(&self) -> usize {
        self.seqlen.saturating_sub(self.config.recent_len)
    }

    /// Checks the layer and the prompt's length; true when the layer keeps everything.
    pub(super) fn check<F: Real>(
        &self,
        layer: usize,
        input: &super::LayerInput<'_, F>,
    ) -> Result<bool, Error> {
        check_input(layer, self.model, self.seqlen, input)?;
        Ok(self.keeps_all())
    }

    /// Column scores `[num_heads_q, scored tokens]` to one row for each cache head.
    pub(super) fn per_cache_head<F: Real>(&self, scores: Array2<F>) -> Result<Array2<F>, Error> {
        match self.config.granularity {
            Granularity::QueryHead => Ok(scores),
            Granularity::KvHead => mean_over_groups(scores.view(), self.model.num_heads_kv),
        }
    }

    /// The best tokens by `scores [cache heads, scored tokens]`, then the last ones.
    pub(super) fn choose<F: Real>(
        &self,
        layer: usize,
        scores: Array2<F>,
    ) -> Result<Selection<F>, Error> {
        let Some(chosen) = &self.chosen else {
            return Ok(Selection::unscored(Kept::All));
        };
        let of_head = |row: ndarray::ArrayView1<'_, F>| {
            let mut positions =
                top_indices(&row.to_vec(), chosen[layer]).map_err(|index| Error::NanScore {
                    layer,
                    what: "token",
                    index,
                })?;
            positions.extend(self.scored_len()..self.seqlen);
            Ok(positions)
        };
        let heads = scores
            .rows()
            .into_iter()
            .map(of_head)
            .collect::<Result<_, Error>>()?;
        Ok(Selection {
            kept: Kept::PerHead(heads),
            windows: None,
            scores: Some(scores),
        })
    }
}
