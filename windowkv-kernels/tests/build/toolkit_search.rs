//! The order in which nvcc is looked for, and what is said when it is missing or too old.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::toolkit::Toolkit;

const VERSION: &str = "Cuda compilation tools, release 13.0, V13.0.88";

/// A machine with toolkits in some places.
struct Machine {
    folder: TempDir,
    variables: BTreeMap<&'static str, OsString>,
}

impl Machine {
    fn new() -> Machine {
        Machine {
            folder: tempfile::tempdir().expect("a folder"),
            variables: BTreeMap::new(),
        }
    }

    fn path(&self, place: &str) -> PathBuf {
        self.folder.path().join(place)
    }

    /// A toolkit whose nvcc says `version`, and the path of that nvcc.
    fn install(&self, place: &str, version: &str) -> PathBuf {
        let home = self.path(place);
        write(&home.join("lib/libcudart_static.a"), "");
        let nvcc = home.join("bin/nvcc");
        write(
            &nvcc,
            &format!("#!/bin/sh\necho 'nvcc: NVIDIA (R) Cuda compiler driver'\necho '{version}'\n"),
        );
        fs::set_permissions(&nvcc, fs::Permissions::from_mode(0o755)).expect("a script");
        nvcc
    }

    fn set(&mut self, variable: &'static str, value: impl Into<OsString>) {
        self.variables.insert(variable, value.into());
    }

    fn find(&self) -> Result<Toolkit, String> {
        loop {
            let found = Toolkit::find(
                |name| self.variables.get(name).cloned(),
                &[self.path("usual"), self.path("unusual")],
            );
            // A child that another test is about to start holds the script open for writing until it has begun.
            match found {
                Err(text) if text.contains("Text file busy") => std::thread::yield_now(),
                found => return found,
            }
        }
    }

    fn found(&self) -> PathBuf {
        self.find().expect("a toolkit").nvcc
    }

    fn error(&self) -> String {
        let error = self.find().expect_err("no toolkit");
        for word in [
            "Install the CUDA toolkit (12.4 or later)",
            ".ci/cuda-toolkit.sh",
            "NVCC, CUDA_HOME, PATH",
        ] {
            assert!(error.contains(word), "{error}");
        }
        error
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

#[test]
fn each_place_comes_before_the_next() {
    let mut machine = Machine::new();
    let venv_nvcc = machine.install("venv/lib/python3.11/site-packages/nvidia/cu13", VERSION);
    machine.set("VIRTUAL_ENV", machine.path("venv"));
    assert_eq!(machine.found(), venv_nvcc);

    let unusual = machine.install("unusual", VERSION);
    assert_eq!(machine.found(), unusual);
    let usual = machine.install("usual", VERSION);
    assert_eq!(machine.found(), usual);

    let second = machine.install("second", VERSION);
    let path =
        std::env::join_paths(["empty", "first/bin", "second/bin"].map(|place| machine.path(place)));
    machine.set("PATH", path.expect("no colon in it"));
    assert_eq!(machine.found(), second);
    let first = machine.install("first", VERSION);
    assert_eq!(machine.found(), first);

    // A home without a compiler, as a run-time installation has it, is passed over.
    machine.set("CUDA_HOME", machine.path("home"));
    assert_eq!(machine.found(), first);
    let home = machine.install("home", VERSION);
    assert_eq!(machine.found(), home);

    let named = machine.install("named", VERSION);
    machine.set("NVCC", &named);
    let toolkit = machine.find().expect("a toolkit");
    assert_eq!(toolkit.nvcc, named);
    assert_eq!(toolkit.libraries, machine.path("named/lib"));
    assert!(toolkit.version.contains("13.0.88"));
}

#[test]
fn a_missing_nvcc_is_an_error_that_says_how_to_install_it() {
    let mut machine = Machine::new();
    assert!(
        machine
            .error()
            .starts_with("the feature `cuda` needs nvcc.")
    );
    // Not set, for a shell.
    machine.set("NVCC", "");
    machine.set("CUDA_HOME", "");
    assert!(
        machine
            .error()
            .starts_with("the feature `cuda` needs nvcc.")
    );
    machine.set("NVCC", machine.path("nowhere"));
    machine.install("usual", VERSION);
    assert!(machine.error().contains("nowhere, which is no file"));
}

#[test]
fn an_old_nvcc_is_an_error_that_names_both_versions() {
    let machine = Machine::new();
    for (version, fits) in [
        ("release 11.8, V11.8.89", false),
        ("release 12.3, V12.3.107", false),
        ("release 12.4, V12.4.99", true),
        ("release 12.10, V12.10.1", true),
        ("release 14.0, V14.0.1", true),
    ] {
        let nvcc = machine.install("usual", version);
        if fits {
            assert_eq!(machine.found(), nvcc, "{version}");
        } else {
            let error = machine.error();
            let number = version.split([' ', ',']).nth(1).expect("a number");
            assert!(
                error.contains(&format!("{} is version {number}", nvcc.display())),
                "{error}"
            );
            assert!(error.contains("oldest that works is 12.4"), "{error}");
        }
    }
    machine.install("usual", "something else");
    assert!(machine.error().contains("names no release"));
}

#[test]
fn an_nvcc_that_does_not_start_or_lacks_its_library_is_an_error() {
    let machine = Machine::new();
    let nvcc = machine.install("usual", VERSION);
    fs::remove_file(machine.path("usual/lib/libcudart_static.a")).expect("a file");
    assert!(machine.error().contains("libcudart_static.a is not beside"));
    fs::set_permissions(&nvcc, fs::Permissions::from_mode(0o644)).expect("a file");
    assert!(machine.error().contains("nvcc --version: "));
}

#[test]
fn a_link_to_nvcc_leads_to_its_library() {
    let mut machine = Machine::new();
    let nvcc = machine.install("real", VERSION);
    fs::create_dir_all(machine.path("bin")).expect("a folder");
    symlink(nvcc, machine.path("bin/nvcc")).expect("a link");
    machine.set("PATH", machine.path("bin"));
    let toolkit = machine.find().expect("a toolkit");
    assert_eq!(toolkit.nvcc, machine.path("bin/nvcc"));
    assert!(toolkit.libraries.ends_with("real/lib"));
}
