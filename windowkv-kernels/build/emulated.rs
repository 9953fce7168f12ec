//! What the emulated GPU is built from: sources, include folders and flags, for `build.rs` and for the
//! tool that builds it with sanitizers and planted bugs.

// Each of the two users needs its part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// Which checks a build of the emulated GPU carries; each has a folder in `cuda/simt/checks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checks {
    /// The emulator's own: kernels report each plain access to the shadow of shared memory.
    Builtin,
    /// None but those of the instructions.
    Plain,
    /// ThreadSanitizer.
    Tsan,
    /// AddressSanitizer.
    Asan,
    /// UndefinedBehaviorSanitizer, over the plain checks.
    Ubsan,
}

impl Checks {
    /// The folder of its `simt_checks.h`.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Checks::Builtin => "builtin",
            Checks::Plain | Checks::Ubsan => "plain",
            Checks::Tsan => "tsan",
            Checks::Asan => "asan",
        }
    }

    /// Flags for the kernels.
    pub(crate) fn kernel_flags(self) -> &'static [&'static str] {
        match self {
            // The calls that this inserts come to cuda/simt/hooks.cpp, not to ThreadSanitizer.
            Checks::Builtin | Checks::Tsan => &["-fsanitize=thread"],
            Checks::Plain => &[],
            Checks::Asan => &["-fsanitize=address"],
            Checks::Ubsan => &["-fsanitize=undefined", "-fno-sanitize-recover=all"],
        }
    }

    /// Flags for the emulator itself. ThreadSanitizer may not see the scheduler.
    pub(crate) fn runtime_flags(self) -> &'static [&'static str] {
        match self {
            Checks::Builtin | Checks::Plain | Checks::Tsan => &[],
            Checks::Asan | Checks::Ubsan => self.kernel_flags(),
        }
    }
}

/// Flags of every file. `#pragma unroll` is nvcc's; -Wpsabi tells of an ABI change in gcc 4.6.
pub(crate) const COMMON_FLAGS: &[&str] = &["-Wno-unknown-pragmas", "-Wno-psabi"];

/// The include folders.
pub(crate) fn includes(root: &Path, checks: Checks) -> Vec<PathBuf> {
    vec![
        root.to_path_buf(),
        root.join("include"),
        root.join("simt/checks").join(checks.folder()),
    ]
}

/// The files of a build.
pub(crate) struct Sources {
    /// The emulator.
    pub(crate) runtime: Vec<PathBuf>,
    /// The kernels: every `emulate.cpp`, and what shares their instrumentation.
    pub(crate) kernels: Vec<PathBuf>,
    /// The fiber switch of the target.
    pub(crate) assembly: PathBuf,
}

impl Sources {
    /// Finds the files under `root` (the folder `cuda`) for a target architecture.
    pub(crate) fn find(root: &Path, architecture: &str, checks: Checks) -> Sources {
        let mut runtime = files(&root.join("simt"), ".cpp");
        if checks != Checks::Builtin {
            runtime.retain(|file| !file.ends_with("hooks.cpp"));
        }
        runtime.extend(files(&root.join("ptx/host"), ".cpp"));
        runtime.extend(files(&root.join("common"), ".cpp"));
        let mut kernels = Vec::new();
        find_named(root, "emulate.cpp", &mut kernels);
        kernels.extend(files(&root.join("simt/test"), ".cpp"));
        kernels.push(root.join("machines/emulated.cpp"));
        kernels.sort();
        Sources {
            runtime,
            kernels,
            assembly: root.join(format!("simt/fiber_{architecture}.S")),
        }
    }
}

/// The files of one folder whose names end so, sorted.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    found.sort();
    found
}

/// All files of a name under a folder.
pub(crate) fn find_named(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_named(&path, name, found);
        } else if path.file_name().is_some_and(|n| n == name) {
            found.push(path);
        }
    }
}
