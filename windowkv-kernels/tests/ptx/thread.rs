//! Who a thread is, and where its shared memory lies.

use proptest::prop_assert_eq;
use windowkv_kernels::probe::Probe;

use crate::{check, run};

#[test]
fn threads_know_their_place() {
    const THREADS: usize = 160;
    check(10, 80, |device, random| {
        let blocks = 1 + random.below(3);
        let probe = Probe::new("thread").blocks(blocks as u32);
        let got: Vec<u32> = run(device, probe, &[0u8], 6 * THREADS * blocks)?;
        for (at, got) in got.chunks(6).enumerate() {
            let thread = (at % THREADS) as u32;
            prop_assert_eq!(&got[..4], [thread, thread % 32, thread / 32, thread / 128]);
            // The manual's 128-byte swizzle repeats every 1,024 bytes.
            prop_assert_eq!((got[4] % 1024, got[5] - got[4]), (0, 4));
        }
        Ok(())
    });
}
