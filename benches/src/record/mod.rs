//! What was measured on a GPU: the form of `benches/record/<device>/<date>-<topic>.json`, and what is made of it.
//!
//! ```text
//! this file  the form, and whether a record holds together
//! table      a record as Markdown
//! compare    two records: what became faster or slower beyond the noise
//! readme     the section of README.md that shows the newest record
//! ```
//! The roofline is drawn by `windowkv_model::evaluation::picture`.

pub mod compare;
pub mod readme;
pub mod table;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name and version of the form.
pub const SCHEMA: &str = "windowkv-gpu-record/1";

/// A record. Fields that are not known are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// What it is of, such as `kernels`.
    pub topic: String,
    /// Numbers that nobody measured: for tests of this form alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub synthetic: bool,
    /// When it was begun, UTC, RFC 3339.
    pub date: String,
    /// Of the sources that the programs were built from.
    pub commit: String,
    /// The GPU's name, `emulated` for the emulated one.
    pub device: String,
    /// Driver, nvcc, PyTorch and so on, as they name themselves.
    pub versions: Value,
    /// nvidia-smi, uname and the like, as they came, before and after.
    pub raw: Vec<Raw>,
    /// Whether every check passed. A record that is not valid is no evidence of anything.
    pub valid: bool,
    /// Checks and other commands, in their order.
    pub steps: Vec<Step>,
    /// At the beginning and the end.
    pub ceilings: Vec<Ceilings>,
    /// One for each kernel and size.
    pub lines: Vec<Line>,
    /// What was to be run and was not.
    pub skipped: Vec<Skipped>,
    /// Predictions and what came of them, and whatever else should be known.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What a program printed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The command.
    pub command: String,
    /// What it printed, or why it did not run.
    pub output: String,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// With 0.
    Passed,
    /// With something else.
    Failed,
    /// Not before its time was up.
    TimedOut,
    /// It was not run.
    Skipped,
}

/// A command of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name; its output is `logs/<name>.txt` beside the record.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// Whether the record is invalid unless it passes.
    pub required: bool,
    /// How long it took.
    pub seconds: f64,
    /// The last lines of its output, or why it was not run.
    pub said: String,
}

/// What the machine can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceilings {
    /// `begin` or `end` of the run.
    pub when: String,
    /// Of a copy of 1 GiB, read plus written.
    pub copy_bytes_per_second: f64,
    /// Of a bf16 product of 8,192 x 8,192 x 8,192 by PyTorch, where it is at hand.
    pub product_operations_per_second: Option<f64>,
}

/// Seconds of one launch, round by round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// The median of the rounds.
    pub seconds: f64,
    /// In their order; each is the mean of many launches.
    pub rounds: Vec<f64>,
}

impl Times {
    /// Of some rounds, one at least.
    ///
    /// # Panics
    /// Without a round.
    pub fn new(rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let seconds = if sorted.len().is_multiple_of(2) {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        } else {
            sorted[middle]
        };
        Self { seconds, rounds }
    }

    /// The least and the most of the rounds.
    pub fn range(&self) -> (f64, f64) {
        let fold = |f: fn(f64, f64) -> f64, start| self.rounds.iter().copied().fold(start, f);
        (fold(f64::min, f64::INFINITY), fold(f64::max, 0.0))
    }
}

/// A peer's times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTimes {
    /// The peer.
    pub name: String,
    /// Its time over ours: above 1, ours is faster.
    pub ratio: f64,
    /// Its times.
    pub times: Times,
}

/// One kernel at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The kernel.
    pub kernel: String,
    /// The model whose layer it is.
    pub model: String,
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub seqlen: usize,
    /// Of the tensors.
    pub dtype: String,
    /// Launches of a round.
    pub launches: usize,
    /// Copies of the memory that they take turns with.
    pub copies: usize,
    /// The fewest bytes that can be moved.
    pub bytes: u64,
    /// Operations of matrix products.
    pub operations: u64,
    /// The time that bytes and operations take at the ceilings.
    pub floor_seconds: Option<f64>,
    /// The floor over our time: 1 cannot be beaten.
    pub part_of_floor: Option<f64>,
    /// Our times.
    pub ours: Times,
    /// Those of the peers that could run it.
    pub peers: Vec<PeerTimes>,
}

impl Line {
    /// What tells it from the other lines of a record.
    pub fn name(&self) -> String {
        format!(
            "{} {} {}x{} {}",
            self.kernel, self.model, self.batch, self.seqlen, self.dtype
        )
    }

    /// The fastest peer.
    pub fn best_peer(&self) -> Option<&PeerTimes> {
        self.peers.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio))
    }
}

/// Something that was not run, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Record {
    /// Reads a record and [checks](Self::check) it.
    ///
    /// # Errors
    /// What is wrong with it, with the file's name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let wrong = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let record: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        record.check().map_err(wrong)?;
        Ok(record)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// What the system says, with the file's name.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).expect("a record has text keys") + "\n";
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let written = tempfile::Builder::new()
            .permissions(PermissionsExt::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.persist(path).map_err(|error| error.error)
            });
        written
            .map(|_| ())
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Whether it holds together: the form's name, times that are times, medians and ratios that follow from the
    /// rounds, no line twice, and `valid` only where every required step passed.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("schema is {:?}, not {SCHEMA:?}", self.schema));
        }
        if humantime::parse_rfc3339(&self.date).is_err() {
            return Err(format!("date is {:?}, not of RFC 3339", self.date));
        }
        let passed = |step: &Step| !step.required || step.status == Status::Passed;
        if let Some(step) = self.steps.iter().find(|step| self.valid && !passed(step)) {
            return Err(format!("valid, but the step {} did not pass", step.name));
        }
        for ceilings in &self.ceilings {
            let product = ceilings.product_operations_per_second.unwrap_or(1.0);
            if !(ceilings.copy_bytes_per_second > 0.0 && product > 0.0) {
                return Err(format!("a ceiling is not above 0: {ceilings:?}"));
            }
        }
        let mut names: Vec<String> = self.lines.iter().map(Line::name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two lines for {}", twice[0]));
        }
        for line in &self.lines {
            let wrong = |what: String| format!("{}: {what}", line.name());
            check_times(&line.ours).map_err(wrong)?;
            if line.bytes == 0 {
                return Err(wrong("no bytes".to_owned()));
            }
            if let (Some(floor), Some(part)) = (line.floor_seconds, line.part_of_floor) {
                check_close("part_of_floor", part, floor / line.ours.seconds).map_err(wrong)?;
            }
            for peer in &line.peers {
                check_times(&peer.times).map_err(|what| wrong(format!("{}: {what}", peer.name)))?;
                check_close("ratio", peer.ratio, peer.times.seconds / line.ours.seconds)
                    .map_err(|what| wrong(format!("{}: {what}", peer.name)))?;
            }
        }
        Ok(())
    }
}

fn check_times(times: &Times) -> Result<(), String> {
    if times.rounds.is_empty() || times.rounds.iter().any(|s| !(*s > 0.0 && s.is_finite())) {
        return Err(format!("rounds are {:?}", times.rounds));
    }
    check_close(
        "the median",
        times.seconds,
        Times::new(times.rounds.clone()).seconds,
    )
}

fn check_close(what: &str, found: f64, expected: f64) -> Result<(), String> {
    if (found - expected).abs() <= 1e-6 * expected.abs() {
        Ok(())
    } else {
        Err(format!("{what} is {found}, its numbers give {expected}"))
    }
}
