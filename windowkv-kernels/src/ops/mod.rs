//! The kernels, one module a family. A call makes its device the current one of the calling OS thread, where that is a
//! GPU, and leaves it so.

mod decode;
mod gather;
mod layer;
mod prefill;
mod samples;
mod score;
mod select;

pub use decode::{DecodeParams, advance, decode, decode_workspace_size};
pub use gather::{CompactParams, GatherLayer, GatherParams, KeptWindows, compact, gather};
pub use layer::{
    EmbeddingParams, Llama3Scaling, Residual, RmsNormParams, RopeParams, SampleParams,
    SiluMulParams, embedding, rms_norm, rope, rope_turns, sample, silu_mul,
};
pub use prefill::{PrefillParams, prefill};
pub use samples::{mma_product, row_sum, wgmma_product};
pub use score::{
    Pooling, ScoreInput, ScoreParams, score, score_workspace_size, score_workspace_size_of_shapes,
};
pub use select::{SelectParams, select};
