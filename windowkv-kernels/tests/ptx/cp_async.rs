//! cp.async: sizes, zero fill and groups.

use proptest::prop_assert_eq;
use windowkv_kernels::probe::Probe;

use crate::{check, run};

#[test]
fn copies_land_group_by_group() {
    check(150, 80, |device, random| {
        let bytes = [4, 8, 16][random.below(3)];
        let read = random.below(bytes + 1);
        let groups = random.below(6);
        let input: Vec<u8> = (0..(groups * 64 + 1) * bytes)
            .map(|_| random.bits() as u8)
            .collect();
        let probe = Probe::new("cp_async").arguments(&[bytes as i64, read as i64, groups as i64]);
        let got: Vec<u8> = run(device, probe, &input, groups * 64 * bytes)?;
        for group in 0..groups {
            for thread in 0..64 {
                for i in 0..bytes {
                    let expected = if i < read {
                        input[(group * 64 + 63 - thread) * bytes + i]
                    } else {
                        0
                    };
                    prop_assert_eq!(got[(group * 64 + thread) * bytes + i], expected);
                }
            }
        }
        Ok(())
    });
}
