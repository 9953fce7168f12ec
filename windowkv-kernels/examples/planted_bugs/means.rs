//! The means that may find a bug: which checks the kernels are built with, and what shows a finding.

use std::path::PathBuf;
use std::process::Command;

use crate::emulated::Checks;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Means {
    pub(crate) checks: Checks,
    /// The head of its column.
    pub(crate) title: &'static str,
    /// Its name in paths and arguments.
    pub(crate) key: &'static str,
    /// Schedules that the cases run under.
    pub(crate) schedules: u64,
    /// gcc's run-time library that has to be there before anything else.
    preload: Option<&'static str>,
    /// How the sanitizer's reports are known.
    pub(crate) mark: &'static str,
}

/// The columns of the table.
pub(crate) const MEANS: [Means; 5] = [
    Means {
        checks: Checks::Plain,
        title: "wrong result",
        key: "plain",
        schedules: 12,
        preload: None,
        mark: "",
    },
    Means {
        checks: Checks::Builtin,
        title: "emulator",
        key: "builtin",
        schedules: 12,
        preload: None,
        mark: "",
    },
    Means {
        checks: Checks::Tsan,
        title: "TSan",
        key: "tsan",
        schedules: 3,
        preload: Some("libtsan.so"),
        mark: "ThreadSanitizer",
    },
    Means {
        checks: Checks::Asan,
        title: "ASan",
        key: "asan",
        schedules: 3,
        preload: Some("libasan.so"),
        mark: "AddressSanitizer",
    },
    Means {
        checks: Checks::Ubsan,
        title: "UBSan",
        key: "ubsan",
        schedules: 12,
        preload: None,
        mark: "runtime error",
    },
];

impl Means {
    /// By its name.
    pub(crate) fn named(key: &str) -> Result<Means, String> {
        let names = MEANS.map(|means| means.key).join(", ");
        let found = MEANS.into_iter().find(|means| means.key == key);
        found.ok_or_else(|| format!("{key:?} is none of {names}"))
    }

    /// The environment of a program that opens a library built so.
    pub(crate) fn environment(
        &self,
        compiler: &str,
    ) -> Result<Vec<(&'static str, String)>, String> {
        // The emulator itself is not instrumented for TSan: what it does inside memcpy and malloc is not the
        // kernel's.
        let mut variables = vec![
            (
                "TSAN_OPTIONS",
                "halt_on_error=1:exitcode=66:ignore_interceptors_accesses=1".to_owned(),
            ),
            (
                "ASAN_OPTIONS",
                "detect_leaks=0:detect_stack_use_after_return=0:exitcode=67".to_owned(),
            ),
            ("UBSAN_OPTIONS", "print_stacktrace=0".to_owned()),
        ];
        if let Some(name) = self.preload {
            let output = Command::new(compiler)
                .arg(format!("-print-file-name={name}"))
                .output()
                .map_err(|error| format!("{compiler}: {error}"))?;
            let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
            if !path.is_file() {
                return Err(format!(
                    "{compiler} has no {name}: gcc's sanitizers are needed"
                ));
            }
            variables.push(("LD_PRELOAD", path.display().to_string()));
        }
        Ok(variables)
    }
}
