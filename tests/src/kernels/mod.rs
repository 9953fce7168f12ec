//! Running kernels in tests: on every device, with random inputs and schedules.

mod attention;
mod batch;
mod filled;
mod half_precision;
mod large_scores;
mod layout;
#[path = "../../../windowkv-kernels/examples/planted_bugs/library.rs"]
mod library;
mod plain;
mod runner;
pub mod score;
#[path = "../../../windowkv-kernels/examples/planted_bugs/sparse.rs"]
mod sparse;

pub use attention::Expected;
pub use batch::{Batching, Lengths, Places};
pub use filled::{Filled, check_poison};
pub use half_precision::{Half, value};
pub use large_scores::LargeScores;
pub use layout::{Lay, Order};
pub use plain::no_worse_than_plain;
pub use runner::{a_device, devices, emulated, fail, on_every_device};
pub use sparse::SparseMemory;
