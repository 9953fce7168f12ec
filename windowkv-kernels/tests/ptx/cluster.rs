//! Clusters: ranks, distributed shared memory, remote arrivals, multicast.

use proptest::prop_assert_eq;
use windowkv_kernels::probe::{Probe, Tensor};

use crate::{check, run};

#[test]
fn blocks_reach_into_each_other() {
    check(60, 90, |device, random| {
        let numbers: Vec<u32> = (0..4).map(|_| random.below(1 << 20) as u32).collect();
        let got: Vec<u32> = run(device, Probe::new("cluster").blocks(4), &numbers, 12)?;
        for rank in 0..4 {
            prop_assert_eq!(got[rank * 3], numbers[(rank + 1) % 4]);
            prop_assert_eq!(got[rank * 3 + 1], 4);
        }
        prop_assert_eq!(got[2], numbers.iter().sum::<u32>());
        Ok(())
    });
}

#[test]
fn multicast_reaches_every_block() {
    check(30, 90, |device, random| {
        let words = random.words(64 * 16 / 4);
        let rank = 2 + random.below(3);
        let tensor = Tensor {
            element: 2,
            swizzle: 0,
            fill_nan: false,
            of_output: false,
            size: vec![4, 8, 4, 2][..rank].to_vec(),
            stride_bytes: vec![0, 16, 128, 512][..rank].to_vec(),
            box_size: vec![4, 8, 4, 2][..rank].to_vec(),
        };
        let bytes = 4 * tensor.box_size.iter().product::<u32>() as usize;
        let probe = Probe::new("tma_multicast")
            .blocks(2)
            .arguments(&[rank as i64, bytes as i64])
            .tensor(tensor);
        let got: Vec<u32> = run(device, probe, &words, 2 * bytes / 4)?;
        prop_assert_eq!(&got[..bytes / 4], &words[..bytes / 4]);
        prop_assert_eq!(&got[bytes / 4..], &words[..bytes / 4]);
        Ok(())
    });
}
