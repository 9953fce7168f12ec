//! How much memory a run takes: predicted, and as the system saw it.

use windowkv_ref::methods::Method;
use windowkv_ref::policy::ModelShape;

use crate::Result;
use crate::config::ModelConfig;

/// Prompt rows that go through the dense layers at a time: bounds the activations of the MLP.
pub(super) const PREFILL_ROWS: usize = 1024;

/// Bytes of an f32, the type of activations and of the cache on the CPU.
pub(super) const BYTES: u64 = 4;

/// Memory of one request, by purpose, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// The program itself: code, runtime, thread stacks, and buffers of the GEMM crate.
    pub program: u64,
    /// The tokenizer.
    pub tokenizer: u64,
    /// The weights, mapped, as the file has them.
    pub weights: u64,
    /// The compressed cache with room for the new tokens.
    pub kv_cache: u64,
    /// Activations of prefill, with one layer's uncompressed K/V.
    pub activations: u64,
}

impl MemoryPlan {
    /// Predicts a run of `seqlen` prompt tokens and `new_tokens` more. `weights` and `tokenizer_file` in bytes.
    ///
    /// # Errors
    /// When the method does not fit the model.
    pub fn new(
        config: &ModelConfig,
        weights: u64,
        tokenizer_file: u64,
        method: &dyn Method<f32>,
        seqlen: usize,
        new_tokens: usize,
    ) -> Result<Self> {
        let shape = ModelShape {
            num_layers: config.num_layers,
            num_heads_q: config.num_heads_q,
            num_heads_kv: config.num_heads_kv,
            head_dim: config.head_dim,
        };
        let selector = method.start(shape, seqlen)?;
        let cached = |layer| {
            let tokens = selector.max_kept(layer) as u64 + new_tokens as u64;
            2 * selector.cache_heads(layer) as u64 * tokens * config.head_dim as u64
        };
        let kv_cache = BYTES * (0..config.num_layers).map(cached).sum::<u64>();

        let (n, rows) = (seqlen as u64, seqlen.min(PREFILL_ROWS) as u64);
        let (hidden, inner) = (config.hidden_size as u64, config.intermediate_size as u64);
        let (q, kv) = (config.q_size() as u64, config.kv_size() as u64);
        let whole_prompt =
            hidden + 2 * q + 2 * kv + config.head_dim as u64 + config.num_heads_q as u64;
        let activations = BYTES * (n * whole_prompt + rows * (hidden + 2 * inner));
        Ok(Self {
            program: PROGRAM,
            tokenizer: TOKENIZER_FACTOR * tokenizer_file,
            weights,
            kv_cache,
            activations,
        })
    }

    /// Everything together: the peak of the run.
    pub fn total(&self) -> u64 {
        self.program + self.tokenizer + self.weights + self.kv_cache + self.activations
    }
}

/// Measured with a model of no size; grows with neither the model nor the prompt.
const PROGRAM: u64 = 16 << 20;
/// Memory of a loaded tokenizer by the size of its file.
const TOKENIZER_FACTOR: u64 = 8;

/// The most memory that this process has had so far, in bytes, where the system tells (Linux).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
