//! Timing the kernels on a GPU, or going through the same motions on the emulated one.
//!
//! ```text
//! shape     the models' layers, and which jobs there are
//! floor     bytes and operations of a job
//! launch    a job's memory, rotated, and its launch
//! expected  whether a job wrote what it should
//! clock     seconds of many launches: CUDA events around a graph, or the wall clock; the ceilings
//! command   a program with a limit of time, ended with all that it started
//! machine   what nvidia-smi and others say
//! peer      the same jobs in PyTorch, in a process of its own
//! measure   ours and the peers by turns, round by round
//! ```

pub mod clock;
pub mod command;
mod expected;
pub mod floor;
pub mod launch;
pub mod machine;
pub mod measure;
pub mod peer;
pub mod shape;

/// Why a job was not timed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A launch, or what it needs, failed.
    Kernel(windowkv_kernels::Error),
    /// It wrote something else than it should.
    Wrong(String),
}

impl Failure {
    /// Whether nothing that comes after it can be believed: all but a lack of memory, which says nothing of the next size.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Kernel(windowkv_kernels::Error::OutOfMemory(_)))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(f),
            Self::Wrong(what) => write!(f, "a wrong result: {what}"),
        }
    }
}

impl From<windowkv_kernels::Error> for Failure {
    fn from(error: windowkv_kernels::Error) -> Self {
        Self::Kernel(error)
    }
}
