//! What can go wrong with the folder of a run.

use std::path::PathBuf;

use super::Shard;

/// A folder that cannot be begun, resumed or merged. Whatever it holds is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// `--shard` is not a part of a whole.
    #[error("shard {value:?}: it must be i/n with i from 1 to n, such as 2/4")]
    Shard {
        /// The text.
        value: String,
    },
    /// The settings leave no case.
    #[error("the settings leave no case to run; give at least one of everything")]
    Empty,
    /// Two cases of a plan are the same.
    #[error("the case {id} comes twice; leave the repeated value out")]
    DuplicateCase {
        /// The case.
        id: String,
    },
    /// The folder that shards are joined in has something in it.
    #[error("{} is not empty; join the shards in a new folder", dir.display())]
    FolderTaken {
        /// The folder.
        dir: PathBuf,
    },
    /// A new run would go into a folder that has something in it.
    #[error("{} is not empty; give --resume to go on with its run, or another folder", dir.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// There are records and nothing says what they are of.
    #[error("{} has records and no manifest.json, so what they belong to is not known; take another folder", dir.display())]
    ManifestMissing {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder is not that of a run.
    #[error("{} is not the folder of a run: it has no manifest.json", dir.display())]
    NotARun {
        /// The folder.
        dir: PathBuf,
    },
    /// A manifest was changed after it was written.
    #[error("{}: the hash does not fit the settings, so the file was changed; take the original back or start anew", path.display())]
    ManifestChanged {
        /// The manifest.
        path: PathBuf,
    },
    /// A manifest of another version of the format.
    #[error("{}: format {format}; this program reads format {supported}", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The format that is read.
        supported: u32,
    },
    /// The folder is that of another command's run.
    #[error("{} is the folder of a run of `{found}`, not of `{expected}`; give the folder of one", dir.display())]
    OtherCommand {
        /// The folder.
        dir: PathBuf,
        /// The command that its manifest names.
        found: String,
        /// The command whose run is needed.
        expected: &'static str,
    },
    /// A run was begun with other settings.
    #[error(
        "{} was begun with other settings, and records of both must not mix: {}; repeat its settings or take another folder",
        dir.display(), differences.join(", ")
    )]
    SettingsDiffer {
        /// The folder.
        dir: PathBuf,
        /// What differs: name, value there, value now.
        differences: Vec<String>,
    },
    /// Another process works in the folder.
    #[error("{} is in use by another process; wait for it or stop it", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A record that the plan has no place for.
    #[error("{}, line {line}: case {case} ({id}) is not one of this run's; take the file's original back", path.display())]
    StrangeRecord {
        /// The records.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The case's number, from 0.
        case: usize,
        /// The case's id.
        id: String,
    },
    /// A case that was recorded twice.
    #[error("{}, line {line}: case {case} ({id}) was recorded before; delete one of the two lines", path.display())]
    RepeatedRecord {
        /// The records.
        path: PathBuf,
        /// The second line, from 1.
        line: usize,
        /// The case's number, from 0.
        case: usize,
        /// The case's id.
        id: String,
    },
    /// A record is longer than is read back.
    #[error("the record of case {id} has {len} bytes; at most {limit} are written")]
    RecordTooLong {
        /// The case's id.
        id: String,
        /// The length of its line in bytes.
        len: usize,
        /// The greatest length that is accepted.
        limit: usize,
    },
    /// The disk is full, or failed.
    #[error(
        "cannot write to {}: {source}; the {finished} cases before are safe: mend it and go on with --resume", path.display()
    )]
    Write {
        /// The records.
        path: PathBuf,
        /// Cases that are on the disk.
        finished: usize,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A folder to merge has a last line without end.
    #[error("{}, line {line}: torn, its run was interrupted; finish it with --resume", path.display())]
    Torn {
        /// The records.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Two folders to merge are not parts of one run.
    #[error("{} and {} are not parts of one run: {}", first.display(), second.display(), differences.join(", "))]
    NotOneRun {
        /// The first folder.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// What differs: name, value in the first, value in the other.
        differences: Vec<String>,
    },
    /// Two folders to merge are the same part.
    #[error("{} and {} are both shard {shard}; give each shard once", first.display(), second.display())]
    Overlap {
        /// The first folder.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The part that both are.
        shard: Shard,
    },
    /// Parts of the run are not given.
    #[error("of {count} shards, {} missing: {}", if missing.len() == 1 { "one is" } else { "some are" }, list(missing))]
    MissingShards {
        /// Number of parts of the run.
        count: usize,
        /// The parts that no folder is given of.
        missing: Vec<usize>,
    },
    /// The cases that were recorded are not those that were planned.
    #[error("the records of {} are not of the cases that their manifests name; take the originals back",
            dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "))]
    CasesDiffer {
        /// The folders.
        dirs: Vec<PathBuf>,
    },
    /// A part of the run is not finished.
    #[error("{} has {found} of the {expected} cases of shard {shard}; finish it with --resume", dir.display())]
    Unfinished {
        /// The folder.
        dir: PathBuf,
        /// The part that it is.
        shard: Shard,
        /// Cases with a record.
        found: usize,
        /// Cases of the part.
        expected: usize,
    },
}

/// The first of some numbers.
fn list(numbers: &[usize]) -> String {
    const SHOWN: usize = 10;
    let mut text: Vec<String> = numbers.iter().take(SHOWN).map(usize::to_string).collect();
    if numbers.len() > SHOWN {
        text.push(format!("and {} more", numbers.len() - SHOWN));
    }
    text.join(", ")
}
