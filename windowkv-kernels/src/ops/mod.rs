//! The kernels, one module a family.

mod gather;
mod layer;
mod samples;
mod score;
mod select;

pub use gather::{CompactParams, GatherLayer, GatherParams, KeptWindows, compact, gather};
pub use layer::{
    EmbeddingParams, Llama3Scaling, Residual, RmsNormParams, RopeParams, SampleParams,
    SiluMulParams, embedding, rms_norm, rope, rope_turns, sample, silu_mul,
};
pub use samples::{mma_product, row_sum, wgmma_product};
pub use score::{Pooling, ScoreInput, ScoreParams, score, score_workspace_size};
pub use select::{SelectParams, select};
