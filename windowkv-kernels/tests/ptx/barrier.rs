//! Barriers of a warp and named barriers of a block.

use proptest::{prop_assert, prop_assert_eq};
use windowkv_kernels::probe::Probe;

use crate::{check, run};

#[test]
fn named_barriers_order_producers_and_consumers() {
    check(120, 80, |device, random| {
        let rounds = 1 + random.below(6);
        let values = random.words(rounds * 64);
        let probe = Probe::new("named_barrier").arguments(&[rounds as i64]);
        let got: Vec<u32> = run(device, probe, &values, rounds * 64)?;
        for round in 0..rounds {
            for slot in 0..64 {
                prop_assert_eq!(got[round * 64 + slot], values[round * 64 + 63 - slot]);
            }
        }
        Ok(())
    });
}

#[test]
fn a_block_meets() {
    check(60, 80, |device, random| {
        let values = random.words(64);
        let got: Vec<u32> = run(device, Probe::new("sync_threads"), &values, 64)?;
        prop_assert!(got.iter().eq(values.iter().rev()));
        Ok(())
    });
}

#[test]
fn halves_of_a_warp_meet_apart() {
    check(120, 80, |device, random| {
        let distance = random.below(16);
        let values = random.words(32);
        let probe = Probe::new("sync_warp").arguments(&[distance as i64]);
        let got: Vec<u32> = run(device, probe, &values, 32)?;
        for (lane, got) in got.into_iter().enumerate() {
            let from = lane / 16 * 16 + (lane + distance) % 16;
            prop_assert_eq!(got, values[from]);
        }
        Ok(())
    });
}
