//! The kernels, one module a family.

mod gather;
mod samples;

pub use gather::{CompactParams, GatherLayer, GatherParams, KeptWindows, compact, gather};
pub use samples::{mma_product, row_sum, wgmma_product};
