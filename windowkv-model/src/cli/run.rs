//! What the commands that evaluate have in common: the folder of the run, and its progress.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::terminal::{progress, say};
use crate::Result;
use crate::evaluation::fingerprint::{self, Fingerprint};
use crate::evaluation::run::{Case, Plan, Run, Shard, Start};

/// Time between two lines of progress where there is no terminal for a bar, as in the log of a batch job.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// The folder of a run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run folder")]
pub(super) struct RunArgs {
    /// Folder of the run, made if it does not exist [default: named after the command]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on where the run in the folder stopped; begin if there is none
    #[arg(long)]
    resume: bool,
    /// Do part I of N alone; `windowkv merge` joins the folders of all parts
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE)]
    shard: Shard,
}

impl RunArgs {
    /// The folder that the user gave.
    pub(super) fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    /// The folder of a run of `command`.
    pub(super) fn dir(&self, command: &str) -> PathBuf {
        self.out
            .clone()
            .unwrap_or_else(|| format!("{command}-run").into())
    }

    /// Begins or resumes the run of `command` and does what is missing of `plan`, with progress on standard error.
    /// `settings` is everything that the records depend on, `labels` are names for people; `work` as in [`Run::work`].
    ///
    /// # Errors
    /// As [`Run::open`] and [`Run::work`].
    pub(super) fn execute<C: Case, R: Serialize + DeserializeOwned>(
        &self,
        command: &'static str,
        settings: Value,
        labels: Map<String, Value>,
        plan: &Plan<C>,
        work: &mut dyn FnMut(&[&C]) -> Result<Vec<R>>,
    ) -> Result<Run<R>> {
        let dir = self.dir(command);
        let start = Start {
            command,
            settings,
            labels,
            shard: self.shard,
            resume: self.resume,
        };
        let mut run = Run::open(&dir, start, plan)?;
        for note in run.notes() {
            say(&format!("note: {note}"));
        }
        let mut progress = Progress::new(&dir, run.done(), run.manifest().shard_cases);
        let done = run.work(plan, work, &mut |done| progress.set(done));
        progress.end();
        done?;
        Ok(run)
    }
}

/// SHA-256 of a model's files, with a bar while it is computed.
///
/// # Errors
/// As [`Fingerprint::sha256`].
pub(super) fn sha256(fingerprint: &Fingerprint) -> Result<String> {
    let bar = progress("reading the model's files", fingerprint.bytes());
    let sha256 = fingerprint.sha256(&|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    sha256
}

/// The name of a model for people.
pub(super) fn labels(model_dir: Option<&Path>) -> Map<String, Value> {
    Map::from_iter([("model".to_owned(), fingerprint::name(model_dir).into())])
}

/// How far a run is: a bar on a terminal, else a line from time to time.
struct Progress {
    bar: ProgressBar,
    begun: Instant,
    told: Instant,
    before: usize,
    all: usize,
}

impl Progress {
    /// A run of `all` cases in `dir`, of which `before` are done already.
    fn new(dir: &Path, before: usize, all: usize) -> Self {
        if before > 0 {
            say(&format!(
                "{}: {before} of {all} cases are done",
                dir.display()
            ));
        }
        let bar = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("[{bar:40}] {pos} of {len} cases, {eta} left")
                .expect("a template that a test has drawn")
                .progress_chars("=> ");
            ProgressBar::new(all as u64)
                .with_style(style)
                .with_position(before as u64)
        } else {
            ProgressBar::hidden()
        };
        // What an earlier process did says nothing about this one's speed.
        bar.reset_eta();
        let now = Instant::now();
        Self {
            bar,
            begun: now,
            told: now,
            before,
            all,
        }
    }

    fn set(&mut self, done: usize) {
        self.bar.set_position(done as u64);
        if self.bar.is_hidden() && self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            let left = time_left(self.begun.elapsed(), done - self.before, self.all - done);
            say(&format!(
                "{done} of {} cases, {} left",
                self.all,
                humantime::format_duration(left)
            ));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Time for `left` more cases when `done` took `elapsed`, in whole seconds.
fn time_left(elapsed: Duration, done: usize, left: usize) -> Duration {
    let seconds = elapsed.as_secs_f64() * left as f64 / done.max(1) as f64;
    Duration::from_secs(seconds.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_cases_of_this_process() {
        let left = time_left(Duration::from_secs(60), 12, 30);
        assert_eq!(left, Duration::from_secs(150));
        assert_eq!(humantime::format_duration(left).to_string(), "2m 30s");
    }

    #[test]
    fn the_bar_is_drawn() {
        let mut progress = Progress::new(Path::new("run"), 0, 2);
        progress.set(1);
        progress.set(2);
        progress.end();
        assert_eq!(progress.bar.position(), 2);
    }
}
