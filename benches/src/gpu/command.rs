//! A program with a limit of time, ended with all that it started.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How often a program is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Itself(ExitStatus),
    /// It was killed when its time was up.
    TimedOut,
    /// It was killed because it was no longer wanted.
    Stopped,
}

/// A running program, the leader of a process group of its own. Whatever is left of the group is killed when this is
/// dropped.
pub struct Running {
    child: Child,
    started: Instant,
}

impl Running {
    /// Starts it, with nothing to read and all that it prints in `out`.
    ///
    /// # Errors
    /// Why it could not be run at all.
    pub fn start(command: &[String], out: &File) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("no command")?;
        let system = |error: std::io::Error| format!("{program}: {error}");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(system)?)
            .stderr(out.try_clone().map_err(system)?)
            .process_group(0)
            .spawn()
            .map_err(system)?;
        Ok(Self {
            child,
            started: Instant::now(),
        })
    }

    /// Its exit status, where it has ended.
    ///
    /// # Errors
    /// What the system says.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|error| error.to_string())
    }

    /// Waits for its end, `limit` after its start at the latest, or until `unwanted`.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(mut self, limit: Duration, unwanted: impl Fn() -> bool) -> Result<End, String> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(End::Itself(status));
            }
            if unwanted() {
                return Ok(End::Stopped);
            }
            if self.started.elapsed() >= limit {
                return Ok(End::TimedOut);
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The group may be empty by now.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a command prints, on both outputs.
///
/// # Errors
/// Why there is none: it could not be run, took longer than `limit`, or failed, with what it printed.
pub fn output(command: &[String], limit: Duration) -> Result<String, String> {
    let mut out = tempfile::tempfile().map_err(|error| error.to_string())?;
    let end = Running::start(command, &out)?.wait(limit, || false)?;
    let printed = read(&mut out)?;
    match end {
        End::Itself(status) if status.success() => Ok(printed),
        End::Itself(status) => Err(format!("{status}: {printed}")),
        _ => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// All of a file, from its beginning.
///
/// # Errors
/// What the system says.
pub fn read(file: &mut File) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
