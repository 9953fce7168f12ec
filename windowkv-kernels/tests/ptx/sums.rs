//! What a sum of products may be. The manual leaves the order of the additions, their rounding and the
//! handling of subnormal inputs of `mma` and `wgmma` open; products are exact.

use half::{bf16, f16};
use proptest::prop_assert;
use proptest::test_runner::TestCaseError;
use windowkv_kernels::Device;

use crate::Random;

/// Which numbers the operands are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Of few bits: every sum is exact in f32, in any order.
    Exact,
    /// With all the bits of the type, over twelve powers of two: sums round.
    Rounded,
    /// a subnormal, b large.
    Subnormal,
    /// With infinities, NaN and zeros of both signs among them.
    Special,
}

/// Of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    A,
    B,
}

impl Numbers {
    pub(crate) fn draw_any(random: &mut Random) -> Numbers {
        [
            Numbers::Exact,
            Numbers::Rounded,
            Numbers::Subnormal,
            Numbers::Special,
        ][random.below(4)]
    }

    /// A number that the type holds exactly.
    pub(crate) fn draw(self, random: &mut Random, operand: Operand, bfloat16: bool) -> f32 {
        let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
        let fraction = 1.0 + random.below(1 << 11) as f32 / 2048.0;
        let value = match (self, operand) {
            (Numbers::Rounded, _) => fraction * 2.0_f32.powi(random.below(12) as i32 - 6),
            (Numbers::Subnormal, Operand::A) if bfloat16 => {
                bf16::from_bits(random.below(0x80) as u16).to_f32()
            }
            (Numbers::Subnormal, Operand::A) => f16::from_bits(random.below(0x400) as u16).to_f32(),
            (Numbers::Subnormal, Operand::B) if bfloat16 => {
                fraction * 2.0_f32.powi(100 + random.below(20) as i32)
            }
            (Numbers::Subnormal, Operand::B) => fraction * 2.0_f32.powi(random.below(15) as i32),
            (Numbers::Special, _) if random.below(40) == 0 => {
                [0.0, f32::INFINITY, f32::NAN][random.below(3)]
            }
            (Numbers::Exact | Numbers::Special, _) => random.small(),
        };
        from_bits(to_bits(sign * value, bfloat16), bfloat16)
    }

    /// What the accumulator holds at first.
    pub(crate) fn draw_accumulator(self, random: &mut Random) -> f32 {
        match self {
            Numbers::Exact | Numbers::Special => random.small(),
            Numbers::Rounded => random.small() * (1.0 + random.below(1 << 20) as f32 / 1e6),
            Numbers::Subnormal => 0.0,
        }
    }

    /// Whether `got` may be c plus the products: NaN and infinities as they follow in any order, and
    /// otherwise within the error of as many additions as there are products, each cut off (not even rounded)
    /// to 24 bits of a partial sum, in any order.
    pub(crate) fn check(
        self,
        device: &Device,
        got: f32,
        c: f32,
        products: &[(f32, f32)],
        bfloat16: bool,
    ) -> Result<(), TestCaseError> {
        let terms = || products.iter().map(|&(a, b)| f64::from(a) * f64::from(b));
        let sum = f64::from(c) + terms().sum::<f64>();
        if !sum.is_finite() {
            let same = f64::from(got) == sum || got.is_nan() && sum.is_nan();
            prop_assert!(same, "{got:e} is not {sum:e}");
            return Ok(());
        }
        let size = f64::from(c.abs()) + terms().map(f64::abs).sum::<f64>();
        let mut bound = products.len() as f64 * 2.0_f64.powi(-23) * size;
        if self == Numbers::Exact {
            bound = 0.0;
        }
        // A GPU may take subnormal inputs for zero; the emulated one says that it does not.
        let least = if bfloat16 {
            bf16::MIN_POSITIVE.to_f32()
        } else {
            f16::MIN_POSITIVE.to_f32()
        };
        if device.name() == "cuda" && products.iter().any(|(a, _)| a.abs() < least) {
            bound += size;
        }
        prop_assert!(
            (f64::from(got) - sum).abs() <= bound,
            "{got:e} is not {sum:e} (within {bound:e}), {self:?}"
        );
        Ok(())
    }
}

pub(crate) fn to_bits(value: f32, bfloat16: bool) -> u16 {
    if bfloat16 {
        bf16::from_f32(value).to_bits()
    } else {
        f16::from_f32(value).to_bits()
    }
}

fn from_bits(bits: u16, bfloat16: bool) -> f32 {
    if bfloat16 {
        bf16::from_bits(bits).to_f32()
    } else {
        f16::from_bits(bits).to_f32()
    }
}
