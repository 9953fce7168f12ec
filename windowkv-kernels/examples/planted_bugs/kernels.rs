//! The kernels that bugs are planted in. A new one is a file in `bugs`, a file in `cases` and an entry here.

use windowkv_kernels::{Device, Error};

use crate::bugs::{self, Bug};
use crate::cases::{self, Verdict};

/// A kernel with its bugs and the cases that should find them.
pub(crate) struct Kernel {
    /// Its folder below `cuda`, which is also its name.
    pub(crate) folder: &'static str,
    pub(crate) bugs: &'static [Bug],
    /// All cases under the device's present schedule, up to the first fault. Few and small: they run some
    /// ten times for each bug, and under sanitizers. Some should end exactly where their memory ends.
    pub(crate) cases: fn(&Device) -> Result<Verdict, Error>,
}

pub(crate) const KERNELS: &[Kernel] = &[
    Kernel {
        folder: "samples/reduction",
        bugs: bugs::reduction::BUGS,
        cases: cases::reduction::run,
    },
    Kernel {
        folder: "samples/mma_product",
        bugs: bugs::mma_product::BUGS,
        cases: cases::mma_product::run,
    },
    Kernel {
        folder: "samples/wgmma_product",
        bugs: bugs::wgmma_product::BUGS,
        cases: cases::wgmma_product::run,
    },
    Kernel {
        folder: "prefill",
        bugs: bugs::prefill::BUGS,
        cases: cases::prefill::run,
    },
    Kernel {
        folder: "decode",
        bugs: bugs::decode::BUGS,
        cases: cases::decode::run,
    },
    Kernel {
        folder: "score",
        bugs: bugs::score::BUGS,
        cases: cases::score::run,
    },
    Kernel {
        folder: "select",
        bugs: bugs::select::BUGS,
        cases: cases::select::run,
    },
    Kernel {
        folder: "gather",
        bugs: bugs::gather::BUGS,
        cases: cases::gather::run,
    },
    Kernel {
        folder: "layer",
        bugs: bugs::layer::BUGS,
        cases: cases::layer::run,
    },
];
