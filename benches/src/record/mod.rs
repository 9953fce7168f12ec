//! What was measured on a GPU: the form of `benches/record/<device>/<date>-<topic>.json`, and what is made of it.
//!
//! ```text
//! this file  the form
//! check      whether a record holds together, and whether it may be called valid
//! table      a record as Markdown
//! roofline   a record as a picture
//! compare    two records: what became faster or slower beyond the noise
//! readme     the section of README.md that shows the newest records
//! ```

mod check;
pub mod compare;
pub mod readme;
pub mod roofline;
pub mod table;

pub use check::REQUIRED_STEPS;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of rotated memory below which a launch may find its inputs in the L2 cache: twice that of the largest GPU so far.
const COLD_BYTES: u64 = 256 << 20;

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
    /// Driver, the nvcc and rustc that built the programs, PyTorch and so on, as they name themselves.
    pub versions: Value,
    /// nvidia-smi, uname and the like, as they came, before and after.
    pub raw: Vec<Raw>,
    /// Whether every check was made and passed: false until the run's end. A record that is not valid is no evidence of
    /// anything.
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
    /// It was not run, or could not do its work here.
    Skipped,
}

/// What a step's end means for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Needed {
    /// The record is invalid unless the step passes.
    ToPass,
    /// The record is invalid when the step fails; it may be skipped or run out of time.
    NotToFail,
    /// Nothing.
    No,
}

/// A command of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name; its output is `logs/<name>.txt` beside the record.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What its end means for the record.
    pub needed: Needed,
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
    /// Of a large copy of random bytes, read plus written.
    pub copy_bytes_per_second: f64,
    /// Of a bf16 product of 8,192 x 8,192 x 8,192 random numbers, by cuBLASLt or else by PyTorch; nothing where neither
    /// is at hand.
    pub product_operations_per_second: Option<f64>,
}

impl Ceilings {
    /// Seconds that no version runs much faster than: those of moving `bytes` (read plus written) or of `operations`
    /// of matrix products, whichever are more. Nothing where there are operations and their rate is not known.
    pub fn floor_seconds(&self, bytes: u64, operations: u64) -> Option<f64> {
        let moved = bytes as f64 / self.copy_bytes_per_second;
        if operations == 0 {
            return Some(moved);
        }
        let rate = self.product_operations_per_second?;
        Some(moved.max(operations as f64 / rate))
    }
}

/// The GPU as `nvidia-smi` has it while a kernel runs again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// Of the multiprocessors.
    pub sm_mhz: f64,
    /// Of the memory.
    pub memory_mhz: f64,
    /// Drawn.
    pub watts: f64,
    /// Of the GPU.
    pub celsius: f64,
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
    /// Copies of the memory that they take turns with; some tensors may be shared (a weight, positions).
    pub copies: usize,
    /// The fewest bytes that can be moved.
    pub bytes: u64,
    /// Operations of matrix products.
    pub operations: u64,
    /// The time that bytes and operations take at the ceilings of the begin.
    pub floor_seconds: Option<f64>,
    /// The floor over our time: 1 cannot be beaten.
    pub part_of_floor: Option<f64>,
    /// The GPU under this load, after the last round.
    pub clocks: Option<Clocks>,
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

    /// Whether all copies together are so small that they may stay in the L2 cache.
    pub fn is_l2_warm(&self) -> bool {
        self.copies as u64 * self.bytes < COLD_BYTES
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

    /// Notes what was not run, once.
    pub fn skip(&mut self, what: &str, why: &str) {
        let skipped = Skipped {
            what: what.to_owned(),
            why: why.to_owned(),
        };
        if !self.skipped.contains(&skipped) {
            self.skipped.push(skipped);
        }
    }

    /// Writes it, and beside it as `.md` its [table](table::whole), each whole or not at all.
    ///
    /// # Errors
    /// What the system says, with the file's name.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).expect("a record has text keys") + "\n";
        write_whole(path, &text)?;
        write_whole(&path.with_extension("md"), &table::whole(self))
    }
}

fn write_whole(path: &Path, text: &str) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_slower_of_both_and_unknown_without_a_rate() {
        let ceilings = |copy_bytes_per_second, product_operations_per_second| Ceilings {
            when: "begin".to_owned(),
            copy_bytes_per_second,
            product_operations_per_second,
        };
        assert_eq!(
            ceilings(1e3, Some(1e3)).floor_seconds(4000, 1000),
            Some(4.0)
        );
        assert_eq!(
            ceilings(1e6, Some(1e2)).floor_seconds(4000, 1000),
            Some(10.0)
        );
        assert_eq!(ceilings(1e3, None).floor_seconds(4000, 0), Some(4.0));
        // Of a product only the bytes would be known, and a share of them would flatter.
        assert_eq!(ceilings(1e3, None).floor_seconds(4000, 1), None);
    }
}
