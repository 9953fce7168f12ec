//! Atomics: what came back must be a possible order of the operations.

use proptest::{prop_assert, prop_assert_eq};
use windowkv_kernels::probe::Probe;

use crate::check;

const THREADS: usize = 96;

/// The probe's cell starts at 7: in shared memory by itself, in global memory from the host.
fn atomics<T: windowkv_kernels::Element>(
    device: &windowkv_kernels::Device,
    kind: i64,
    shared: bool,
    values: &[T],
    start: T,
) -> Result<(T, Vec<T>), proptest::test_runner::TestCaseError> {
    let failed = |error| proptest::test_runner::TestCaseError::fail(format!("{error}"));
    let input = device.upload(values).map_err(failed)?;
    let mut output = device.upload(&[start; THREADS + 1]).map_err(failed)?;
    crate::launch(
        device,
        &Probe::new("atomics").arguments(&[kind, i64::from(shared)]),
        &input,
        &mut output,
    )
    .map_err(failed)?;
    let mut got = output.download().map_err(failed)?;
    let before = got.split_off(1);
    Ok((got[0], before))
}

#[test]
fn additions_chain() {
    check(60, 80, |device, random| {
        let shared = random.below(2) == 1;
        let values: Vec<u32> = random.words(THREADS);
        let (last, before) = atomics(device, 0, shared, &values, 7)?;
        prop_assert_eq!(last, values.iter().fold(7, |a: u32, b| a.wrapping_add(*b)));
        // In the order in which the cell was seen, each addition starts where another one ended.
        let mut ends: Vec<u32> = before
            .iter()
            .zip(&values)
            .map(|(start, value)| start.wrapping_add(*value))
            .chain([7])
            .collect();
        let mut starts: Vec<u32> = before.iter().copied().chain([last]).collect();
        ends.sort_unstable();
        starts.sort_unstable();
        prop_assert_eq!(starts, ends);

        let (signed, _) = atomics(device, 9, shared, &values, 7)?;
        prop_assert_eq!(signed, last);

        let wide: Vec<u64> = (0..THREADS).map(|_| random.bits()).collect();
        let (last, _) = atomics(device, 1, shared, &wide, 7)?;
        prop_assert_eq!(last, wide.iter().fold(7, |a: u64, b| a.wrapping_add(*b)));

        // Multiples of 1/8 add up exactly in any order.
        let floats: Vec<f32> = (0..THREADS).map(|_| random.small()).collect();
        let (last, _) = atomics(device, 2, shared, &floats, 7.0)?;
        prop_assert_eq!(last, 7.0 + floats.iter().sum::<f32>());
        Ok(())
    });
}

#[test]
fn extremes_exchange_and_compare() {
    check(60, 80, |device, random| {
        let shared = random.below(2) == 1;
        let values: Vec<u32> = random
            .words(THREADS)
            .iter()
            .map(|word| {
                if word >> 31 == 1 {
                    !(word % 31)
                } else {
                    word % 31
                }
            })
            .collect();
        let signed = || values.iter().map(|v| *v as i32).chain([7]);
        let (last, before) = atomics(device, 3, shared, &values, 7)?;
        prop_assert_eq!(last as i32, signed().min().unwrap_or(7));
        prop_assert!(before.contains(&7));
        let (last, _) = atomics(device, 4, shared, &values, 7)?;
        prop_assert_eq!(last as i32, signed().max().unwrap_or(7));

        let (last, _) = atomics(device, 7, shared, &values, 7)?;
        prop_assert_eq!(last, values.iter().copied().min().unwrap_or(7).min(7));
        let (last, _) = atomics(device, 8, shared, &values, 7)?;
        prop_assert_eq!(last, values.iter().copied().max().unwrap_or(7).max(7));

        // Exchanging keeps the collection of values.
        let (last, before) = atomics(device, 5, shared, &values, 7)?;
        let mut out: Vec<u32> = before.iter().copied().chain([last]).collect();
        let mut all: Vec<u32> = values.iter().copied().chain([7]).collect();
        out.sort_unstable();
        all.sort_unstable();
        prop_assert_eq!(out, all);

        // Until a thread writes something else than 7, all see 7.
        let (last, before) = atomics(device, 6, shared, &values, 7)?;
        let winners: Vec<usize> = (0..THREADS).filter(|&t| before[t] == 7).collect();
        prop_assert!(!winners.is_empty());
        prop_assert!(winners.iter().all(|&t| values[t] == 7 || values[t] == last));
        prop_assert!((0..THREADS).all(|t| before[t] == 7 || before[t] == last));
        Ok(())
    });
}

#[test]
fn release_hands_over_what_was_written() {
    check(60, 80, |device, random| {
        let rounds = 1 + random.below(20);
        let failed = |error| proptest::test_runner::TestCaseError::fail(format!("{error}"));
        let input = device.upload(&[0u32]).map_err(failed)?;
        let mut output = device.upload(&[0u32; 101]).map_err(failed)?;
        crate::launch(
            device,
            &Probe::new("acquire_release").arguments(&[rounds as i64]),
            &input,
            &mut output,
        )
        .map_err(failed)?;
        let got = output.download().map_err(failed)?;
        prop_assert_eq!(got[0], rounds as u32);
        for round in 0..rounds {
            prop_assert_eq!(got[1 + round], round as u32);
        }
        Ok(())
    });
}
