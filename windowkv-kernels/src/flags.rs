//! What kernels find in device memory and cannot tell the host at once.

use crate::device::Device;
use crate::error::Error;
use crate::ffi;
use crate::view::SliceMut;

/// The bits that kernels set in a word of device memory, as read back from it. The caller clears the word, and
/// reads it when it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// A score or logit was NaN; it was taken for -inf.
    pub const NAN: Self = Self(ffi::wkv_flag_WKV_FLAG_NAN);
    /// Something did not fit its output or its cache, and was left out.
    pub const CAPACITY: Self = Self(ffi::wkv_flag_WKV_FLAG_CAPACITY);
    /// A length, index, token id or page was outside its range.
    pub const RANGE: Self = Self(ffi::wkv_flag_WKV_FLAG_RANGE);

    /// The word as kernels left it.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The word.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether nothing was found.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` was found.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The word for the C ABI; null: nobody wants to know.
pub(crate) fn flag_word(
    device: &Device,
    flags: Option<&mut SliceMut<'_, u32>>,
) -> Result<*mut u32, Error> {
    let Some(flags) = flags else {
        return Ok(std::ptr::null_mut());
    };
    flags.on("flags", device)?;
    Error::same("the length of flags", flags.len(), 1)?;
    Ok(flags.as_mut_ptr())
}
