//! Running a model on a device, in bf16 or f16: the GPU's kernels, on an emulated GPU on machines without one.
//!
//! ```text
//! DeviceModel    weights in device memory: q, k, v fused, gate and up fused, narrow heads filled up with zeros
//! DevicePlan     bytes of a run, from the numbers that memory is then made with
//! Batch          all memory of a batch of prompts
//!   prefill      prompt after prompt, layer by layer, chunk by chunk; scores, selects, gathers on the device
//!   step         one token of every sequence, at any number of cached tokens the same calls
//! generate_batch text
//! ```
//!
//! The host learns what was kept once, after prefill, and one token a sequence after each step. In between nothing is
//! copied, allocated or waited for: [`windowkv_kernels::Trace`] counts it, and tests hold it to 9 launches a layer in a
//! decode step. The residual stream is kept in the half-precision type; products add to it in float32 and round once.
//! A sequence gets the same bits alone and in any batch: each row of a product is summed in an order of its own.

mod batch;
mod choice;
mod decode;
mod generate;
#[cfg(feature = "cuda")]
mod graph;
mod layer;
mod measure;
mod model;
mod open;
mod plan;
mod prefill;
mod random;
mod sizes;
mod step;
mod weights;

pub use batch::{Batch, Prompt};
pub use generate::{DEFAULT_PREFILL_CHUNK, generate_batch};
pub use measure::{Load, Measurement, measure};
pub use model::DeviceModel;
pub use open::{gpu_is_there, open_gpu};
pub use plan::{DevicePlan, PromptShape, free_memory};
pub use sizes::Sizes;
