//! A test for each function of `cuda/ptx`, against the PTX manual's semantics as computed here. Every test
//! runs on the emulated GPU under random schedules and, where there is one, on a real GPU; on the one of both that
//! `WINDOWKV_DEVICE` names; or, for `.ci/sanitizers.sh`, on the library that `WINDOWKV_LIBRARY` names.

mod atomics;
mod barrier;
mod cluster;
mod cp_async;
#[path = "../devices/mod.rs"]
mod devices;
mod faults;
mod fence;
mod ldmatrix;
#[path = "../../examples/planted_bugs/library.rs"]
mod library;
mod mbarrier;
mod mma;
mod number;
mod registers;
mod shuffle;
mod sums;
mod thread;
mod tma;
mod vote;
mod wgmma;

use proptest::test_runner::{Config, TestCaseError, TestRunner};
use windowkv_kernels::probe::Probe;
use windowkv_kernels::{Buffer, Device, Element, Error, Schedule};

/// SplitMix64: the inputs of a case from its seed.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    fn words(&mut self, len: usize) -> Vec<u32> {
        (0..len).map(|_| self.bits() as u32).collect()
    }

    fn halves(&mut self, len: usize) -> Vec<u16> {
        (0..len).map(|_| self.bits() as u16).collect()
    }

    /// Small numbers with few bits, so that sums of products are exact in f32.
    fn small(&mut self) -> f32 {
        (self.below(65) as f32 - 32.0) / 8.0
    }
}

/// All devices, the one that is named, or the one of a library that was built with a sanitizer.
fn devices() -> Vec<Device> {
    match std::env::var("WINDOWKV_LIBRARY") {
        Ok(path) => vec![library::open(&path).expect("a library of the emulated GPU")],
        Err(_) => devices::devices(),
    }
}

/// Runs `body` on every device of at least this capability for `cases` seeds; a failing seed shrinks. A
/// sanitizer is given a twentieth of them: it makes a run ten to a hundred times as long.
fn check(
    cases: u32,
    capability: u32,
    body: impl Fn(&Device, &mut Random) -> Result<(), TestCaseError>,
) {
    let mut ran = 0;
    for device in devices() {
        if device.capability() < capability {
            continue;
        }
        ran += 1;
        let config = Config {
            cases: if device.name() == "library" {
                cases.div_ceil(20)
            } else {
                cases
            },
            failure_persistence: None,
            ..Config::default()
        };
        TestRunner::new(config)
            .run(&proptest::num::u64::ANY, |seed| {
                device.set_schedule(Schedule { seed, workers: 0 });
                body(&device, &mut Random(seed))
            })
            .unwrap_or_else(|error| panic!("on {device:?}: {error}"));
    }
    if ran == 0 {
        // The emulated GPU can do all: only a named GPU can be too old.
        assert!(devices::only().is_some(), "there is no device");
        eprintln!("skipped, the device is older than sm_{capability}");
    }
}

/// Runs a probe.
fn launch<I: Element, O: Element>(
    device: &Device,
    probe: &Probe,
    input: &Buffer<I>,
    output: &mut Buffer<O>,
) -> Result<(), Error> {
    // SAFETY: every test gives its probe the memory that the probe's comment in cuda/ptx/test asks for.
    unsafe { probe.run(device, input, output) }
}

/// Runs a probe on fresh buffers: what it wrote, NaN patterns where it did not.
fn run<I: Element, O: Element>(
    device: &Device,
    probe: Probe,
    input: &[I],
    outputs: usize,
) -> Result<Vec<O>, TestCaseError> {
    let failed = |error| TestCaseError::fail(format!("{error}"));
    let input = device.upload(input).map_err(failed)?;
    let mut output = device.poisoned(outputs).map_err(failed)?;
    launch(device, &probe, &input, &mut output).map_err(failed)?;
    output.download().map_err(failed)
}
