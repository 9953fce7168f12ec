//! Running a model: prefill, compression, decode, on the CPU in float32.
//!
//! ```text
//! Model (folder or embedded) -> Llama (config, weights)
//!   generate: prefill -> KvCache, compressed layer by layer -> decode step by step -> text
//! ```

mod generate;
mod kv_cache;
mod linear;
mod llama;
mod memory;
mod model;
mod sampling;
mod stop;
mod visit;

pub(crate) use generate::Answer;
pub use generate::{
    Finish, Generation, GroupReport, KvReport, Request, Timing, generate, generate_batch,
    generate_each,
};
pub use kv_cache::{KvCache, LayerCache};
pub use llama::{Llama, Prefilled};
pub use memory::{MemoryPlan, available_memory, check_memory, peak_memory};
pub use model::Model;
pub(crate) use model::preset;
pub use sampling::{Sampler, Sampling};
pub use visit::LayerVisitor;
