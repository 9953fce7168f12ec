//! Prompts on a device, layer by layer, each layer in chunks.
//!
//! ```text
//! for each layer
//!   for each chunk of rows     norm -> K, V -> RoPE;  Q -> RoPE -> attention over all keys so far, lse -> o -> MLP
//!   where the layer chooses    score (the last rows of q, lse; all keys) -> select
//!   gather                     kept K, V -> the compact cache
//! ```
//! The rows that the scores look at are the prompt's last: the query buffer keeps them, whatever chunks they fall in.
//! Nothing reads the last layer's output but the logits of the last token, so that layer computes keys and values of
//! all rows and queries of those that are looked at.

use std::ops::Range;

use windowkv_kernels::{
    CacheLayout, CacheMut, HalfPrecision, RowsF32, RowsF32Mut, Sequences, Strides, Tensor,
    TensorMut, ops, range,
};

use super::batch::Batch;
use super::choice::ScoreMemory;
use super::layer::{rows_of, rows_of_mut};
use super::plan::cache_layout;
use super::sizes::Sizes;
use super::step::{DeviceResult, Step};
use crate::Result;

/// Which rows of a layer have what done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rows {
    seqlen: usize,
    chunk: usize,
    /// Before this row, keys and values are all that is needed.
    first_query: usize,
    /// From this row on, the query buffer keeps queries to the end of the layer.
    tail: usize,
}

impl Rows {
    fn new(seqlen: usize, chunk: usize, observed: usize, last_layer: bool) -> Self {
        let needed = if last_layer { observed.max(1) } else { seqlen };
        Self {
            seqlen,
            chunk,
            first_query: seqlen - needed,
            tail: seqlen - observed.max(chunk.min(needed)),
        }
    }

    /// Runs of rows that are worked through together.
    fn chunks(self) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let mut end = (start + self.chunk).min(self.seqlen);
            for boundary in [self.first_query, self.tail] {
                if (start + 1..end).contains(&boundary) {
                    end = boundary;
                }
            }
            let chunk = (start < end).then_some(start..end);
            start = end;
            chunk
        })
    }

    /// Where the query buffer has the queries of a chunk.
    fn q_row(self, chunk: &Range<usize>) -> usize {
        chunk.start.saturating_sub(self.tail)
    }
}

impl<T: HalfPrecision> Batch<'_, T> {
    /// Reads all prompts, one after the other, compresses each layer's cache and chooses each sequence's first new
    /// token. The host waits for nothing and learns nothing. `progress` is told the share that was launched.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) with the step.
    pub fn prefill(&mut self, progress: &mut dyn FnMut(f64)) -> Result<()> {
        let sizes = self.model.sizes;
        let (mut first_id, total) = (0, self.lengths.ids.max(1) as f64);
        for sequence in 0..self.lengths.batch() {
            let seqlen = self.lengths.sequences[sequence].seqlen;
            let _prompt = range(|| format!("prefill of prompt {sequence}"));
            self.embed_prompt(first_id..first_id + seqlen)
                .at("the embedding of a prompt")?;
            for layer in 0..sizes.num_layers {
                let _layer = range(|| format!("layer {layer}"));
                self.prefill_layer(sequence, layer)?;
                let _compression = range(|| "compression".to_owned());
                self.measured_compression(sequence, layer)
                    .in_layer("compression", layer)?;
                let part = (layer + 1) as f64 / sizes.num_layers as f64;
                progress((first_id as f64 + part * seqlen as f64) / total);
            }
            self.head(Some(seqlen - 1), sequence, 1)
                .at("choosing the first token")?;
            first_id += seqlen;
        }
        // Each sequence has drawn one token.
        let drawn = (sizes.num_layers + 1) * self.lengths.batch();
        let drawn = self
            .counters
            .view_mut()
            .range(drawn..drawn + self.lengths.batch());
        let drawn = drawn.at("counting tokens")?;
        ops::advance(&self.model.device, drawn, 1).at("counting tokens")
    }

    fn embed_prompt(&mut self, ids: Range<usize>) -> DeviceResult<()> {
        let rows = 0..ids.len();
        let params = ops::EmbeddingParams {
            table: self.model.weights.embed()?,
            ids: self.ids.view().range(ids)?,
            out: rows_of_mut(&mut self.prompt.stream, rows, self.model.sizes.hidden)?,
            flags: Some(self.flags.view_mut()),
        };
        ops::embedding(&self.model.device, params)
    }

    fn rows(&self, sequence: usize, layer: usize) -> Rows {
        let plan = &self.lengths.sequences[sequence];
        let last = layer + 1 == self.model.sizes.num_layers;
        let observed = plan.observed_rows(layer);
        Rows::new(plan.seqlen, self.lengths.chunk, observed, last)
    }

    fn prefill_layer(&mut self, sequence: usize, layer: usize) -> Result<()> {
        const DENSE: &str = "the dense layers";
        let model = self.model;
        let rows = self.rows(sequence, layer);
        let last = layer + 1 == model.sizes.num_layers;
        let weights = &model.weights.layers[layer];
        let mut attended_rows = 0;
        for chunk in rows.chunks() {
            self.keys_and_values(layer, chunk.clone())
                .in_layer("keys and values", layer)?;
            if chunk.end <= rows.first_query {
                continue;
            }
            self.attend(layer, rows, chunk.clone())
                .in_layer("attention", layer)?;
            attended_rows = chunk.len();
            if !last {
                let memory = &mut self.prompt;
                let (stream, activations) = (&mut memory.stream, &mut memory.activations);
                model
                    .output_and_mlp(weights, stream, chunk, 0, activations)
                    .in_layer(DENSE, layer)?;
            }
        }
        if last {
            let memory = &mut self.prompt;
            let (stream, activations) = (&mut memory.stream, &mut memory.activations);
            let row = rows.seqlen - 1..rows.seqlen;
            model
                .output_and_mlp(weights, stream, row, attended_rows - 1, activations)
                .in_layer(DENSE, layer)?;
        }
        Ok(())
    }

    /// Norms a chunk's rows, which are left in the activations, and makes their keys and values.
    fn keys_and_values(&mut self, layer: usize, chunk: Range<usize>) -> DeviceResult<()> {
        let (model, sizes) = (self.model, self.model.sizes);
        let (weights, rows) = (&model.weights.layers[layer], chunk.len());
        let memory = &mut self.prompt;
        let x = rows_of(&memory.stream, chunk.clone(), sizes.hidden)?;
        let normed = &mut memory.activations.normed;
        let out = rows_of_mut(normed, 0..rows, sizes.hidden)?;
        model.norm(x, &weights.input_norm, out)?;
        let normed = rows_of(normed, 0..rows, sizes.hidden)?;
        let kv = rows_of_mut(&mut memory.kv, chunk.clone(), 2 * sizes.kv())?;
        model.part_of_linear(normed, &weights.qkv, sizes.kv_rows(), kv, false)?;
        let params = ops::RopeParams {
            q: TensorMut::strided(
                memory.kv.view_mut(),
                [1, rows, sizes.num_heads_kv, sizes.head_dim],
                kv_strides(&sizes),
                chunk.start * 2 * sizes.kv(),
            )?,
            k: None,
            positions: self.positions.view().range(chunk)?,
            turns: model.turns.view(),
        };
        ops::rope(&model.device, params)
    }

    /// Queries of a chunk's rows, which were normed, and their attention over all keys so far.
    fn attend(&mut self, layer: usize, rows: Rows, chunk: Range<usize>) -> DeviceResult<()> {
        let (model, sizes) = (self.model, self.model.sizes);
        let (count, first) = (chunk.len(), rows.q_row(&chunk));
        let memory = &mut self.prompt;
        let normed = &memory.activations.normed;
        let normed = rows_of(normed, 0..count, sizes.hidden)?;
        let q = rows_of_mut(&mut memory.q, first..first + count, sizes.q())?;
        let qkv = &model.weights.layers[layer].qkv;
        model.part_of_linear(normed, qkv, sizes.q_rows(), q, false)?;
        let shape = [1, count, sizes.num_heads_q, sizes.head_dim];
        let strides = CacheLayout::tokens_outermost(shape);
        let offset = first * sizes.q();
        let params = ops::RopeParams {
            q: TensorMut::strided(memory.q.view_mut(), shape, strides, offset)?,
            k: None,
            positions: self.positions.view().range(chunk.clone())?,
            turns: model.turns.view(),
        };
        ops::rope(&model.device, params)?;
        let lse = RowsF32Mut::strided(
            memory.lse.view_mut(),
            [1, sizes.num_heads_q, count],
            0,
            self.lengths.q_rows,
            first,
        );
        let [k, v] = [0, sizes.kv()].map(|offset| {
            let shape = [1, chunk.end, sizes.num_heads_kv, sizes.head_dim];
            Tensor::strided(memory.kv.view(), shape, kv_strides(&sizes), offset)
        });
        let attended = &mut memory.activations.attended;
        let params = ops::PrefillParams {
            q: Tensor::strided(memory.q.view(), shape, strides, offset)?,
            k: k?,
            v: v?,
            o: TensorMut::new(attended.view_mut(), shape)?,
            lse: Some(lse?),
            sequences_q: Sequences::padded(count),
            sequences_kv: Sequences::padded(chunk.end),
            softmax_scale: model.softmax_scale,
            flags: Some(self.flags.view_mut()),
        };
        ops::prefill(&model.device, params)
    }

    fn measured_compression(&mut self, sequence: usize, layer: usize) -> DeviceResult<()> {
        let Some(mut compressions) = self.compressions.take() else {
            return self.compress(sequence, layer);
        };
        let before = self.model.device.mark()?;
        self.compress(sequence, layer)?;
        compressions.push([before, self.model.device.mark()?]);
        self.compressions = Some(compressions);
        Ok(())
    }

    /// Chooses what a layer keeps, where it does, and gathers it into the sequence's part of the cache.
    fn compress(&mut self, sequence: usize, layer: usize) -> DeviceResult<()> {
        let (model, sizes) = (self.model, self.model.sizes);
        let rows = self.rows(sequence, layer);
        let plan = &self.lengths.sequences[sequence];
        let observed = plan.observed_rows(layer);
        let memory = &mut self.prompt;
        let [k, v] = [0, sizes.kv()].map(|offset| {
            let shape = [1, rows.seqlen, sizes.num_heads_kv, sizes.head_dim];
            Tensor::strided(memory.kv.view(), shape, kv_strides(&sizes), offset)
        });
        let (k, v) = (k?, v?);
        if observed > 0 {
            let first = rows.seqlen - observed - rows.tail;
            let shape = [1, observed, sizes.num_heads_q, sizes.head_dim];
            let strides = CacheLayout::tokens_outermost(shape);
            let q = Tensor::strided(memory.q.view(), shape, strides, first * sizes.q());
            let lse_shape = [1, sizes.num_heads_q, observed];
            let lse = memory.lse.view();
            let lse = RowsF32::strided(lse, lse_shape, 0, self.lengths.q_rows, first);
            let input = ops::ScoreInput {
                q: q?,
                k,
                lse: lse?,
                sequences_q: Sequences::padded(observed),
                sequences_kv: Sequences::padded(rows.seqlen),
            };
            let scratch = ScoreMemory {
                scores: &mut memory.scores,
                workspace: &mut memory.score_workspace,
                flags: self.flags.view_mut(),
            };
            self.choices[sequence].choose(
                &model.device,
                plan,
                layer,
                input,
                model.softmax_scale,
                scratch,
            )?;
        }
        let layout = cache_layout(&sizes, 1, self.lengths.capacities[layer]);
        let elements = layout.capacity() * sizes.kv();
        let part = sequence * elements..(sequence + 1) * elements;
        let cache = &mut self.caches[layer];
        let length = layer * self.lengths.batch() + sequence;
        let params = ops::GatherParams {
            layers: vec![ops::GatherLayer {
                k,
                v,
                cache: CacheMut {
                    k: cache.k.view_mut().range(part.clone())?,
                    v: cache.v.view_mut().range(part)?,
                },
            }],
            sequences_kv: Sequences::padded(rows.seqlen),
            cache: layout,
            windows: self.choices[sequence].kept(plan, layer)?,
            kept_lens: self.counters.view_mut().range(length..length + 1)?,
            flags: Some(self.flags.view_mut()),
        };
        ops::gather(&model.device, params)
    }
}

/// Keys (and, `kv` elements behind them, values) of a token lie side by side.
fn kv_strides(sizes: &Sizes) -> Strides {
    Strides {
        batch: 0,
        token: 2 * sizes.kv(),
        head: sizes.head_dim,
    }
}

#[cfg(test)]
mod tests {
    use super::Rows;

    /// Every row is worked through once, chunks keep to their bound, and the rows that scores look at lie side by side
    /// at the end of the query buffer.
    #[test]
    fn chunks_cover_all_rows_and_keep_the_observed_ones() {
        for seqlen in 1..40 {
            for chunk in 1..=seqlen {
                for observed in 0..=seqlen {
                    for last in [false, true] {
                        let rows = Rows::new(seqlen, chunk, observed, last);
                        let room = chunk.max(observed);
                        let mut covered = 0;
                        let mut holds = vec![usize::MAX; room];
                        for part in rows.chunks() {
                            assert_eq!(part.start, covered);
                            assert!(part.len() <= chunk);
                            covered = part.end;
                            if part.end <= rows.first_query {
                                continue;
                            }
                            assert!(part.start >= rows.first_query);
                            let first = rows.q_row(&part);
                            for (slot, row) in (first..).zip(part) {
                                holds[slot] = row;
                            }
                        }
                        assert_eq!(covered, seqlen);
                        for row in seqlen - observed..seqlen {
                            assert_eq!(holds[row - rows.tail], row, "{rows:?}");
                        }
                    }
                }
            }
        }
    }
}
