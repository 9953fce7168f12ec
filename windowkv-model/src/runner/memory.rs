//! How much memory a run takes: predicted, and as the system saw it.

use windowkv_ref::attention::scratch_elements;
use windowkv_ref::methods::Method;

use super::linear::PANEL_ELEMENTS;
use super::model::Model;
use crate::config::ModelConfig;
use crate::{Error, Result};

/// Prompt rows that go through the dense layers at a time: bounds the activations of the MLP.
pub(super) const PREFILL_ROWS: usize = 1024;

/// Bytes of an f32, the type of activations and of the cache on the CPU.
pub(super) const BYTES: u64 = 4;

/// Memory of one request, by purpose, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// The program itself: code that is used, runtime, thread stacks.
    pub program: u64,
    /// The tokenizer, and the prompt's text on its way to ids.
    pub tokenizer: u64,
    /// The weights, mapped, as the file has them, as far as they are read.
    pub weights: u64,
    /// The compressed cache with room for the new tokens.
    pub kv_cache: u64,
    /// Activations of prefill, with one layer's uncompressed K/V.
    pub activations: u64,
    /// Working memory of the threads: tiles of attention, packed and widened weights.
    pub scratch: u64,
}

impl MemoryPlan {
    /// Predicts a run of `seqlen` prompt tokens and `new_tokens` more on the threads of the current pool.
    /// `weights` and `tokenizer_file` in bytes.
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
        let selector = method.start(config.shape(), seqlen)?;
        let cached = |layer| {
            let tokens = selector.max_kept(layer) as u64 + new_tokens as u64;
            2 * selector.cache_heads(layer) as u64 * tokens * config.head_dim as u64
        };
        let kv_cache = BYTES * (0..config.num_layers).map(cached).sum::<u64>();

        let (n, rows) = (seqlen as u64, seqlen.min(PREFILL_ROWS) as u64);
        let (hidden, inner) = (config.hidden_size as u64, config.intermediate_size as u64);
        let (q, kv) = (config.q_size() as u64, config.kv_size() as u64);
        // The residual stream, q and attention's output, k and v, cosines and sines, the log-sum-exp.
        let whole_prompt =
            hidden + 2 * q + 2 * kv + config.head_dim as u64 + config.num_heads_q as u64;
        let activations = BYTES * (n * whole_prompt + rows * (hidden + 2 * inner));
        Ok(Self {
            program: PROGRAM,
            tokenizer: TOKENIZER_FACTOR * tokenizer_file + TEXT_BYTES * n,
            weights: weights - untouched_embedding(config, weights, n + new_tokens as u64),
            kv_cache,
            activations,
            scratch: scratch(config, weights),
        })
    }

    /// Everything together: the peak of the run.
    pub fn total(&self) -> u64 {
        self.program
            + self.tokenizer
            + self.weights
            + self.kv_cache
            + self.activations
            + self.scratch
    }
}

/// Refuses a run that would not fit the memory, before anything is computed: one prompt of `seqlen` tokens, answered
/// with each method in up to `new_tokens` more, all caches at the same time.
///
/// # Errors
/// [`Error::Memory`], and methods that do not fit the model.
pub fn check_memory(
    model: &Model,
    methods: &[&dyn Method<f32>],
    seqlen: usize,
    new_tokens: usize,
) -> Result<()> {
    let weights = model.llama.weights().total_bytes();
    let mut needed = 0;
    for (index, &method) in methods.iter().enumerate() {
        let plan = MemoryPlan::new(
            model.llama.config(),
            weights,
            model.tokenizer_bytes,
            method,
            seqlen,
            new_tokens,
        )?;
        // The system drops mapped weights when it must, and reads them again.
        needed += match index {
            0 => plan.total() - plan.weights,
            _ => plan.kv_cache,
        };
    }
    match available_memory() {
        Some(available) if needed > available => Err(Error::Memory { needed, available }),
        _ => Ok(()),
    }
}

/// Measured on x86-64 Linux with a prompt of one token and the embedded demo model, less its weights; grows
/// with neither the model nor the prompt.
const PROGRAM: u64 = 19 << 19;
/// Memory of a loaded tokenizer by the size of its file: hash maps of strings in both directions. Measured
/// 11 for byte-level BPE with its merges, 15 to 19 for a plain list of words.
const TOKENIZER_FACTOR: u64 = 12;
/// Text, its alignments and the encoding, for each token of a prompt of ordinary words.
const TEXT_BYTES: u64 = 200;
/// Linux maps this much of a file around the first touch of a page ("fault-around").
const MAPPED_AT_ONCE: f64 = 65_536.0;
/// Rows of a weight's transpose that the GEMM crate packs at a time.
const PACKED_ROWS: u64 = 512;
/// Stack, allocator and the GEMM crate's second-level tile of one thread.
const THREAD_BYTES: u64 = 1 << 18;

/// Bytes of the embedding that no token reads, when every other token is one that was not seen before and those
/// are spread evenly over the vocabulary: between ordinary text, which repeats itself, and random ids. A tied
/// embedding is read as a whole for the logits.
fn untouched_embedding(config: &ModelConfig, weights: u64, tokens: u64) -> u64 {
    if config.tie_word_embeddings {
        return 0;
    }
    let elements = (config.vocab_size * config.hidden_size) as u64;
    let bytes = (parameter_bytes(config, weights) * elements) as f64;
    let pieces = (bytes / MAPPED_AT_ONCE).max(1.0);
    let missed_by_one = 1.0 - 1.0 / pieces;
    (bytes * missed_by_one.powf(tokens as f64 / 2.0)) as u64
}

/// Bytes of one weight: those of norms and biases, which are kept in f32 besides, are too few to count.
fn parameter_bytes(config: &ModelConfig, weights: u64) -> u64 {
    (weights / config.parameters().max(1)).clamp(2, BYTES)
}

fn scratch(config: &ModelConfig, weights: u64) -> u64 {
    let (hidden, inner) = (config.hidden_size as u64, config.intermediate_size as u64);
    let wide = hidden.max(inner).max(config.q_size() as u64);
    let packed = BYTES * PACKED_ROWS.min(hidden) * wide;
    let widened = if parameter_bytes(config, weights) < BYTES {
        BYTES * (hidden * wide).min(PANEL_ELEMENTS as u64)
    } else {
        0
    };
    let group = config.queries_per_kv();
    let tile = BYTES * scratch_elements(group, config.head_dim) as u64;
    packed + widened + rayon::current_num_threads() as u64 * (tile + THREAD_BYTES)
}

/// The most memory that this process has had so far, in bytes, where the system tells (Linux).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The memory that this process can still take without others being pushed out, in bytes, where the system
/// tells (Linux).
pub fn available_memory() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
