//! Running a kernel's cases on one library, in a process of its own, and reading what came out.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::cases::{self, Verdict};
use crate::emulated::Checks;
use crate::kernels::{KERNELS, Kernel};
use crate::library;
use crate::means::Means;

/// Exit codes of a child.
const WRONG: i32 = 10;
const REPORT: i32 = 11;

/// A child that runs longer than this hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// What one means said about one build.
#[derive(Clone, Debug)]
pub(crate) enum Finding {
    Nothing,
    /// Another means had found the bug.
    Untried,
    Found(String),
    /// It was not built, or its run never ended.
    Failed(String),
}

/// The child's side: runs the cases and tells by the exit code what they showed.
pub(crate) fn child(library: &str, folder: &str, schedules: u64) -> Result<ExitCode, String> {
    let kernel = KERNELS
        .iter()
        .find(|kernel| kernel.folder == folder)
        .ok_or("no such kernel")?;
    let code = match cases::run(&library::open(library)?, kernel, schedules) {
        Verdict::Right => 0,
        Verdict::Wrong(text) => {
            eprintln!("{text}");
            WRONG
        }
        Verdict::Report(text) => {
            eprintln!("{text}");
            REPORT
        }
    };
    // Without the destructors of a library whose kernel may have been abandoned in mid-air.
    // SAFETY: the process ends here.
    unsafe { libc::_exit(code) }
}

/// Runs the cases on a library. For a kernel as it is, whatever is not right is a finding; for a bug, only
/// what this means stands for.
pub(crate) fn examine(
    library: &Path,
    kernel: &Kernel,
    means: Means,
    compiler: &str,
    unchanged: bool,
) -> Result<Finding, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(exe);
    command
        .arg("child")
        .arg(library)
        .args([kernel.folder, &means.schedules.to_string()])
        .envs(means.environment(compiler)?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let (code, text) = run_limited(&mut command)?;
    if unchanged {
        let first_lines = || text.lines().take(12).collect::<Vec<_>>().join("\n    ");
        return Ok(match code {
            Some(0) => Finding::Nothing,
            _ => Finding::Found(first_lines()),
        });
    }
    let found = match means.checks {
        Checks::Plain => code == Some(WRONG),
        Checks::Builtin => code == Some(REPORT),
        Checks::Tsan | Checks::Asan | Checks::Ubsan => text.contains(means.mark),
    };
    let line = text
        .lines()
        .find(|line| line.contains(means.mark) && !line.trim().is_empty());
    Ok(if found {
        Finding::Found(line.unwrap_or("").to_owned())
    } else {
        Finding::Nothing
    })
}

/// The exit code (none when a signal ended it) and what the child said. A child over the limit is an error.
pub(crate) fn run_limited(command: &mut Command) -> Result<(Option<i32>, String), String> {
    let mut child = command
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let mut stderr = child.stderr.take().ok_or("no pipe")?;
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut stderr, &mut text).map(|_| text)
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill().map_err(|error| error.to_string())?;
            return Err(format!("{command:?} hangs"));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = reader
        .join()
        .map_err(|_| "the reader of its output panicked")?
        .map_err(|error| error.to_string())?;
    Ok((status.code(), String::from_utf8_lossy(&text).into_owned()))
}
