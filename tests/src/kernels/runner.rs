//! Random cases on every device that is at hand.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use windowkv_kernels::{Device, Schedule};

use crate::schedule;

/// Runs `property` for `cases` random inputs (or `PROPTEST_CASES`), each under a random schedule, on every device.
///
/// # Panics
/// When it fails, with the smallest input that was found to fail.
pub fn on_every_device<S: Strategy>(
    cases: u32,
    inputs: S,
    property: impl Fn(&Device, S::Value) -> Result<(), TestCaseError>,
) {
    let inputs = (inputs, any::<u64>());
    for device in Device::all() {
        TestRunner::new(schedule::cases(cases))
            .run(&inputs, |(input, seed)| {
                device.set_schedule(Schedule { seed, workers: 0 });
                property(&device, input)
            })
            .unwrap_or_else(|error| panic!("on {device:?}: {error}"));
    }
}

/// An error of a kernel as a failed case.
pub fn fail(error: windowkv_kernels::Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}
