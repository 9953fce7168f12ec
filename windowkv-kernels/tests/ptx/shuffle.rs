//! shfl.sync: lane by lane, as the manual's pseudo-code has it.

use proptest::prop_assert_eq;
use windowkv_kernels::probe::Probe;

use crate::{check, run};

/// The manual: c packs the segment mask (32 - width) << 8 and the clamp, 0 for `up` and 0x1f else;
/// maxLane = (lane & segmask) | (clamp & ~segmask), minLane = lane & segmask.
fn source_lane(kind: i64, lane: i32, operand: i32, width: i32) -> i32 {
    let segment_mask = 32 - width;
    let clamp = if kind == 1 { 0 } else { 0x1f };
    let max_lane = (lane & segment_mask) | (clamp & !segment_mask);
    let min_lane = lane & segment_mask;
    let (from, valid) = match kind {
        // 4: as 0, of floats.
        0 | 4 => {
            let from = min_lane | (operand & !segment_mask & 0x1f);
            (from, from <= max_lane)
        }
        1 => (lane - operand, lane - operand >= max_lane),
        2 => (lane + operand, lane + operand <= max_lane),
        _ => (lane ^ operand, (lane ^ operand) <= max_lane),
    };
    if valid { from } else { lane }
}

#[test]
fn shuffles_follow_the_manual() {
    check(400, 80, |device, random| {
        let kind = random.below(5) as i64;
        let width = 1 << random.below(6);
        let operand = random.below(32) as i32;
        let values = random.words(32);
        let wanted: Vec<usize> = (0..32)
            .map(|lane| source_lane(kind, lane, operand, width) as usize)
            .collect();
        // Half of the cases leave lanes out: those that no other lane of the mask reads.
        let mut mask = u32::MAX;
        if random.below(2) == 0 {
            mask = random.bits() as u32 | 1;
            loop {
                let closed = (0..32)
                    .filter(|&lane| mask >> lane & 1 == 1)
                    .fold(mask, |all, lane: usize| all | 1 << wanted[lane]);
                if closed == mask {
                    break;
                }
                mask = closed;
            }
        }
        let probe = Probe::new("shuffle").arguments(&[
            kind,
            i64::from(operand),
            i64::from(width),
            i64::from(mask),
        ]);
        let got: Vec<u32> = run(device, probe, &values, 32)?;
        for lane in 0..32 {
            let expected = if mask >> lane & 1 == 1 {
                values[wanted[lane]]
            } else {
                u32::MAX
            };
            prop_assert_eq!(got[lane], expected, "lane {} of kind {}", lane, kind);
        }
        Ok(())
    });
}
