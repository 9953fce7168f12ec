//! Bytes as numbers, without a copy where the bytes are aligned.
#![allow(unsafe_code)]

use half::{bf16, f16};

/// A number that is stored little-endian.
///
/// # Safety
/// The type has no padding, and every pattern of its bytes is a valid value.
pub(super) unsafe trait Number: Copy {
    /// The number in little-endian `bytes`, which are as many as the type has.
    fn from_le(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($type:ty) => {
        // SAFETY: a number of 16 or 32 bits: no padding, no invalid pattern.
        unsafe impl Number for $type {
            fn from_le(bytes: &[u8]) -> Self {
                <$type>::from_le_bytes(bytes.try_into().expect("as many bytes as the type has"))
            }
        }
    };
}
number!(bf16);
number!(f16);
number!(f32);

/// `bytes` as numbers; `None` where they are not aligned for `T`, are no whole number of them, or
/// this machine is big-endian.
pub(super) fn view<T: Number>(bytes: &[u8]) -> Option<&[T]> {
    if cfg!(target_endian = "big") {
        return None;
    }
    // SAFETY: `Number` promises that any bytes are valid values; align_to sees to the rest.
    let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
    (before.is_empty() && after.is_empty()).then_some(numbers)
}

/// `bytes` copied into numbers; bytes after the last whole number are left out.
pub(super) fn copy<T: Number>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(T::from_le).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_and_copy_agree() {
        let numbers = [1.5f32, -0.0, f32::MAX, 3.0e-40];
        let mut bytes = vec![0u8; 3];
        bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
        let odd = (0..4).filter(|&skip| view::<f32>(&bytes[skip..][..12]).is_none());
        assert_eq!(
            odd.count(),
            3,
            "one of four neighbouring addresses is aligned"
        );
        assert_eq!(copy::<f32>(&bytes[3..]), numbers);
        assert_eq!(
            copy::<bf16>(&[0x80, 0x3f, 0x00, 0xc0]),
            [bf16::ONE, bf16::from_f32(-2.0)]
        );
        assert_eq!(copy::<f16>(&[0x00, 0x3c]), [f16::ONE]);
    }
}
