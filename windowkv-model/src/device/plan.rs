//! Device memory, planned before any of it is used. What is allocated is made from the same numbers.

use half::bf16;
use windowkv_kernels::{CacheLayout, Device, Sampling, Shape, ops};
use windowkv_ref::methods::Method;

use super::choice::SequencePlan;
use super::sizes::Sizes;
use super::step::Step;
use super::weights::weight_bytes;
use crate::config::ModelConfig;
use crate::runner::available_memory;
use crate::{Error, Result};

/// A prompt as far as memory depends on it.
pub struct PromptShape<'a> {
    /// Tokens of the prompt.
    pub seqlen: usize,
    /// How its cache is compressed.
    pub method: &'a dyn Method<f32>,
    /// New tokens at most.
    pub new_tokens: usize,
}

/// Bytes on the device, by purpose. Both half-precision types take as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct DevicePlan {
    /// All weights.
    pub weights: u64,
    /// The compressed caches of all sequences with room for the new tokens.
    pub kv_cache: u64,
    /// The residual stream of the longest prompt and one layer's uncompressed keys and values.
    pub prompt: u64,
    /// What a chunk of a prompt is worked through in, with cuBLASLt's workspace on a GPU.
    pub chunk: u64,
    /// Scores, what is kept, and the kernels' workspaces.
    pub selection: u64,
    /// Rows of new tokens, logits, lengths.
    pub decode: u64,
}

impl DevicePlan {
    /// What a batch of such prompts takes, worked through in chunks of `prefill_chunk` tokens.
    ///
    /// # Errors
    /// A model or request that the device cannot run.
    pub fn new(
        device: &Device,
        config: &ModelConfig,
        prompts: &[PromptShape<'_>],
        prefill_chunk: usize,
    ) -> Result<Self> {
        let sizes = Sizes::new(config)?;
        let lengths = Lengths::new(device, &sizes, prompts, prefill_chunk)?;
        let mut plan = lengths.bytes(&sizes);
        // The table of the rotary embedding and the word of flags belong to the model.
        plan.weights = weight_bytes(config, &sizes) + (sizes.head_dim / 2 * 8 + 4) as u64;
        plan.chunk += windowkv_kernels::matmul::workspace_bytes(device);
        Ok(plan)
    }

    /// Everything together.
    pub fn total(&self) -> u64 {
        self.weights + self.kv_cache + self.prompt + self.chunk + self.selection + self.decode
    }

    /// Refuses what does not fit the memory that the device has free.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`].
    pub fn check(&self, available: Option<u64>) -> Result<()> {
        match available {
            Some(available) if self.total() > available => Err(Error::DeviceMemory {
                needed: self.total(),
                available,
                plan: self.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for DevicePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "weights {}, KV cache {}, prompt {}, chunk {}, selection {}, decode {}",
            self.weights, self.kv_cache, self.prompt, self.chunk, self.selection, self.decode
        )
    }
}

/// Bytes that a device has free, where it tells: the emulated GPU's memory is the host's, unless it was given less.
pub fn free_memory(device: &Device) -> Option<u64> {
    let of_host = || match device.name() {
        "emulated" => available_memory(),
        _ => None,
    };
    device.free_memory().or_else(of_host)
}

/// Elements of everything that one batch takes.
#[derive(Debug)]
pub(super) struct Lengths {
    pub(super) sequences: Vec<SequencePlan>,
    /// Tokens of all prompts.
    pub(super) ids: usize,
    /// Tokens of the longest prompt.
    pub(super) max_seqlen: usize,
    /// Tokens of a chunk at most.
    pub(super) chunk: usize,
    /// Query rows that are alive at a time.
    pub(super) q_rows: usize,
    /// Tokens that a cache has room for, by layer.
    pub(super) capacities: Vec<usize>,
    pub(super) scores: usize,
    pub(super) score_workspace: usize,
    pub(super) decode_workspace: usize,
}

impl Lengths {
    pub(super) fn new(
        device: &Device,
        sizes: &Sizes,
        prompts: &[PromptShape<'_>],
        prefill_chunk: usize,
    ) -> Result<Self> {
        let model = windowkv_ref::policy::ModelShape {
            num_layers: sizes.num_layers,
            num_heads_q: sizes.num_heads_q,
            num_heads_kv: sizes.num_heads_kv,
            head_dim: sizes.model_head_dim,
        };
        let max_seqlen = prompts
            .iter()
            .map(|prompt| prompt.seqlen)
            .max()
            .unwrap_or(0);
        let chunk = prefill_chunk.clamp(1, max_seqlen.max(1));
        let mut lengths = Self {
            sequences: Vec::with_capacity(prompts.len()),
            ids: prompts.iter().map(|prompt| prompt.seqlen).sum(),
            max_seqlen,
            chunk,
            q_rows: chunk,
            capacities: vec![0; sizes.num_layers],
            scores: 0,
            score_workspace: 0,
            decode_workspace: 0,
        };
        for prompt in prompts {
            let selector = prompt.method.start(model, prompt.seqlen)?;
            let kind = prompt.method.kind();
            let (layers, heads) = (sizes.num_layers, sizes.num_heads_kv);
            let plan = SequencePlan::new(kind, &*selector, layers, heads, prompt.seqlen)?;
            for layer in 0..layers {
                let tokens = plan.layers[layer].max_kept + prompt.new_tokens;
                lengths.capacities[layer] = lengths.capacities[layer].max(tokens);
                lengths.scores = lengths.scores.max(plan.score_elements(layer));
                let observed = plan.observed_rows(layer);
                lengths.q_rows = lengths.q_rows.max(observed);
                if observed > 0 {
                    let q = Shape::new([1, observed, sizes.num_heads_q, sizes.head_dim]);
                    let k = Shape::new([1, prompt.seqlen, heads, sizes.head_dim]);
                    let bytes = ops::score_workspace_size_of_shapes::<bf16>(device, q, k)
                        .at("planning the scores")?;
                    lengths.score_workspace = lengths.score_workspace.max(bytes);
                }
            }
            lengths.sequences.push(plan);
        }
        let batch = prompts.len();
        let q = Shape::new([batch, 1, sizes.num_heads_q, sizes.head_dim]);
        for &capacity in &lengths.capacities {
            let layout = cache_layout(sizes, batch, capacity);
            let bytes = ops::decode_workspace_size::<bf16>(device, q, &layout)
                .at("planning the decode step")?;
            lengths.decode_workspace = lengths.decode_workspace.max(bytes);
        }
        Ok(lengths)
    }

    pub(super) fn batch(&self) -> usize {
        self.sequences.len()
    }

    /// Numbers of a batch that count up: cache lengths by layer, positions, steps.
    pub(super) fn counters(&self, sizes: &Sizes) -> usize {
        (sizes.num_layers + 2) * self.batch()
    }

    fn bytes(&self, sizes: &Sizes) -> DevicePlan {
        let batch = self.batch();
        let cached: usize = self.capacities.iter().sum();
        let bytes = |halves: usize, words: usize| (2 * halves + 4 * words) as u64;
        let choices: u64 = self.sequences.iter().map(SequencePlan::bytes).sum();
        DevicePlan {
            weights: 0,
            kv_cache: bytes(2 * batch * cached * sizes.kv(), 0),
            prompt: bytes(
                self.max_seqlen * (sizes.hidden + 2 * sizes.kv()),
                self.ids + self.max_seqlen,
            ),
            chunk: bytes(
                self.chunk * (sizes.hidden + sizes.q() + 3 * sizes.inner) + self.q_rows * sizes.q(),
                self.q_rows * sizes.num_heads_q,
            ),
            selection: bytes(0, self.scores) + self.score_workspace as u64 + choices,
            decode: bytes(
                batch * (2 * sizes.hidden + sizes.qkv() + sizes.q() + 3 * sizes.inner),
                batch * (sizes.vocab + 1) + self.counters(sizes),
            ) + (batch * size_of::<Sampling>() + self.decode_workspace) as u64,
        }
    }
}

/// `[batch, capacity, num_heads_kv, head_dim]` without gaps.
pub(super) fn cache_layout(sizes: &Sizes, batch: usize, capacity: usize) -> CacheLayout<'static> {
    let shape = [batch, capacity, sizes.num_heads_kv, sizes.head_dim];
    CacheLayout::contiguous(shape, CacheLayout::tokens_outermost(shape))
}
