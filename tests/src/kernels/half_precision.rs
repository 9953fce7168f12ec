//! Half-precision types as tests see them.

use half::{bf16, f16};
use windowkv_kernels::HalfPrecision;

/// A half-precision type with its bits, conversions and precision.
pub trait Half: HalfPrecision {
    /// Half the distance from 1 to the next number: the relative error of one rounding to nearest, 2^-8 for bf16 with
    /// its 8 bits and 2^-11 for f16 with its 11. The accuracy rule's u, "the half-ulp of the output", is half of it: a
    /// number in [1, 2) has an ulp of 2^-7 or 2^-10, so rounding alone moves it by up to `UNIT`, and no kernel could
    /// keep to less.
    const UNIT: f64;
    /// Half the distance between its subnormal numbers: the absolute error of a rounding to one.
    const TINY: f64;
    /// The largest finite number.
    const MAX: f64;

    /// The number nearest to this one.
    fn of(value: f64) -> Self;
    /// Exactly.
    fn value(self) -> f64;
    /// From its 16 bits.
    fn from_bits(bits: u16) -> Self;
    /// Its 16 bits.
    fn bits(self) -> u16;
}

/// The number that 16 bits stand for.
pub fn value<T: Half>(bits: &u16) -> f64 {
    T::from_bits(*bits).value()
}

macro_rules! halves {
    ($($type:ident, $unit:expr, $tiny:expr, $max:expr;)*) => {$(
        impl Half for $type {
            const UNIT: f64 = $unit;
            const TINY: f64 = $tiny;
            const MAX: f64 = $max;
            fn of(value: f64) -> Self {
                $type::from_f64(value)
            }
            fn value(self) -> f64 {
                self.to_f64()
            }
            fn from_bits(bits: u16) -> Self {
                $type::from_bits(bits)
            }
            fn bits(self) -> u16 {
                self.to_bits()
            }
        }
    )*};
}
halves! {
    f16, 1.0 / 2048.0, 1.0 / (1u64 << 25) as f64, 65504.0;
    bf16, 1.0 / 256.0, f64::MIN_POSITIVE / 4.0, 3.3895313892515355e38;
}
