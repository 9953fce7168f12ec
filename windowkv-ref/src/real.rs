use std::fmt::{Debug, Display};
use std::iter::Sum;

use num_traits::{Float, FromPrimitive, NumAssign};

/// A float type that the method can be computed in: `f64` (the oracle) or `f32` (the CPU backend).
pub trait Real:
    sealed::Sealed
    + Float
    + FromPrimitive
    + NumAssign
    + Sum
    + Default
    + Debug
    + Display
    + ndarray::LinalgScalar
    + ndarray::ScalarOperand
    + Send
    + Sync
    + 'static
{
    /// Replaces every `x` by `e^x`. `e^-inf` is exactly 0 and NaN stays NaN.
    ///
    /// `f64` uses the standard library. `f32` uses a polynomial that vectorises, within 2 ulp for
    /// `-87 <= x <= 0`, and returns 0 below: its callers only pass `x <= 0`, a score minus the
    /// largest score.
    fn exp_in_place(xs: &mut [Self]);

    /// Converts a count, for means. Exact up to the type's mantissa.
    fn from_count(count: usize) -> Self {
        Self::from_usize(count).expect("a float can hold any count, rounded")
    }
}

mod sealed {
    /// Only f32 and f64: the matrix products know no other type.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f64 {
    fn exp_in_place(xs: &mut [Self]) {
        for x in xs {
            *x = x.exp();
        }
    }
}

impl Real for f32 {
    #[inline(always)]
    fn exp_in_place(xs: &mut [Self]) {
        for x in xs {
            *x = exp_nonpositive(*x);
        }
    }
}

/// `e^x` for `x <= 0`: `2^n * e^r` with `n` the nearest integer to `x / ln 2` and `|r| <= ln 2 / 2`.
///
/// No branch and no call, so that a loop over it becomes SIMD code. The coefficients are those of
/// Cephes' `expf`; `ln 2` is split in two so that `r` keeps its low bits.
#[inline(always)]
fn exp_nonpositive(x: f32) -> f32 {
    const LOWEST: f32 = -87.0; // e^-87 is still a normal number, so 2^n below needs no denormals
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;

    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let e_r = p * r * r + r + 1.0;
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127)
        << 23;
    if x < LOWEST {
        0.0
    } else {
        e_r * f32::from_bits(exponent)
    }
}

/// `head_dim^-0.5`, the factor on `q . k` before the softmax.
pub fn softmax_scale<F: Real>(head_dim: usize) -> F {
    F::from_count(head_dim).sqrt().recip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_exp_is_within_two_ulp_of_f64() {
        let mut x = -87.0f32;
        while x <= 0.0 {
            let exact = f64::from(x).exp();
            let ulp = f64::from(exact as f32) * f64::from(f32::EPSILON);
            let found = f64::from(exp_nonpositive(x));
            assert!(
                (found - exact).abs() <= 2.0 * ulp,
                "e^{x} gave {found}, not {exact}"
            );
            x += 1.0 / 1024.0 + x.abs() * 1e-4;
        }
    }

    #[test]
    fn f32_exp_of_special_values() {
        let mut xs = [0.0, -0.0, f32::NEG_INFINITY, -1e30, f32::NAN];
        f32::exp_in_place(&mut xs);
        assert_eq!(&xs[..4], &[1.0, 1.0, 0.0, 0.0]);
        assert!(xs[4].is_nan(), "a NaN score must not disappear");
    }
}
