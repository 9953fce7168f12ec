//! What each layer of one sequence keeps: planned on the host, chosen on the device, learnt once at the end.

use std::ops::Range;

use windowkv_kernels::{
    Buffer, Device, HalfPrecision, Matrix, MatrixMut, Observation, RowsF32Mut, Slice, SliceMut, ops,
};
use windowkv_ref::methods::{
    Chooser, Kept, MethodKind, Rule, ScorePooling, Scored, Selection, Selector,
};
use windowkv_ref::policy::WindowChoice;

use super::step::{DeviceResult, Step};
use crate::{Error, Result};

/// Scores of a row that `ops::select` takes at most.
const MAX_WINDOWS: usize = 131_072;

/// How one layer chooses, and where its choice lies.
#[derive(Debug, Clone)]
pub(super) struct LayerPlan {
    pub(super) rule: Rule,
    /// The layer whose choice this is; itself, unless a leader chooses.
    owner: usize,
    /// Lists of windows: 1, or one for each KV head.
    rows: usize,
    max_keep: usize,
    indices: Range<usize>,
    num_kept: Range<usize>,
    observation: Observation,
    num_windows: i32,
    num_keep: i32,
    /// Tokens that stay in a cache head, at most.
    pub(super) max_kept: usize,
}

/// The plan of all layers of one sequence.
#[derive(Debug, Clone)]
pub(super) struct SequencePlan {
    pub(super) kind: MethodKind,
    pub(super) seqlen: usize,
    pub(super) layers: Vec<LayerPlan>,
    index_len: usize,
    kept_len: usize,
}

fn int(value: usize) -> i32 {
    // Lengths of prompts are at most 2^30 (`config::MAX_POSITIONS`).
    i32::try_from(value).unwrap_or(i32::MAX)
}

impl SequencePlan {
    pub(super) fn new(
        kind: MethodKind,
        selector: &dyn Selector<f32>,
        num_layers: usize,
        num_heads_kv: usize,
        seqlen: usize,
    ) -> Result<Self> {
        let mut plan = Self {
            kind,
            seqlen,
            layers: Vec::with_capacity(num_layers),
            index_len: 0,
            kept_len: 0,
        };
        for layer in 0..num_layers {
            let rule = selector.rule(layer);
            let max_kept = selector.max_kept(layer);
            if let Rule::AsLeader { leader } = rule {
                let chosen = plan.layers[leader].clone();
                plan.layers.push(LayerPlan {
                    rule,
                    max_kept,
                    ..chosen
                });
                continue;
            }
            let (observation, rows, num_windows, num_keep) = observed(rule, num_heads_kv)?;
            let max_keep = num_keep.max(1);
            plan.layers.push(LayerPlan {
                rule,
                owner: layer,
                rows,
                max_keep,
                indices: plan.index_len..plan.index_len + rows * max_keep,
                num_kept: plan.kept_len..plan.kept_len + rows,
                observation,
                num_windows: int(num_windows),
                num_keep: int(num_keep),
                max_kept,
            });
            plan.index_len += rows * max_keep;
            plan.kept_len += rows;
        }
        Ok(plan)
    }

    /// Query rows that a layer's scores look at.
    pub(super) fn observed_rows(&self, layer: usize) -> usize {
        match self.layers[layer].rule {
            Rule::Scored(scored) => scored.query_len.min(self.seqlen),
            _ => 0,
        }
    }

    /// Elements of scores that a layer needs room for.
    pub(super) fn score_elements(&self, layer: usize) -> usize {
        match self.layers[layer].rule {
            Rule::Scored(scored) => self.layers[layer].rows * scored.num_windows,
            _ => 0,
        }
    }

    /// Bytes on the device of [`Choices`].
    pub(super) fn bytes(&self) -> u64 {
        let per_layer = size_of::<Observation>() + 2 * size_of::<i32>();
        (self.layers.len() * per_layer + (self.index_len + self.kept_len) * size_of::<i32>()) as u64
    }
}

/// How kernels are told of a rule: observation, lists of windows, windows, windows to keep.
fn observed(rule: Rule, num_heads_kv: usize) -> Result<(Observation, usize, usize, usize)> {
    let whole = Observation::default();
    Ok(match rule {
        Rule::All | Rule::AsLeader { .. } => (whole, 1, 0, 0),
        // One window of all the first tokens.
        Rule::Ends { first, suffix_len } => {
            let observation = Observation {
                query_len: 0,
                suffix_len: int(suffix_len),
                window_len: int(first.max(1)),
                top_tokens: 1,
            };
            (
                observation,
                1,
                usize::from(first > 0),
                usize::from(first > 0),
            )
        }
        Rule::Scored(scored) if scored.num_windows > MAX_WINDOWS => {
            return Err(Error::DeviceRequest {
                what: "a choice among more than 131,072 windows or tokens",
                way_out: "use --method windowkv with longer windows, a shorter --max-input-len, or --device cpu",
            });
        }
        Rule::Scored(scored) => {
            let rows = match scored.chooser {
                Chooser::Layer => 1,
                Chooser::KvHead => num_heads_kv,
                Chooser::QueryHead => {
                    return Err(Error::DeviceRequest {
                        what: "a copy of the cache for each query head",
                        way_out: "leave --granularity at kv_head, or use --device cpu",
                    });
                }
            };
            let observation = Observation {
                query_len: int(scored.query_len),
                suffix_len: int(scored.suffix_len),
                window_len: int(scored.window_len),
                top_tokens: int(scored.top_tokens),
            };
            (observation, rows, scored.num_windows, scored.num_keep)
        }
    })
}

/// The choices of one sequence in device memory.
#[derive(Debug)]
pub(super) struct Choices {
    observations: Buffer<Observation>,
    num_windows: Buffer<i32>,
    num_keep: Buffer<i32>,
    indices: Buffer<i32>,
    num_kept: Buffer<i32>,
}

/// What scoring works in, for one layer at a time.
#[derive(Debug)]
pub(super) struct ScoreMemory<'a> {
    pub(super) scores: &'a mut Buffer<f32>,
    pub(super) workspace: &'a mut Buffer<u8>,
    pub(super) flags: SliceMut<'a, u32>,
}

impl Choices {
    pub(super) fn new(device: &Device, plan: &SequencePlan) -> Result<Self> {
        let of_layers = |value: &dyn Fn(&LayerPlan) -> i32| {
            let values: Vec<i32> = plan.layers.iter().map(value).collect();
            device
                .upload(&values)
                .at("copying what layers keep to the device")
        };
        let observations: Vec<_> = plan.layers.iter().map(|layer| layer.observation).collect();
        let mut indices = vec![0; plan.index_len];
        let mut num_kept = vec![0; plan.kept_len];
        for layer in &plan.layers {
            if let Rule::Ends { .. } = layer.rule {
                indices[layer.indices.start] = 0;
                num_kept[layer.num_kept.start] = layer.num_keep;
            }
        }
        let step = "copying what layers keep to the device";
        Ok(Self {
            observations: device.upload(&observations).at(step)?,
            num_windows: of_layers(&|layer| layer.num_windows)?,
            num_keep: of_layers(&|layer| layer.num_keep)?,
            indices: device.upload(&indices).at(step)?,
            num_kept: device.upload(&num_kept).at(step)?,
        })
    }

    fn observation(&self, plan: &LayerPlan) -> DeviceResult<Slice<'_, Observation>> {
        let range = plan.owner..plan.owner + 1;
        self.observations.view().range(range)
    }

    /// Scores and selects, where layer `layer` chooses for itself.
    pub(super) fn choose<T: HalfPrecision>(
        &mut self,
        device: &Device,
        plan: &SequencePlan,
        layer: usize,
        input: ops::ScoreInput<'_, T>,
        softmax_scale: f32,
        memory: ScoreMemory<'_>,
    ) -> DeviceResult<()> {
        let layer_plan = &plan.layers[layer];
        let Rule::Scored(scored) = layer_plan.rule else {
            return Ok(());
        };
        let ScoreMemory {
            scores,
            workspace,
            mut flags,
        } = memory;
        let (rows, windows) = (layer_plan.rows, scored.num_windows);
        let per_head = scored.chooser != Chooser::Layer;
        let columns = per_head
            .then(|| RowsF32Mut::new(scores.view_mut(), [1, rows, windows]))
            .transpose()?;
        let (column_scores, window_scores) = match columns {
            Some(columns) => (Some(columns), None),
            None => {
                let windows = MatrixMut::new(scores.view_mut(), 1, windows);
                (None, Some(windows?))
            }
        };
        let params = ops::ScoreParams {
            input,
            observations: self.observation(layer_plan)?,
            column_scores,
            window_scores,
            pooling: pooling(&scored),
            softmax_scale,
            workspace: workspace.view_mut(),
            flags: Some(flags.reborrow()),
        };
        ops::score(device, params)?;
        let one = layer..layer + 1;
        let indices = self.indices.view_mut().range(layer_plan.indices.clone());
        let num_kept = self.num_kept.view_mut().range(layer_plan.num_kept.clone());
        let params = ops::SelectParams {
            scores: Matrix::new(scores.view(), rows, windows)?,
            num_windows: self.num_windows.view().range(one.clone())?,
            num_keep: self.num_keep.view().range(one)?,
            indices: MatrixMut::new(indices?, rows, layer_plan.max_keep)?,
            num_kept: num_kept?,
            flags: Some(flags),
        };
        ops::select(device, params)
    }

    /// What layer `layer` keeps, for a gather.
    pub(super) fn kept(
        &self,
        plan: &SequencePlan,
        layer: usize,
    ) -> DeviceResult<ops::KeptWindows<'_>> {
        let plan = &plan.layers[layer];
        let indices = self.indices.view().range(plan.indices.clone())?;
        Ok(ops::KeptWindows {
            observations: self.observation(plan)?,
            indices: Matrix::new(indices, plan.rows, plan.max_keep)?,
            num_kept: self.num_kept.view().range(plan.num_kept.clone())?,
        })
    }

    /// Reads back what was kept, in the form of the CPU runner.
    pub(super) fn read_back(&self, plan: &SequencePlan) -> Result<Vec<Selection<f32>>> {
        let step = "reading back what layers kept";
        let indices = self.indices.download().at(step)?;
        let num_kept = self.num_kept.download().at(step)?;
        let layers = plan.layers.iter().map(|layer| {
            let list = |row: usize| -> Vec<usize> {
                let count = num_kept[layer.num_kept.start + row].max(0) as usize;
                let first = layer.indices.start + row * layer.max_keep;
                let list = &indices[first..first + count.min(layer.max_keep)];
                list.iter().map(|&window| window.max(0) as usize).collect()
            };
            selection(plan, layer, &list)
        });
        Ok(layers.collect())
    }
}

fn pooling(scored: &Scored) -> ops::Pooling {
    match scored.pooling {
        ScorePooling::None => ops::Pooling::None,
        ScorePooling::Average(width) => ops::Pooling::Average { width },
        ScorePooling::Max(width) => ops::Pooling::Max { width },
    }
}

/// The choice that lists of windows stand for.
fn selection(
    plan: &SequencePlan,
    layer: &LayerPlan,
    list: &dyn Fn(usize) -> Vec<usize>,
) -> Selection<f32> {
    let seqlen = plan.seqlen;
    let window_len = layer.observation.window_len.max(0) as usize;
    let review_len = seqlen.saturating_sub(layer.observation.suffix_len.max(0) as usize);
    let tokens = |windows: &[usize]| -> Vec<usize> {
        let of_window = |&window: &usize| {
            let start = (window * window_len).min(review_len);
            start..(start + window_len).min(review_len)
        };
        let review = windows.iter().flat_map(of_window);
        review.chain(review_len..seqlen).collect()
    };
    let kept = match layer.rule {
        Rule::All => Kept::All,
        _ if layer.rows == 1 => Kept::Shared(tokens(&list(0))),
        _ => Kept::PerHead((0..layer.rows).map(|row| tokens(&list(row))).collect()),
    };
    let windows = match layer.rule {
        _ if plan.kind != MethodKind::WindowKv => None,
        Rule::All => None,
        Rule::Ends { .. } => Some((Vec::new(), None)),
        Rule::Scored(_) | Rule::AsLeader { .. } => Some((list(0), Some(layer.owner))),
    };
    let windows = windows.map(|(windows, leader)| WindowChoice {
        window_len,
        windows,
        leader,
    });
    Selection {
        kept,
        windows,
        scores: None,
    }
}
