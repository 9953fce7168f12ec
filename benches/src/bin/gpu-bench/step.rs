//! Running a command as a step of a record.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use windowkv_benches::gpu::command::{End, Running};
use windowkv_benches::record::{Needed, Record, Status, Step};

use super::Place;

/// The exit code after a signal.
const STOPPED: u8 = 130;
/// Characters of a program's output that a record keeps.
const SAID: usize = 2000;

#[derive(Debug, Args)]
pub(super) struct StepArguments {
    #[command(flatten)]
    place: Place,
    /// The step's name; its output goes to logs/NAME.txt beside the record
    name: String,
    /// What its end means for the record
    #[arg(long, value_enum, default_value = "no")]
    needed: Needed,
    /// The only exit code that is a failure; with any other but 0 it could not do its work, and is noted as skipped
    #[arg(long, value_name = "CODE")]
    report: Option<i32>,
    /// Run it only where that step passed
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    /// Seconds after which it is stopped; 0: it is not run, because no time is left
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Do not run it, and note why
    #[arg(long, value_name = "WHY")]
    skip: Option<String>,
    /// The command
    #[arg(last = true, required_unless_present = "skip")]
    command: Vec<String>,
}

impl StepArguments {
    pub(super) fn run(&self) -> Result<ExitCode, String> {
        let path = &self.place.record;
        let before = Record::read(path)?.steps;
        let passed = |name: &str| {
            before
                .iter()
                .any(|s| s.name == name && s.status == Status::Passed)
        };
        if before.iter().any(|step| step.name == self.name) {
            return Err(format!(
                "{}: there is a step {} already",
                path.display(),
                self.name
            ));
        }
        let left_out = match (&self.skip, &self.after) {
            _ if self.limit == 0 => Some("the time was up".to_owned()),
            (Some(why), _) => Some(why.clone()),
            (None, Some(name)) if !passed(name) => Some(format!("the step {name} did not pass")),
            _ => None,
        };
        let wanted = Wanted::until_a_signal()?;
        let started = Instant::now();
        let (status, said) = match left_out {
            Some(why) => (Status::Skipped, why),
            None => self.status(&wanted),
        };
        let seconds = started.elapsed().as_secs_f64();
        let step = Step {
            name: self.name.clone(),
            status,
            needed: self.needed,
            seconds,
            said,
        };
        eprintln!("{}: {status:?} in {seconds:.0} s", self.name);
        if status != Status::Passed {
            eprintln!("{}", step.said.trim_end());
        }
        let broken = match step.needed {
            Needed::ToPass => status != Status::Passed,
            Needed::NotToFail => status == Status::Failed,
            Needed::No => false,
        };
        // The command may have written to it.
        let mut record = Record::read(path)?;
        record.steps.push(step);
        record.write(path)?;
        Ok(if !wanted.still() {
            ExitCode::from(STOPPED)
        } else if broken {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn status(&self, wanted: &Wanted) -> (Status, String) {
        eprintln!("{}: {}", self.name, self.command.join(" "));
        let ended = self.log().and_then(|(path, log)| {
            let running = Running::start(&self.command, &log)?;
            let end = running.wait(Duration::from_secs(self.limit), || !wanted.still())?;
            Ok((end, tail(&path)))
        });
        match ended {
            Ok((End::Itself(status), said)) if status.success() => (Status::Passed, said),
            Ok((End::Itself(status), said)) => {
                let reported = self.report.is_none_or(|code| status.code() == Some(code));
                let said = format!("{status}\n{said}");
                let status = if reported {
                    Status::Failed
                } else {
                    Status::Skipped
                };
                (status, said)
            }
            Ok((End::TimedOut, said)) => (
                Status::TimedOut,
                format!("not over after {} s\n{said}", self.limit),
            ),
            Ok((End::Stopped, said)) => (Status::Failed, format!("stopped by a signal\n{said}")),
            Err(why) => (Status::Skipped, why),
        }
    }

    fn log(&self) -> Result<(PathBuf, File), String> {
        let logs = self.place.record.with_file_name("logs");
        std::fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
        let path = logs.join(format!("{}.txt", self.name));
        let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((path, file))
    }
}

/// Whether the step is to go on.
struct Wanted(Arc<AtomicBool>);

impl Wanted {
    /// Until this process is told to end, or the one that started it has ended.
    fn until_a_signal() -> Result<Self, String> {
        let stopped = Arc::new(AtomicBool::new(false));
        let hang_up = (!ignores_hang_up()).then_some(SIGHUP);
        for signal in [SIGTERM, SIGINT].into_iter().chain(hang_up) {
            signal_hook::flag::register(signal, stopped.clone()).map_err(|e| e.to_string())?;
        }
        set_parent_process_death_signal(Some(Signal::TERM)).map_err(|e| e.to_string())?;
        Ok(Self(stopped))
    }

    fn still(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// Whether it was started by nohup, to go on when its terminal goes.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or_default() & 1 << (SIGHUP - 1) != 0
}

/// The end of a file.
fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let skip = text.chars().count().saturating_sub(SAID);
    text.chars().skip(skip).collect()
}
