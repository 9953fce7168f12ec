//! Timing the kernels on a GPU, or going through the same motions on the emulated one.
//!
//! ```text
//! shape    the models' layers, and which jobs there are
//! floor    bytes and operations of a job, and the time that they take at least
//! launch   a job's memory, rotated, and its launch
//! clock    seconds of many launches: CUDA events around a graph, or the wall clock
//! peer     the same jobs in PyTorch, in a process of its own
//! measure  ours and the peers by turns, round by round
//! ```

pub mod clock;
pub mod floor;
pub mod launch;
pub mod measure;
pub mod peer;
pub mod shape;
