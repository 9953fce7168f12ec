//! The emulated GPU's reports: each planted fault is told with its file and line, on every schedule.

use windowkv_kernels::probe::{Probe, Tensor};
use windowkv_kernels::{Device, Error, Schedule};

const SOURCE: &str = include_str!("../../../cuda/simt/test/faults.cpp");

/// The lines of the statements after the comments `// report NAME`.
fn lines_of(name: &str) -> Vec<usize> {
    let mark = format!("// report {name}");
    let lines: Vec<&str> = SOURCE.lines().collect();
    let mut found = Vec::new();
    for start in (0..lines.len()).filter(|&i| lines[i].trim() == mark) {
        for (number, line) in lines.iter().enumerate().skip(start + 1) {
            found.push(number + 1);
            if line.ends_with([';', '{']) {
                break;
            }
        }
    }
    found
}

/// The names in the table of faults, in its order.
fn names() -> Vec<String> {
    let table = SOURCE
        .split("kFaults[]")
        .nth(1)
        .expect("the table is there");
    table
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let call = line.strip_prefix("WKV_FAULT(");
            let plain = line.strip_prefix("{\"");
            let rest = call.or(plain)?;
            Some(rest.split([',', '"']).next()?.to_owned())
        })
        .collect()
}

fn report(name: &str, seed: u64) -> Error {
    let device = Device::emulated();
    device.set_schedule(Schedule { seed, workers: 1 });
    let input = device.upload(&[0u8; 1024]).expect("memory");
    let mut output = device.poisoned::<u8>(1024).expect("memory");
    let tensor = Tensor {
        element: 2,
        swizzle: 0,
        fill_nan: false,
        of_output: name.starts_with("tma_store"),
        size: vec![4, 64],
        stride_bytes: vec![0, 16],
        box_size: vec![4, 64],
    };
    let blocks = if name.starts_with("cluster") { 2 } else { 1 };
    crate::launch(
        &device,
        &Probe::new(name).blocks(blocks).tensor(tensor),
        &input,
        &mut output,
    )
    .expect_err(&format!("{name} with seed {seed} must be reported"))
}

#[test]
fn every_fault_is_reported_at_its_line() {
    let names = names();
    assert!(names.len() >= 35, "the table has {} faults", names.len());
    for name in names {
        let lines = lines_of(&name);
        assert!(!lines.is_empty(), "{name} has no marked line");
        let seeds = if name == "livelock" { 1 } else { 25 };
        for seed in 0..seeds {
            let Error::Emulator(text) = report(&name, seed) else {
                panic!("{name} is another kind of error");
            };
            let at_a_marked_line = lines
                .iter()
                .any(|line| text.starts_with(&format!("test/faults.cpp:{line}: ")));
            assert!(
                at_a_marked_line,
                "{name} (seed {seed}) is reported elsewhere than at {lines:?}: {text}"
            );
        }
    }
}

#[test]
fn a_deadlock_names_all_that_wait() {
    let text = report("deadlock_of_two", 3).to_string();
    for part in [
        "schedule seed 3)",
        "deadlock",
        "warp 0",
        "warp 1",
        "barrier 1",
        "barrier 2",
        "32 of 64",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn a_schedule_repeats() {
    let texts: Vec<String> = (0..40)
        .map(|seed| report("race_without_barrier", seed).to_string())
        .collect();
    for (seed, text) in texts.iter().enumerate() {
        assert_eq!(
            *text,
            report("race_without_barrier", seed as u64).to_string()
        );
    }
    assert!(
        texts
            .iter()
            .any(|text| text.split(" of block").next() != texts[0].split(" of block").next()),
        "other seeds run other interleavings"
    );
}

#[test]
fn launches_that_a_gpu_refuses_are_refused() {
    let device = Device::emulated();
    let input = device.upload(&[0u8; 16]).expect("memory");
    let mut output = device.poisoned::<u8>(16).expect("memory");
    let error = crate::launch(
        &device,
        &Probe::new("cluster").blocks(6),
        &input,
        &mut output,
    )
    .expect_err("6 blocks are no multiple of a cluster of 4");
    assert!(
        error.to_string().contains("multiple of the cluster"),
        "{error}"
    );
    let error = crate::launch(
        &device,
        &Probe::new("shuffle").blocks(0),
        &input,
        &mut output,
    )
    .expect_err("an empty grid");
    assert!(error.to_string().contains("empty"), "{error}");
    let error = crate::launch(&device, &Probe::new("no such probe"), &input, &mut output)
        .expect_err("an unknown name");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
}
