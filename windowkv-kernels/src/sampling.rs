//! How the next token is chosen.

use crate::ffi;

/// How the next token of one sequence is chosen; the kernel reads one a row from device memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// With the step, all that a draw depends on.
    pub seed: u64,
    /// 0 takes the largest logit; otherwise logits are divided by this.
    pub temperature: f32,
    /// In (0, 1]: only the most probable tokens whose probabilities sum up to this are considered.
    pub top_p: f32,
    /// Only this many of the most probable tokens are considered; 0 considers all.
    pub top_k: i32,
    /// Not used.
    #[doc(hidden)]
    pub reserved: i32,
}

impl Default for Sampling {
    /// The largest logit.
    fn default() -> Self {
        Self {
            seed: 0,
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            reserved: 0,
        }
    }
}

const _: () = {
    assert!(size_of::<Sampling>() == size_of::<ffi::wkv_sampling>());
    assert!(
        std::mem::offset_of!(Sampling, top_k) == std::mem::offset_of!(ffi::wkv_sampling, top_k)
    );
};
