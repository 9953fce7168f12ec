//! How fast a device reads prompts and decodes, and what it takes.

use std::time::Instant;

use serde::Serialize;
use windowkv_kernels::HalfPrecision;
use windowkv_ref::methods::Method;

use super::batch::{Batch, Prompt};
use super::model::DeviceModel;
use super::step::Step;
use crate::Result;
use crate::runner::Sampling;

/// What is measured: a batch of equal prompts.
pub struct Load<'a> {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each prompt.
    pub prompt_tokens: usize,
    /// Steps that are timed; one more is run before.
    pub steps: usize,
    /// How caches are compressed.
    pub method: &'a dyn Method<f32>,
    /// Tokens of a chunk.
    pub prefill_chunk: usize,
}

/// What was measured. Times are on the wall clock, with the device waited for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// The method.
    pub method: &'static str,
    /// Sequences.
    pub batch: usize,
    /// Tokens of each prompt.
    pub prompt_tokens: usize,
    /// Tokens of all prompts over the time to the first new tokens.
    pub prefill_tokens_per_second: f64,
    /// From the ids on the device to the first new token of every sequence, in seconds.
    pub time_to_first_token: f64,
    /// The part of that time that the device spent on scoring, selecting and gathering.
    pub compression_share: f64,
    /// The median step, in seconds: one token of every sequence.
    pub step_seconds: f64,
    /// `batch` over the median step.
    pub decode_tokens_per_second: f64,
    /// Bytes of the prompts' compressed keys and values.
    pub kv_bytes: u64,
    /// The most bytes of device memory that were in use, weights included.
    pub peak_bytes: u64,
    /// Launches of a decode step.
    pub step_launches: u64,
    /// Bytes that a step has to read at least: every weight, but biases and the rows of the embedding, and the caches.
    pub step_bytes: u64,
}

/// Runs a load once, with tokens that depend on nothing but its sizes.
///
/// # Errors
/// A method that does not fit, a device without room, and what running gives.
pub fn measure<T: HalfPrecision>(model: &DeviceModel<T>, load: &Load<'_>) -> Result<Measurement> {
    let (device, sizes) = (&model.device, &model.sizes);
    let steps = load.steps.max(1);
    let ids: Vec<Vec<u32>> = (0..load.batch)
        .map(|sequence| token_ids(sequence, load.prompt_tokens, sizes.vocab))
        .collect();
    let prompts: Vec<_> = ids
        .iter()
        .map(|ids| Prompt {
            ids,
            method: load.method,
            // The first token comes from prefill, one step is run before the timed ones.
            new_tokens: steps + 2,
            sampling: Sampling::default(),
        })
        .collect();
    device.forget_peak();
    let mut batch = Batch::new(model, &prompts, load.prefill_chunk)?;
    batch.compressions = Some(Vec::new());
    let start = Instant::now();
    batch.prefill(&mut |_| ())?;
    batch.tokens()?;
    let time_to_first_token = start.elapsed().as_secs_f64();
    let mut compression = 0.0;
    for [before, behind] in batch.compressions.take().unwrap_or_default() {
        let took = before.until(&behind).at("timing compression")?;
        compression += took.as_secs_f64();
    }
    let mut kv_bytes = 0;
    for sequence in 0..load.batch {
        for selection in batch.selections(sequence)? {
            let heads = selection.kept.cache_heads(sizes.num_heads_kv);
            let tokens = selection.kept.len(load.prompt_tokens);
            kv_bytes += (2 * 2 * heads * tokens * sizes.head_dim) as u64;
        }
    }
    let before = device.trace();
    batch.step()?;
    batch.tokens()?;
    let step_launches = device.trace().since(&before).total_launches();
    let mut times = Vec::with_capacity(steps);
    for _ in 0..steps {
        let start = Instant::now();
        batch.step()?;
        batch.tokens()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let step_seconds = times[times.len() / 2];
    Ok(Measurement {
        method: load.method.kind().title(),
        batch: load.batch,
        prompt_tokens: load.prompt_tokens,
        prefill_tokens_per_second: (load.batch * load.prompt_tokens) as f64 / time_to_first_token,
        time_to_first_token,
        compression_share: compression / time_to_first_token,
        step_seconds,
        decode_tokens_per_second: load.batch as f64 / step_seconds,
        kv_bytes,
        peak_bytes: device.trace().peak_bytes,
        step_launches,
        step_bytes: 2 * sizes.weight_elements(true) + kv_bytes,
    })
}

/// Ids that wander through the vocabulary: a linear congruential generator's upper bits.
fn token_ids(sequence: usize, len: usize, vocab: usize) -> Vec<u32> {
    let mut state = sequence as u64 + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % vocab as u64) as u32
    };
    (0..len).map(|_| next()).collect()
}
