//! The forward pass of Llama 3 and Qwen2, layer by layer.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, ArrayView3, ArrayViewMut2, s};
use windowkv_ref::layer::{Llama3Scaling, Rope, apply_rope, rms_norm, silu_mul};
use windowkv_ref::methods::{LayerInput, Method, Selection};
use windowkv_ref::policy::ModelShape;
use windowkv_ref::{attention, softmax_scale};

use super::kv_cache::KvCache;
use super::linear::{Output, project, stream, stream_tensor};
use super::memory::PREFILL_ROWS;
use super::visit::{Compress, LayerVisitor};
use crate::config::ModelConfig;
use crate::weights::{LayerWeights, Weights};
use crate::{Error, Result};

/// A model that can be run.
#[derive(Debug)]
pub struct Llama {
    config: ModelConfig,
    weights: Weights,
    rope: Rope,
}

/// What prefill leaves.
#[derive(Debug)]
pub struct Prefilled {
    /// Logits of the prompt's last token, `[vocab_size]`
    pub logits: Vec<f32>,
    /// The compressed cache.
    pub cache: KvCache,
    /// What each layer kept, and why.
    pub selections: Vec<Selection<f32>>,
}

impl Llama {
    /// A model from its parts.
    ///
    /// # Errors
    /// When the rotary embedding cannot be made for the config's head_dim.
    pub fn new(config: ModelConfig, weights: Weights) -> Result<Self> {
        let scaling = config.rope_scaling.map(|scaling| Llama3Scaling {
            factor: scaling.factor,
            low_freq_factor: scaling.low_freq_factor,
            high_freq_factor: scaling.high_freq_factor,
            original_max_position_embeddings: scaling.original_max_position_embeddings as f64,
        });
        let rope = Rope::new(config.head_dim, config.rope_theta, scaling)?;
        Ok(Self {
            config,
            weights,
            rope,
        })
    }

    /// The architecture.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// What a compression method must know.
    pub fn shape(&self) -> ModelShape {
        self.config.shape()
    }

    /// Runs the prompt and compresses its keys and values layer by layer, so that at most one layer's
    /// uncompressed K/V is alive. The cache has room for `new_tokens` more.
    ///
    /// `progress` is told the share of the work that is done, between 0 and 1.
    ///
    /// # Errors
    /// An empty prompt, one that does not fit the model's context with the new tokens, ids over the vocabulary,
    /// a method that does not fit, weights that changed.
    pub fn prefill(
        &self,
        ids: &[u32],
        method: &dyn Method<f32>,
        new_tokens: usize,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Prefilled> {
        let mut prefilled = self.prefill_each(ids, &[method], new_tokens, progress)?;
        Ok(prefilled.remove(0))
    }

    /// [`prefill`](Self::prefill) with several methods, whose caches come from one pass over the prompt: what each
    /// gets has the same bits as alone.
    ///
    /// # Errors
    /// As [`prefill`](Self::prefill).
    pub fn prefill_each(
        &self,
        ids: &[u32],
        methods: &[&dyn Method<f32>],
        new_tokens: usize,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Prefilled>> {
        self.check_prompt(ids, new_tokens)?;
        let start = |method: &&dyn Method<f32>| {
            let selector = method.start(self.shape(), ids.len())?;
            Ok(Compress::new(selector, ids.len(), new_tokens))
        };
        let mut readers = methods.iter().map(start).collect::<Result<Vec<_>>>()?;
        let mut visitors: Vec<&mut dyn LayerVisitor> = Vec::new();
        visitors.extend(
            readers
                .iter_mut()
                .map(|reader| reader as &mut dyn LayerVisitor),
        );
        self.visit_layers(ids, &mut visitors, progress)?;
        Ok(readers.into_iter().map(Compress::finish).collect())
    }

    /// Runs the prompt over its full length, shows each layer's queries, keys and values to the visitors, and keeps
    /// none of them itself. What each sees has the same bits as alone.
    ///
    /// `progress` is told the share of the work that is done, between 0 and 1.
    ///
    /// # Errors
    /// An empty prompt, one that does not fit the model's context, ids over the vocabulary, weights that changed,
    /// and what a visitor refuses.
    pub fn visit_layers(
        &self,
        ids: &[u32],
        visitors: &mut [&mut dyn LayerVisitor],
        progress: &mut dyn FnMut(f64),
    ) -> Result<()> {
        self.check_prompt(ids, 0)?;
        let seqlen = ids.len();
        let mut x = self.embed(ids)?;
        let positions: Vec<usize> = (0..seqlen).collect();
        let mut tensors = LayerTensors::new(&self.config, seqlen);
        let mut scratch = Scratch::new(&self.config, &positions, &self.rope);
        let num_layers = self.config.num_layers;
        for (layer, weights) in self.weights.layers.iter().enumerate() {
            // Nothing reads the last layer's output but the logits of the last token, so there only the rows that
            // a visitor looks at are computed: in a pass for each number of rows, on which a product's bits depend.
            let last = layer + 1 == num_layers;
            let mut passes: BTreeMap<usize, Vec<&mut dyn LayerVisitor>> = BTreeMap::new();
            for visitor in visitors.iter_mut() {
                let observed = visitor.query_rows(layer);
                let rows = if last { observed.max(1) } else { seqlen };
                passes.entry(rows).or_default().push(&mut **visitor);
            }
            let num_passes = passes.len() as f64;
            for (pass, (rows, mut visitors)) in passes.into_iter().enumerate() {
                let mut report = |part: f64| {
                    let of_layer = (pass as f64 + part) / num_passes;
                    progress((layer as f64 + of_layer) / num_layers as f64);
                };
                self.qkv(weights, x.view(), rows, &mut tensors, &mut scratch)?;
                report(0.3);
                self.attend(layer, rows, &mut tensors, &mut visitors)?;
                report(0.5);
                if last {
                    let mut x = x.slice(s![seqlen - 1.., ..]).to_owned();
                    let attended = tensors.attended.slice(s![rows - 1..rows, ..]);
                    self.output_and_mlp(weights, attended, x.view_mut(), &mut scratch)?;
                    let logits = self.logits(x.view())?.into_raw_vec_and_offset().0;
                    for visitor in visitors {
                        visitor.logits(&logits);
                    }
                } else {
                    let attended = tensors.attended.view();
                    self.output_and_mlp(weights, attended, x.view_mut(), &mut scratch)?;
                }
                self.weights.check()?;
                report(1.0);
            }
        }
        Ok(())
    }

    /// Attention of the last `rows` queries of a layer, shown to the visitors.
    fn attend(
        &self,
        layer: usize,
        rows: usize,
        tensors: &mut LayerTensors,
        visitors: &mut [&mut dyn LayerVisitor],
    ) -> Result<()> {
        let head_dim = self.config.head_dim;
        let q = split_heads(tensors.q.slice(s![..rows, ..]), head_dim);
        let k = split_heads(tensors.k.view(), head_dim);
        let v = split_heads(tensors.v.view(), head_dim);
        let scale = softmax_scale(head_dim);
        let out = split_heads_mut(tensors.attended.slice_mut(s![..rows, ..]), head_dim);
        let lse = tensors.lse.slice_mut(s![.., ..rows]);
        attention::prefill_into(q, k, v, scale, out, lse)?;
        for visitor in visitors {
            let first = rows - visitor.query_rows(layer).min(rows);
            let input = LayerInput {
                q: q.slice_move(s![first.., .., ..]),
                k,
                lse: tensors.lse.slice(s![.., first..rows]),
                softmax_scale: scale,
            };
            visitor.visit(layer, &input, v)?;
        }
        Ok(())
    }

    /// Whether the prompt is one, and fits the context with `new_tokens` more.
    fn check_prompt(&self, ids: &[u32], new_tokens: usize) -> Result<()> {
        let limit = self.config.max_position_embeddings;
        if ids.is_empty() {
            Err(Error::EmptyPrompt)
        } else if ids.len().saturating_add(new_tokens) > limit {
            Err(Error::ContextTooSmall {
                prompt_tokens: ids.len(),
                max_new_tokens: new_tokens,
                limit,
            })
        } else {
            Ok(())
        }
    }

    /// Runs one token of each sequence; its key and value are appended to the sequence's cache.
    ///
    /// Returns the logits, `[sequences, vocab_size]`. A sequence gets the same bits alone and in any batch.
    ///
    /// # Errors
    /// Ids over the vocabulary, weights that changed.
    ///
    /// # Panics
    /// When a cache has no room left.
    pub fn decode(&self, batch: &mut [(u32, &mut KvCache)]) -> Result<Array2<f32>> {
        let config = &self.config;
        let ids: Vec<u32> = batch.iter().map(|(id, _)| *id).collect();
        let positions: Vec<usize> = batch.iter().map(|(_, cache)| cache.position).collect();
        let (cos, sin) = self.rope.tables::<f32>(&positions);
        let rows = batch.len();
        let mut x = self.embed(&ids)?;
        let mut normed = Array2::zeros((rows, config.hidden_size));
        let mut q = Array2::zeros((rows, config.q_size()));
        let mut k = Array2::zeros((rows, config.kv_size()));
        let mut v = Array2::zeros((rows, config.kv_size()));
        let mut attended = Array2::zeros((rows, config.q_size()));
        let mut gate = Array2::zeros((rows, config.intermediate_size));
        let mut up = Array2::zeros((rows, config.intermediate_size));
        let eps = config.rms_norm_eps as f32;
        for (layer, weights) in self.weights.layers.iter().enumerate() {
            rms_norm(x.view(), &weights.input_norm, eps, normed.view_mut())?;
            stream(normed.view(), &weights.q, q.view_mut(), Output::Replace);
            stream(normed.view(), &weights.k, k.view_mut(), Output::Replace);
            stream(normed.view(), &weights.v, v.view_mut(), Output::Replace);
            apply_rope(
                split_heads_mut(q.view_mut(), config.head_dim),
                cos.view(),
                sin.view(),
            )?;
            apply_rope(
                split_heads_mut(k.view_mut(), config.head_dim),
                cos.view(),
                sin.view(),
            )?;
            for (row, (_, cache)) in batch.iter_mut().enumerate() {
                let cache = &mut cache.layers[layer];
                let one = |x: &Array2<f32>| {
                    let heads = x.ncols() / config.head_dim;
                    x.row(row)
                        .to_shape((heads, config.head_dim))
                        .expect("whole heads")
                        .into_owned()
                };
                cache.append(one(&k).view(), one(&v).view());
                let out = attended.slice_mut(s![row..row + 1, ..]);
                let out = split_heads_mut(out, config.head_dim);
                attention::decode_into(
                    one(&q).view(),
                    cache.k(),
                    cache.v(),
                    softmax_scale(config.head_dim),
                    out.index_axis_move(ndarray::Axis(0), 0),
                )?;
            }
            stream(attended.view(), &weights.o, x.view_mut(), Output::Add);
            rms_norm(x.view(), &weights.post_norm, eps, normed.view_mut())?;
            stream(
                normed.view(),
                &weights.gate,
                gate.view_mut(),
                Output::Replace,
            );
            stream(normed.view(), &weights.up, up.view_mut(), Output::Replace);
            silu_mul(gate.view_mut(), up.view())?;
            stream(gate.view(), &weights.down, x.view_mut(), Output::Add);
        }
        for (_, cache) in batch {
            cache.position += 1;
        }
        let logits = self.logits(x.view())?;
        self.weights.check()?;
        Ok(logits)
    }

    /// Embedding rows, `[tokens, hidden_size]`.
    fn embed(&self, ids: &[u32]) -> Result<Array2<f32>> {
        let vocab_size = self.config.vocab_size;
        let mut x = Array2::zeros((ids.len(), self.config.hidden_size));
        for (index, (&id, mut row)) in ids.iter().zip(x.rows_mut()).enumerate() {
            if id as usize >= vocab_size {
                let origin = format!("token {index} of the input");
                return Err(Error::TokenId {
                    id: id.into(),
                    origin,
                    vocab_size,
                });
            }
            let row = row.as_slice_mut().expect("a fresh matrix is contiguous");
            self.weights.embed.row_to_f32(id as usize, row);
        }
        Ok(x)
    }

    /// Logits of a few rows, `[rows, vocab_size]`.
    fn logits(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let mut normed = Array2::zeros(x.dim());
        rms_norm(
            x,
            &self.weights.norm,
            self.config.rms_norm_eps as f32,
            normed.view_mut(),
        )?;
        let logits = stream_tensor(normed.view(), self.weights.lm_head());
        Ok(logits.t().as_standard_layout().into_owned())
    }

    /// Queries of the last `rows` tokens and keys and values of all, after RoPE, into `tensors`.
    fn qkv(
        &self,
        weights: &LayerWeights,
        x: ArrayView2<'_, f32>,
        rows: usize,
        tensors: &mut LayerTensors,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (seqlen, head_dim) = (x.nrows(), self.config.head_dim);
        let eps = self.config.rms_norm_eps as f32;
        let first_query = seqlen - rows;
        let LayerTensors { q, k, v, .. } = tensors;
        let Scratch {
            normed,
            panel,
            cos,
            sin,
            ..
        } = scratch;
        for start in (0..seqlen).step_by(PREFILL_ROWS) {
            let end = (start + PREFILL_ROWS).min(seqlen);
            let mut normed = normed.slice_mut(s![..end - start, ..]);
            rms_norm(
                x.slice(s![start..end, ..]),
                &weights.input_norm,
                eps,
                normed.view_mut(),
            )?;
            if end > first_query {
                let from = start.max(first_query);
                let normed = normed.slice(s![from - start.., ..]);
                let q = q.slice_mut(s![from - first_query..end - first_query, ..]);
                project(normed, &weights.q, q, Output::Replace, panel);
            }
            let k = k.slice_mut(s![start..end, ..]);
            project(normed.view(), &weights.k, k, Output::Replace, panel);
            let v = v.slice_mut(s![start..end, ..]);
            project(normed.view(), &weights.v, v, Output::Replace, panel);
        }
        let q = split_heads_mut(q.slice_mut(s![..rows, ..]), head_dim);
        apply_rope(
            q,
            cos.slice(s![first_query.., ..]),
            sin.slice(s![first_query.., ..]),
        )?;
        apply_rope(
            split_heads_mut(k.view_mut(), head_dim),
            cos.view(),
            sin.view(),
        )?;
        Ok(())
    }

    /// `x += o(attended)`, then `x += mlp(norm(x))`, for the rows of `x`.
    fn output_and_mlp(
        &self,
        weights: &LayerWeights,
        attended: ArrayView2<'_, f32>,
        mut x: ArrayViewMut2<'_, f32>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let eps = self.config.rms_norm_eps as f32;
        let Scratch {
            normed,
            gate,
            up,
            panel,
            ..
        } = scratch;
        for start in (0..x.nrows()).step_by(PREFILL_ROWS) {
            let end = (start + PREFILL_ROWS).min(x.nrows());
            let rows = s![..end - start, ..];
            let mut x = x.slice_mut(s![start..end, ..]);
            let attended = attended.slice(s![start..end, ..]);
            project(attended, &weights.o, x.view_mut(), Output::Add, panel);
            rms_norm(x.view(), &weights.post_norm, eps, normed.slice_mut(rows))?;
            let normed = normed.slice(rows);
            project(
                normed,
                &weights.gate,
                gate.slice_mut(rows),
                Output::Replace,
                panel,
            );
            project(
                normed,
                &weights.up,
                up.slice_mut(rows),
                Output::Replace,
                panel,
            );
            silu_mul(gate.slice_mut(rows), up.slice(rows))?;
            project(gate.slice(rows), &weights.down, x, Output::Add, panel);
        }
        Ok(())
    }
}

/// What attention of one layer reads and writes. Made once for all layers, so that at most one layer's
/// uncompressed K/V is alive and the allocator is left alone between layers.
struct LayerTensors {
    /// `[seqlen, num_heads_q * head_dim]`
    q: Array2<f32>,
    /// `[seqlen, num_heads_kv * head_dim]`
    k: Array2<f32>,
    /// `[seqlen, num_heads_kv * head_dim]`
    v: Array2<f32>,
    /// `[seqlen, num_heads_q * head_dim]`
    attended: Array2<f32>,
    /// `[num_heads_q, seqlen]`
    lse: Array2<f32>,
}

impl LayerTensors {
    fn new(config: &ModelConfig, seqlen: usize) -> Self {
        Self {
            q: Array2::zeros((seqlen, config.q_size())),
            k: Array2::zeros((seqlen, config.kv_size())),
            v: Array2::zeros((seqlen, config.kv_size())),
            attended: Array2::zeros((seqlen, config.q_size())),
            lse: Array2::zeros((config.num_heads_q, seqlen)),
        }
    }
}

/// Working memory of the dense layers and tables, made once for all layers. [`super::MemoryPlan`] counts
/// this and [`LayerTensors`].
struct Scratch {
    /// `[min(seqlen, PREFILL_ROWS), hidden_size]`
    normed: Array2<f32>,
    /// `[min(seqlen, PREFILL_ROWS), intermediate_size]`
    gate: Array2<f32>,
    /// `[min(seqlen, PREFILL_ROWS), intermediate_size]`
    up: Array2<f32>,
    /// Widened weights.
    panel: Vec<f32>,
    /// `[seqlen, head_dim / 2]`
    cos: Array2<f32>,
    /// `[seqlen, head_dim / 2]`
    sin: Array2<f32>,
}

impl Scratch {
    fn new(config: &ModelConfig, positions: &[usize], rope: &Rope) -> Self {
        let rows = positions.len().min(PREFILL_ROWS);
        let (cos, sin) = rope.tables(positions);
        Self {
            normed: Array2::zeros((rows, config.hidden_size)),
            gate: Array2::zeros((rows, config.intermediate_size)),
            up: Array2::zeros((rows, config.intermediate_size)),
            panel: Vec::new(),
            cos,
            sin,
        }
    }
}

fn split_heads(x: ArrayView2<'_, f32>, head_dim: usize) -> ArrayView3<'_, f32> {
    let (rows, columns) = x.dim();
    x.into_shape_with_order((rows, columns / head_dim, head_dim))
        .expect("contiguous, whole heads")
}

fn split_heads_mut(x: ArrayViewMut2<'_, f32>, head_dim: usize) -> ndarray::ArrayViewMut3<'_, f32> {
    let (rows, columns) = x.dim();
    x.into_shape_with_order((rows, columns / head_dim, head_dim))
        .expect("contiguous, whole heads")
}
