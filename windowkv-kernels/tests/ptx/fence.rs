//! fence_gpu: the thread that is last to count itself sees what all others left. (fence_proxy_async and
//! fence_mbarrier_init are part of the tests of TMA and wgmma, and faults.rs has what their absence brings.)

use proptest::prop_assert_eq;
use windowkv_kernels::probe::Probe;

use crate::{check, run};

#[test]
fn the_last_block_sees_what_all_left() {
    check(60, 80, |device, random| {
        let failed = |error| proptest::test_runner::TestCaseError::fail(format!("{error}"));
        let blocks = 1 + random.below(9);
        let values = random.words(blocks);
        let input = device.upload(&values).map_err(failed)?;
        let mut output = device.upload(&vec![0u32; 2 + blocks]).map_err(failed)?;
        crate::launch(
            device,
            &Probe::new("fence").blocks(blocks as u32),
            &input,
            &mut output,
        )
        .map_err(failed)?;
        let got = output.download().map_err(failed)?;
        prop_assert_eq!(got[0], blocks as u32);
        prop_assert_eq!(
            got[1],
            values.iter().fold(0, |sum: u32, v| sum.wrapping_add(*v))
        );
        prop_assert_eq!(&got[2..], &values[..]);
        Ok(())
    });
}

#[test]
fn the_last_thread_sees_what_all_left_in_shared_memory() {
    check(60, 80, |device, random| {
        let values = random.words(64);
        let got: Vec<u32> = run(device, Probe::new("fence_shared"), &values, 1)?;
        prop_assert_eq!(
            got[0],
            values.iter().fold(0, |sum: u32, v| sum.wrapping_add(*v))
        );
        Ok(())
    });
}
