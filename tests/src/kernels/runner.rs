//! Random cases on every device that is at hand.

use std::io::Write;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use windowkv_kernels::{Device, Schedule};

use super::library;
use crate::schedule;

/// A sanitizer makes a run ten to a hundred times as long: it is given so many times fewer cases.
const SANITIZER_SHARE: u32 = 20;

/// All devices, those that `WINDOWKV_DEVICE` names (`emulated` or `cuda`), or the one of a library that was built with
/// a sanitizer, which `WINDOWKV_LIBRARY` names. A test that runs on others would not run what it is asked to.
///
/// # Panics
/// When there is no such device or library.
pub fn devices() -> Vec<Device> {
    if let Ok(path) = std::env::var("WINDOWKV_LIBRARY") {
        return vec![library::open(&path).expect("a library of the emulated GPU")];
    }
    let mut devices = Device::all();
    if let Ok(name) = std::env::var("WINDOWKV_DEVICE") {
        devices.retain(|device| device.name() == name);
        assert!(!devices.is_empty(), "WINDOWKV_DEVICE: there is no {name}");
    }
    devices
}

/// One of [`devices`], for what every device refuses alike.
///
/// # Panics
/// As [`devices`].
pub fn a_device() -> Device {
    devices().swap_remove(0)
}

/// One of [`devices`] whose memory is the host's, where there is one: for
/// [`SparseMemory`](super::SparseMemory).
///
/// # Panics
/// As [`devices`].
pub fn emulated() -> Option<Device> {
    devices().into_iter().find(|device| device.name() != "cuda")
}

/// Runs `property` for `cases` random inputs (or `PROPTEST_CASES`), each under a random schedule, on every device; a
/// twentieth of them on a library that was built with a sanitizer. How many ran is appended to the file
/// `WINDOWKV_COUNTS`, if there is one.
///
/// # Panics
/// When it fails, with the smallest input that was found to fail.
pub fn on_every_device<S: Strategy>(
    cases: u32,
    inputs: S,
    property: impl Fn(&Device, S::Value) -> Result<(), TestCaseError>,
) {
    let inputs = (inputs, any::<u64>());
    for device in devices() {
        let mut config = schedule::cases(cases);
        if device.name() == "library" {
            config.cases = config.cases.div_ceil(SANITIZER_SHARE);
        }
        let cases = config.cases;
        TestRunner::new(config)
            .run(&inputs, |(input, seed)| {
                device.set_schedule(Schedule { seed, workers: 0 });
                property(&device, input)
            })
            .unwrap_or_else(|error| panic!("on {device:?}: {error}"));
        count(&device, cases);
    }
}

fn count(device: &Device, cases: u32) {
    let Some(path) = std::env::var_os("WINDOWKV_COUNTS") else {
        return;
    };
    let thread = std::thread::current();
    let line = format!(
        "{cases} {} {}\n",
        device.name(),
        thread.name().unwrap_or("?")
    );
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&path);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// An error of a kernel as a failed case.
pub fn fail(error: windowkv_kernels::Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}
