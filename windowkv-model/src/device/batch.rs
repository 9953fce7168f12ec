//! A batch of sequences on a device: its memory, and the calls that move it on.

use windowkv_kernels::{
    Buffer, CacheMut, Flags, HalfPrecision, Mark, Matrix, MatrixMut, Sampling as DeviceSampling,
    ops,
};
use windowkv_ref::methods::{Method, Selection};

use super::choice::Choices;
use super::layer::Activations;
use super::model::DeviceModel;
use super::plan::{Lengths, PromptShape};
use super::step::{DeviceResult, Step};
use crate::runner::Sampling;
use crate::{Error, Result};

/// One prompt of a batch.
pub struct Prompt<'a> {
    /// Token ids.
    pub ids: &'a [u32],
    /// How the cache is compressed.
    pub method: &'a dyn Method<f32>,
    /// New tokens at most; the cache has room for so many.
    pub new_tokens: usize,
    /// How tokens are chosen. Draws come from Philox, not from the CPU runner's generator: with a temperature the texts
    /// of the two differ.
    pub sampling: Sampling,
}

/// Sequences that are decoded together. All memory is made at once; prefill and steps allocate nothing, wait for
/// nothing and read nothing back.
#[derive(Debug)]
pub struct Batch<'m, T: HalfPrecision> {
    #[cfg(feature = "cuda")]
    pub(super) graph: super::graph::StepGraph,
    pub(super) model: &'m DeviceModel<T>,
    pub(super) lengths: Lengths,
    pub(super) choices: Vec<Choices>,
    /// `[tokens of all prompts]`
    pub(super) ids: Buffer<i32>,
    /// `[max_seqlen]`: 0, 1, 2 ...
    pub(super) positions: Buffer<i32>,
    pub(super) prompt: PromptMemory<T>,
    pub(super) caches: Vec<Cache<T>>,
    pub(super) rows: RowMemory<T>,
    /// Cache lengths `[num_layers, batch]`, positions `[batch]`, tokens drawn `[batch]`: below 0 where a sequence has
    /// left.
    pub(super) counters: Buffer<i32>,
    pub(super) sampling: Buffer<DeviceSampling>,
    /// `[batch]`: the last token of each sequence.
    pub(super) tokens: Buffer<i32>,
    pub(super) flags: Buffer<u32>,
    /// Before and behind each layer's compression, where somebody measures it.
    pub(super) compressions: Option<Vec<[Mark; 2]>>,
}

/// What prefill of one prompt after the other works in.
#[derive(Debug)]
pub(super) struct PromptMemory<T: HalfPrecision> {
    /// `[max_seqlen, hidden]`: the residual stream.
    pub(super) stream: Buffer<T>,
    /// `[max_seqlen, 2, num_heads_kv, head_dim]`: one layer's uncompressed keys and values.
    pub(super) kv: Buffer<T>,
    /// `[q_rows, num_heads_q, head_dim]`
    pub(super) q: Buffer<T>,
    /// `[num_heads_q, q_rows]`
    pub(super) lse: Buffer<f32>,
    pub(super) activations: Activations<T>,
    pub(super) scores: Buffer<f32>,
    pub(super) score_workspace: Buffer<u8>,
}

/// One layer's compressed keys and values, `[batch, capacity, num_heads_kv, head_dim]` each.
#[derive(Debug)]
pub(super) struct Cache<T: HalfPrecision> {
    pub(super) k: Buffer<T>,
    pub(super) v: Buffer<T>,
}

impl<T: HalfPrecision> Cache<T> {
    pub(super) fn all(&mut self) -> CacheMut<'_, T> {
        CacheMut {
            k: self.k.view_mut(),
            v: self.v.view_mut(),
        }
    }
}

/// What a decode step works in: a row for each sequence.
#[derive(Debug)]
pub(super) struct RowMemory<T: HalfPrecision> {
    /// `[batch, hidden]`: the residual stream.
    pub(super) stream: Buffer<T>,
    /// `[batch, qkv]`
    pub(super) qkv: Buffer<T>,
    pub(super) activations: Activations<T>,
    /// `[batch, vocab]`
    pub(super) logits: Buffer<f32>,
    /// Zeros, as decode asks for.
    pub(super) workspace: Buffer<u8>,
}

impl<'m, T: HalfPrecision> Batch<'m, T> {
    /// Makes room for the prompts and copies them to the device.
    ///
    /// # Errors
    /// An empty prompt, ids over the vocabulary, a method that does not fit the model or the device, a device without
    /// room.
    pub fn new(
        model: &'m DeviceModel<T>,
        prompts: &[Prompt<'_>],
        prefill_chunk: usize,
    ) -> Result<Self> {
        const STEP: &str = "making room for the batch";
        let (device, sizes) = (&model.device, &model.sizes);
        for (index, prompt) in prompts.iter().enumerate() {
            check_ids(prompt.ids, index, sizes.vocab)?;
        }
        let shapes: Vec<_> = prompts
            .iter()
            .map(|prompt| PromptShape {
                seqlen: prompt.ids.len(),
                method: prompt.method,
                new_tokens: prompt.new_tokens,
            })
            .collect();
        let lengths = Lengths::new(device, sizes, &shapes, prefill_chunk)?;
        let batch = lengths.batch();
        let choices = lengths
            .sequences
            .iter()
            .map(|plan| Choices::new(device, plan));
        let choices = choices.collect::<Result<_>>()?;
        let ids: Vec<i32> = prompts
            .iter()
            .flat_map(|prompt| prompt.ids.iter().map(|&id| id as i32))
            .collect();
        let positions: Vec<i32> = (0..lengths.max_seqlen as i32).collect();
        let mut counters = vec![0; lengths.counters(sizes)];
        for (index, prompt) in prompts.iter().enumerate() {
            counters[sizes.num_layers * batch + index] = prompt.ids.len() as i32;
        }
        let sampling: Vec<_> = prompts
            .iter()
            .map(|prompt| on_device(prompt.sampling))
            .collect();
        let prompt = PromptMemory {
            stream: device
                .poisoned(lengths.max_seqlen * sizes.hidden)
                .at(STEP)?,
            kv: device
                .poisoned(lengths.max_seqlen * 2 * sizes.kv())
                .at(STEP)?,
            q: device.poisoned(lengths.q_rows * sizes.q()).at(STEP)?,
            lse: device
                .poisoned(lengths.q_rows * sizes.num_heads_q)
                .at(STEP)?,
            activations: Activations::new(model, lengths.chunk).at(STEP)?,
            scores: device.poisoned(lengths.scores).at(STEP)?,
            score_workspace: device.poisoned(lengths.score_workspace).at(STEP)?,
        };
        let caches = lengths.capacities.iter().map(|&capacity| {
            let elements = batch * capacity * sizes.kv();
            Ok(Cache {
                k: device.poisoned(elements).at(STEP)?,
                v: device.poisoned(elements).at(STEP)?,
            })
        });
        let caches = caches.collect::<Result<_>>()?;
        let rows = RowMemory {
            stream: device.poisoned(batch * sizes.hidden).at(STEP)?,
            qkv: device.poisoned(batch * sizes.qkv()).at(STEP)?,
            activations: Activations::new(model, batch).at(STEP)?,
            logits: device.poisoned(batch * sizes.vocab).at(STEP)?,
            workspace: device.zeroed(lengths.decode_workspace).at(STEP)?,
        };
        Ok(Self {
            #[cfg(feature = "cuda")]
            graph: super::graph::StepGraph::default(),
            model,
            choices,
            ids: device.upload(&ids).at(STEP)?,
            positions: device.upload(&positions).at(STEP)?,
            prompt,
            caches,
            rows,
            counters: device.upload(&counters).at(STEP)?,
            sampling: device.upload(&sampling).at(STEP)?,
            tokens: device.zeroed(batch).at(STEP)?,
            flags: device.zeroed(1).at(STEP)?,
            compressions: None,
            lengths,
        })
    }

    /// Reads back the last token of each sequence, and whether kernels met what cannot be. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceNumbers`], [`Error::Device`].
    pub fn tokens(&self) -> Result<Vec<u32>> {
        self.check("the forward pass")?;
        let tokens = self.tokens.download().at("reading back tokens")?;
        Ok(tokens.into_iter().map(|id| id.max(0) as u32).collect())
    }

    /// Reads back the logits of each sequence's last token, `[batch, vocab]`. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn logits(&self) -> Result<Vec<f32>> {
        self.rows.logits.download().at("reading back logits")
    }

    /// Goes on with other tokens than those that were chosen, one for each sequence.
    ///
    /// # Errors
    /// Another number of tokens, ids over the vocabulary, [`Error::Device`].
    pub fn set_tokens(&mut self, ids: &[u32]) -> Result<()> {
        check_ids(ids, 0, self.model.sizes.vocab)?;
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        self.tokens.write(&ids).at("copying tokens to the device")
    }

    /// Reads back what each layer of a sequence kept. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Device`].
    ///
    /// # Panics
    /// When there is no such sequence.
    pub fn selections(&self, sequence: usize) -> Result<Vec<Selection<f32>>> {
        self.choices[sequence].read_back(&self.lengths.sequences[sequence])
    }

    /// Lets a sequence leave: later steps leave its cache alone, and the others go on as they are.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn leave(&mut self, sequence: usize) -> Result<()> {
        const STEP: &str = "letting a sequence leave the batch";
        let batch = self.lengths.batch();
        for row in 0..self.model.sizes.num_layers + 2 {
            self.counters
                .write_at(row * batch + sequence, &[-1])
                .at(STEP)?;
        }
        Ok(())
    }

    /// Norms rows `rows` of `stream`, the residual stream, and leaves their logits and next tokens at sequence `first`
    /// and those behind it.
    pub(super) fn head(
        &mut self,
        of_prompt: Option<usize>,
        first: usize,
        count: usize,
    ) -> DeviceResult<()> {
        let (model, sizes) = (self.model, self.model.sizes);
        let (stream, row) = match of_prompt {
            Some(row) => (&self.prompt.stream, row),
            None => (&self.rows.stream, 0),
        };
        let hidden = sizes.hidden;
        let x = Matrix::strided(stream.view(), count, hidden, hidden, row * hidden)?;
        let normed = &mut self.rows.activations.normed;
        let out = MatrixMut::new(normed.view_mut(), count, hidden)?;
        model.norm(x, &model.weights.norm, out)?;
        let x = Matrix::new(normed.view(), count, hidden)?;
        let (vocab, offset) = (sizes.vocab, first * sizes.vocab);
        let logits = &mut self.rows.logits;
        let y = MatrixMut::strided(logits.view_mut(), count, vocab, vocab, offset)?;
        model.logits(x, y)?;
        let of_rows = first..first + count;
        let drawn = (sizes.num_layers + 1) * self.lengths.batch();
        let steps = self
            .counters
            .view()
            .range(drawn + first..drawn + first + count);
        let sampling = self.sampling.view().range(of_rows.clone());
        let params = ops::SampleParams {
            logits: Matrix::strided(logits.view(), count, vocab, vocab, offset)?,
            sampling: Some((sampling?, steps?)),
            tokens: self.tokens.view_mut().range(of_rows)?,
            flags: Some(self.flags.view_mut()),
        };
        ops::sample(&model.device, params)
    }

    fn check(&self, step: &str) -> Result<()> {
        let flags = Flags::from_bits(self.flags.download().at(step)?[0]);
        let found = match flags {
            flags if flags.contains(Flags::NAN) => "NaN in scores or logits",
            flags if flags.contains(Flags::RANGE) => "a length or index outside its range",
            flags if flags.contains(Flags::CAPACITY) => "a cache without room for another token",
            _ => return Ok(()),
        };
        Err(Error::DeviceNumbers {
            step: step.to_owned(),
            found,
        })
    }
}

fn check_ids(ids: &[u32], prompt: usize, vocab_size: usize) -> Result<()> {
    if ids.is_empty() {
        return Err(Error::EmptyPrompt);
    }
    match ids.iter().find(|&&id| id as usize >= vocab_size) {
        Some(&id) => Err(Error::TokenId {
            id: id.into(),
            origin: format!("prompt {prompt} of the batch"),
            vocab_size,
        }),
        None => Ok(()),
    }
}

fn on_device(sampling: Sampling) -> DeviceSampling {
    DeviceSampling {
        seed: sampling.seed,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: i32::try_from(sampling.top_k).unwrap_or(i32::MAX),
        ..DeviceSampling::default()
    }
}
