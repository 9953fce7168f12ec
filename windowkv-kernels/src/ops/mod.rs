//! The kernels, one module a family.

mod samples;

pub use samples::{mma_product, row_sum, wgmma_product};
