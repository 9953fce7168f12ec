//! What the examples share: the device that the command line names, and random numbers.

#![allow(dead_code)] // Each example needs its part of it.

use half::bf16;
use windowkv_kernels::{Device, Error};

/// The emulated GPU, or with the argument `cuda` the first GPU.
pub(crate) fn device() -> Result<Device, Error> {
    match std::env::args().nth(1).as_deref() {
        None | Some("emulated") => Ok(Device::emulated()),
        #[cfg(feature = "cuda")]
        Some("cuda") => Device::cuda(0),
        Some(other) => Err(Error::Unsupported(format!(
            "there is no device {other:?} here: `emulated`, or `cuda` in a build with --features cuda"
        ))),
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Uniform in [-1, 1).
    pub(crate) fn number(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// So many of them.
    pub(crate) fn numbers(&mut self, len: usize) -> Vec<bf16> {
        (0..len).map(|_| bf16::from_f32(self.number())).collect()
    }
}
