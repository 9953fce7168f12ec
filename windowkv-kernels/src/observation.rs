//! How a sequence is observed.

use crate::ffi;

/// How one sequence is observed and cut into windows; a kernel reads one a sequence from device memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The last so many query rows observe (WindowKV, SnapKV: the suffix; H2O: all of them); of a shorter sequence all.
    /// More than q has of a longer one raise [`Flags::RANGE`](crate::Flags::RANGE).
    pub query_len: i32,
    /// Last tokens, which are kept unscored.
    pub suffix_len: i32,
    /// Tokens of a window; 0: the sequence is not scored, and is kept whole.
    pub window_len: i32,
    /// A window's score is the mean of its so many largest column scores.
    pub top_tokens: i32,
}

const _: () = {
    assert!(size_of::<Observation>() == size_of::<ffi::wkv_observation>());
    assert!(
        std::mem::offset_of!(Observation, top_tokens)
            == std::mem::offset_of!(ffi::wkv_observation, top_tokens)
    );
};
