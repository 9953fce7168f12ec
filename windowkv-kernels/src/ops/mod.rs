//! The kernels, one module a family.

mod gather;
mod samples;
mod score;
mod select;

pub use gather::{CompactParams, GatherLayer, GatherParams, KeptWindows, compact, gather};
pub use samples::{mma_product, row_sum, wgmma_product};
pub use score::{Pooling, ScoreInput, ScoreParams, score, score_workspace_size};
pub use select::{SelectParams, select};
