//! setmaxnreg: all warpgroups go on, with their values.

use proptest::prop_assert_eq;
use windowkv_kernels::probe::Probe;

use crate::{check, run};

#[test]
fn registers_change_hands() {
    check(30, 90, |device, random| {
        let values: Vec<u32> = random.words(384).iter().map(|word| word / 2).collect();
        let got: Vec<u32> = run(device, Probe::new("registers"), &values, 384)?;
        for (got, value) in got.iter().zip(&values) {
            prop_assert_eq!(*got, value + 1);
        }
        Ok(())
    });
}
