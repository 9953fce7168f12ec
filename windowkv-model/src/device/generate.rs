//! From prompts to text on a device.

use std::time::Instant;

use windowkv_kernels::HalfPrecision;

use super::batch::{Batch, Prompt};
use super::model::DeviceModel;
use super::plan::{DevicePlan, PromptShape, free_memory};
use crate::runner::{Answer, Generation, Model, Request, Sampler};
use crate::{Error, Result};

/// Rows of a prompt that go through a layer at a time, unless somebody asks for another number.
pub const DEFAULT_PREFILL_CHUNK: usize = 2048;

/// Bytes of one number of a key or value on a device.
const NUMBER_BYTES: u64 = 2;

/// Answers requests in one batch on the device that holds `on_device`, the weights of `model`; each prompt goes through
/// a layer in chunks of `prefill_chunk` tokens. A sequence that ends leaves the batch, and the others go on.
///
/// `progress` is told the share of prefill that is done; `on_text` gets the index of the request and a piece of its
/// answer. Decode times are those of the whole batch, prefill times those of all prompts.
///
/// # Errors
/// A request that does not fit the model or the device, [`Error::DeviceMemory`] before anything runs, and
/// [`Error::Device`] with the step that failed.
pub fn generate_batch<T: HalfPrecision>(
    model: &Model,
    on_device: &DeviceModel<T>,
    requests: &[Request<'_>],
    prefill_chunk: usize,
    progress: &mut dyn FnMut(f64),
    on_text: &mut dyn FnMut(usize, &str),
) -> Result<Vec<Generation>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    for request in requests {
        check(model, request)?;
    }
    let shapes: Vec<_> = requests
        .iter()
        .map(|request| PromptShape {
            seqlen: request.ids.len(),
            method: request.method,
            new_tokens: request.max_new_tokens,
        })
        .collect();
    let device = &on_device.device;
    let plan = DevicePlan::new(device, model.llama.config(), &shapes, prefill_chunk)?;
    // The weights are there already.
    DevicePlan { weights: 0, ..plan }.check(free_memory(device))?;

    let prompts: Vec<_> = requests
        .iter()
        .map(|request| Prompt {
            ids: request.ids,
            method: request.method,
            new_tokens: request.max_new_tokens,
            sampling: request.sampling,
        })
        .collect();
    let start = Instant::now();
    let mut batch = Batch::new(on_device, &prompts, prefill_chunk)?;
    batch.prefill(progress)?;
    let mut tokens = batch.tokens()?;
    let mut answers = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        let selections = batch.selections(index)?;
        let head_dim = on_device.sizes.head_dim;
        let answer = Answer::new(model, request, index, &selections, head_dim, NUMBER_BYTES);
        answers.push(answer);
    }
    for (index, answer) in answers.iter_mut().enumerate() {
        if answer.finish.is_none() {
            answer.take(model, tokens[index], on_text)?;
        }
        if answer.finish.is_some() {
            batch.leave(index)?;
        }
        answer.prefilled(start);
    }
    let start = Instant::now();
    while answers.iter().any(|answer| answer.finish.is_none()) {
        batch.step()?;
        tokens = batch.tokens()?;
        for (index, answer) in answers.iter_mut().enumerate() {
            if answer.finish.is_some() {
                continue;
            }
            answer.take(model, tokens[index], on_text)?;
            answer.timing.decode_seconds = start.elapsed().as_secs_f64();
            if answer.finish.is_some() {
                batch.leave(index)?;
            }
        }
    }
    answers
        .into_iter()
        .map(|answer| answer.end(on_text))
        .collect()
}

/// Whether the model's context holds the request, and its sampling is one.
fn check(model: &Model, request: &Request<'_>) -> Result<()> {
    Sampler::new(request.sampling)?;
    let limit = model.llama.config().max_position_embeddings;
    if request.ids.len().saturating_add(request.max_new_tokens) > limit {
        return Err(Error::ContextTooSmall {
            prompt_tokens: request.ids.len(),
            max_new_tokens: request.max_new_tokens,
            limit,
        });
    }
    Ok(())
}
