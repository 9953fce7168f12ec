//! vote.sync, match.any.sync and redux.sync over random masks.

use proptest::prop_assert_eq;
use windowkv_kernels::probe::Probe;

use crate::{check, run};

#[test]
fn votes_and_reductions_cover_the_lanes_of_the_mask() {
    check(600, 80, |device, random| {
        let kind = random.below(12) as i64;
        let mask = match random.below(3) {
            0 => u32::MAX,
            1 => 1 << random.below(32),
            _ => random.bits() as u32 | 2,
        };
        // Few different values, so that votes agree and matches occur; signs included.
        let spread = [1, 3, u32::MAX][random.below(3)];
        let values: Vec<u32> = random.words(32).iter().map(|word| word & spread).collect();
        let probe = Probe::new("vote").arguments(&[kind, i64::from(mask)]);
        let got: Vec<u32> = run(device, probe, &values, 32)?;

        let taken: Vec<(usize, u32)> = (0..32)
            .filter(|&lane| mask >> lane & 1 == 1)
            .map(|lane| (lane, values[lane]))
            .collect();
        let numbers = || taken.iter().map(|&(_, value)| value);
        for &(lane, value) in &taken {
            let expected = match kind {
                0 => u32::from(numbers().all(|v| v & 1 == 1)),
                1 => u32::from(numbers().any(|v| v & 1 == 1)),
                2 => taken.iter().map(|&(l, v)| (v & 1) << l).sum(),
                3 => taken.iter().map(|&(l, v)| u32::from(v == value) << l).sum(),
                4 => numbers().fold(0, u32::wrapping_add),
                5 => numbers().min().unwrap_or(0),
                6 => numbers().max().unwrap_or(0),
                7 => numbers().map(|v| v as i32).min().unwrap_or(0) as u32,
                8 => numbers().map(|v| v as i32).max().unwrap_or(0) as u32,
                9 => numbers().fold(u32::MAX, |a, b| a & b),
                10 => numbers().fold(0, |a, b| a | b),
                _ => numbers().fold(0, |a, b| a ^ b),
            };
            prop_assert_eq!(got[lane], expected, "kind {} lane {}", kind, lane);
        }
        for lane in (0..32).filter(|lane| mask >> lane & 1 == 0) {
            prop_assert_eq!(got[lane], u32::MAX, "lane {} takes no part", lane);
        }
        Ok(())
    });
}
