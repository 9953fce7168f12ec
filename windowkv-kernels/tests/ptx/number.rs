//! Conversions against the crate `half`, whose rounding is its own implementation.

use half::{bf16, f16};
use proptest::prop_assert_eq;
use windowkv_kernels::probe::Probe;

use crate::{Random, check, run};

fn same_f16(got: u16, expected: f16) -> bool {
    if expected.is_nan() {
        got == 0x7fff
    } else {
        got == expected.to_bits()
    }
}

/// Values around every rounding boundary: ties, overflow, subnormals, specials.
fn interesting(random: &mut Random) -> f32 {
    match random.below(6) {
        0 => f32::from_bits(random.bits() as u32),
        1 => f16::from_bits(random.bits() as u16).to_f32(),
        // Halfway between two neighbours of f16, and one bit beside it.
        2 => f32::from_bits(
            (f16::from_bits(random.bits() as u16 & 0x7bff)
                .to_f32()
                .to_bits()
                | 0x1000)
                .wrapping_add(random.below(3) as u32)
                .wrapping_sub(1),
        ),
        // The same of bf16.
        3 => f32::from_bits(
            ((random.bits() as u32 & 0xffff_0000) | 0x8000)
                .wrapping_add(random.below(3) as u32)
                .wrapping_sub(1),
        ),
        4 => [
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            65504.0,
            65519.998,
            65520.0,
            -65520.0,
            5.960_464_5e-8,
            2.980_232_2e-8,
            2.980_232_6e-8,
        ][random.below(12)],
        _ => (random.below(200_001) as f32 - 100_000.0) * 2.0_f32.powi(-(random.below(45) as i32)),
    }
}

#[test]
fn rounds_to_nearest_even_and_keeps_specials() {
    check(40, 80, |device, random| {
        let values: Vec<f32> = (0..1024).map(|_| interesting(random)).collect();
        let got: Vec<u32> = run(device, Probe::new("number").blocks(4), &values, 5 * 1024)?;
        for (i, pair) in got.chunks(5).enumerate() {
            let neighbour = &got[5 * (i ^ 1)..];
            prop_assert_eq!(pair[2], pair[0] | neighbour[0] << 16, "f16 pair {}", i);
            prop_assert_eq!(pair[3], pair[1] | neighbour[1] << 16, "bf16 pair {}", i);
        }
        for (value, got) in values.iter().zip(got.chunks(5)) {
            prop_assert_eq!(
                same_f16(got[0] as u16, f16::from_f32(*value)),
                true,
                "f16 of {:e} is {:#x}",
                value,
                got[0]
            );
            let expected = if value.is_nan() {
                0x7fff
            } else {
                bf16::from_f32(*value).to_bits()
            };
            prop_assert_eq!(got[1] as u16, expected, "bf16 of {:e}", value);
            if !value.is_nan() {
                // 2 ulp of the result, and flushed to zero below the normal numbers.
                let exact = f64::from(*value).exp2();
                let result = f64::from(f32::from_bits(got[4]));
                let close = if exact < f64::from(f32::MIN_POSITIVE) {
                    result <= f64::from(f32::MIN_POSITIVE)
                } else if exact > f64::from(f32::MAX) {
                    result > 3.0e38
                } else {
                    (result - exact).abs() <= exact * 2.0_f64.powi(-22)
                };
                prop_assert_eq!(close, true, "2^{:e} is {:e}", value, result);
            }
        }
        Ok(())
    });
}

#[test]
fn all_halves_widen_exactly() {
    check(1, 80, |device, _| {
        let got: Vec<f32> = run(device, Probe::new("widen").blocks(256), &[0u8], 2 * 65536)?;
        for (bits, got) in got.chunks(2).enumerate() {
            let wanted = [
                f16::from_bits(bits as u16).to_f32(),
                bf16::from_bits(bits as u16).to_f32(),
            ];
            for (got, wanted) in got.iter().zip(wanted) {
                let same = got.to_bits() == wanted.to_bits() || got.is_nan() && wanted.is_nan();
                prop_assert_eq!(same, true, "{:#06x}: {} is not {}", bits, got, wanted);
            }
        }
        Ok(())
    });
}
