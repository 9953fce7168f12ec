//! One new token of every sequence: nine launches a layer, and five around them.

use windowkv_kernels::{CacheLayout, HalfPrecision, Strides, Tensor, TensorMut, ops, range};

use super::batch::Batch;
use super::layer::{rows_of, rows_of_mut};
use super::plan::cache_layout;
use super::step::{DeviceResult, Step};
use crate::Result;

impl<T: HalfPrecision> Batch<'_, T> {
    /// Runs the last token of each sequence, appends its key and value to the caches in place, and chooses the next.
    /// The same calls with the same arguments at every step, so that on a GPU they
    /// are captured once and replayed as one graph.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) with the step.
    pub fn step(&mut self) -> Result<()> {
        let _step = range(|| "decode step".to_owned());
        #[cfg(feature = "cuda")]
        if self.model.device.name() == "cuda" {
            return self.graph_step();
        }
        self.launch_step()
    }

    pub(super) fn launch_step(&mut self) -> Result<()> {
        let (model, batch) = (self.model, self.lengths.batch());
        let sizes = model.sizes;
        self.embed_tokens().at("the embedding of a decode step")?;
        for layer in 0..sizes.num_layers {
            self.step_attention(layer)
                .in_layer("attention of a decode step", layer)?;
            let memory = &mut self.rows;
            let (stream, activations) = (&mut memory.stream, &mut memory.activations);
            let weights = &model.weights.layers[layer];
            model
                .output_and_mlp(weights, stream, 0..batch, 0, activations)
                .in_layer("the dense layers of a decode step", layer)?;
        }
        self.head(None, 0, batch).at("choosing the next token")?;
        ops::advance(&model.device, self.counters.view_mut(), 1).at("counting up")
    }

    fn embed_tokens(&mut self) -> DeviceResult<()> {
        let (model, batch) = (self.model, self.lengths.batch());
        let params = ops::EmbeddingParams {
            table: model.weights.embed()?,
            ids: self.tokens.view(),
            out: rows_of_mut(&mut self.rows.stream, 0..batch, model.sizes.hidden)?,
            flags: Some(self.flags.view_mut()),
        };
        ops::embedding(&model.device, params)
    }

    /// Norm, queries, keys and values, RoPE, attention: four launches.
    fn step_attention(&mut self, layer: usize) -> DeviceResult<()> {
        let (model, batch) = (self.model, self.lengths.batch());
        let sizes = model.sizes;
        let weights = &model.weights.layers[layer];
        let memory = &mut self.rows;
        let x = rows_of(&memory.stream, 0..batch, sizes.hidden)?;
        let normed = &mut memory.activations.normed;
        let out = rows_of_mut(normed, 0..batch, sizes.hidden)?;
        model.norm(x, &weights.input_norm, out)?;
        let normed = rows_of(normed, 0..batch, sizes.hidden)?;
        let qkv = rows_of_mut(&mut memory.qkv, 0..batch, sizes.qkv())?;
        model.linear(normed, &weights.qkv, qkv, false)?;

        // Queries and keys lie side by side and turn alike: heads of one tensor.
        let strides = Strides {
            batch: sizes.qkv(),
            token: sizes.qkv(),
            head: sizes.head_dim,
        };
        let turned = sizes.num_heads_q + sizes.num_heads_kv;
        let turned = [1, batch, turned, sizes.head_dim];
        let position = sizes.num_layers * batch;
        let positions = self.counters.view().range(position..position + batch);
        let params = ops::RopeParams {
            q: TensorMut::strided(memory.qkv.view_mut(), turned, strides, 0)?,
            k: None,
            positions: positions?,
            turns: model.turns.view(),
        };
        ops::rope(&model.device, params)?;

        let heads = |count, offset| {
            let shape = [batch, 1, count, sizes.head_dim];
            Tensor::strided(memory.qkv.view(), shape, strides, offset)
        };
        let lens = layer * batch..(layer + 1) * batch;
        let out = [batch, 1, sizes.num_heads_q, sizes.head_dim];
        let out_strides = CacheLayout::tokens_outermost(out);
        let attended = memory.activations.attended.view_mut();
        let params = ops::DecodeParams {
            q: heads(sizes.num_heads_q, 0)?,
            new: Some((
                heads(sizes.num_heads_kv, sizes.q())?,
                heads(sizes.num_heads_kv, sizes.q() + sizes.kv())?,
            )),
            o: TensorMut::strided(attended, out, out_strides, 0)?,
            lse: None,
            cache: self.caches[layer].all(),
            layout: cache_layout(&sizes, batch, self.lengths.capacities[layer]),
            cache_lens: self.counters.view().range(lens)?,
            softmax_scale: model.softmax_scale,
            workspace: memory.workspace.view_mut(),
            flags: Some(self.flags.view_mut()),
        };
        ops::decode(&model.device, params)
    }
}
