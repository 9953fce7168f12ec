//! What a layer needs beside matrix products and attention (`cuda/layer`).

mod embedding;
mod rms_norm;
mod rope;
mod sample;
mod silu_mul;

pub use embedding::{EmbeddingParams, embedding};
pub use rms_norm::{Residual, RmsNormParams, rms_norm};
pub use rope::{Llama3Scaling, RopeParams, rope, rope_turns};
pub use sample::{SampleParams, sample};
pub use silu_mul::{SiluMulParams, silu_mul};
