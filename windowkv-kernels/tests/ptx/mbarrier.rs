//! mbarrier: phases of a producer and a consumer warp.

use proptest::prop_assert_eq;
use windowkv_kernels::probe::Probe;

use crate::{check, run};

#[test]
fn phases_alternate() {
    check(150, 90, |device, random| {
        let rounds = 1 + random.below(9);
        let poll = random.below(2) as i64;
        let values = random.words(rounds * 32);
        let probe = Probe::new("mbarrier").arguments(&[rounds as i64, poll]);
        let got: Vec<u32> = run(device, probe, &values, rounds * 32)?;
        for round in 0..rounds {
            for lane in 0..32 {
                prop_assert_eq!(got[round * 32 + lane], values[round * 32 + 31 - lane]);
            }
        }
        Ok(())
    });
}

#[test]
fn counts_arrivals_and_gives_its_memory_back() {
    check(30, 90, |device, random| {
        let counts = [1 + random.below(40), 1 + random.below(40)];
        let words = random.words(2);
        let probe = Probe::new("mbarrier_reuse").arguments(&counts.map(|count| count as i64));
        let got: Vec<u32> = run(device, probe, &words, 6)?;
        prop_assert_eq!(got, [0, 1, words[0], words[1], 0, 1]);
        Ok(())
    });
}
