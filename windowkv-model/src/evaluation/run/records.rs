//! The finished cases of a run, one JSON line each.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::lines::{self, LineError, Lines};
use crate::{Error, Result};

/// The records' file name.
pub const RECORDS: &str = "records.jsonl";
/// The longest line of a record, in bytes.
pub const MAX_RECORD_BYTES: usize = 1 << 24;

/// One finished case as a line holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<R> {
    /// The case's number in the whole run, from 0.
    pub case: usize,
    /// The case's id.
    pub id: String,
    /// What came out.
    #[serde(flatten)]
    pub record: R,
}

/// A last line that a kill or a full disk has cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Torn {
    /// Its number, from 1.
    pub(super) line: usize,
    /// Where it begins in the file.
    start: u64,
    /// Whether it is all there, its end alone being absent.
    complete: bool,
}

/// A finished case, and the line that it came from.
pub(super) struct Read<R> {
    pub(super) line: lines::Line,
    pub(super) record: Record<R>,
}

/// Reads the records of `path`, and what is left of a torn last line.
///
/// # Errors
/// A line that is no record, unless it is the last and without end.
pub(super) fn read<R: DeserializeOwned>(path: &Path) -> Result<(Vec<Read<R>>, Option<Torn>)> {
    let mut records = Vec::new();
    let mut lines = Lines::open(path, MAX_RECORD_BYTES)?;
    let mut end = 0;
    while let Some(line) = lines.next() {
        let line = match line {
            // Torn within a character, or full of what a file system leaves after a power cut.
            Err(Error::Line(LineError::NotUtf8 { .. } | LineError::TooLong { .. }))
                if !lines.ended() =>
            {
                let torn = Torn {
                    line: lines.number(),
                    start: end,
                    complete: false,
                };
                return Ok((records, Some(torn)));
            }
            line => line?,
        };
        let torn = |complete| Torn {
            line: line.number,
            start: line.start,
            complete,
        };
        match lines::parse(&line, path) {
            Err(_) if !line.ended => return Ok((records, Some(torn(false)))),
            record => {
                let (record, torn) = (record?, (!line.ended).then(|| torn(true)));
                records.push(Read { line, record });
                if torn.is_some() {
                    return Ok((records, torn));
                }
            }
        }
        end = lines.offset();
    }
    Ok((records, None))
}

/// The records of a run that is going on; one process has them at a time.
#[derive(Debug)]
pub(super) struct Appender {
    file: File,
    path: PathBuf,
    /// Bytes of whole records.
    len: u64,
}

impl Appender {
    /// Opens the records of the folder `dir` for one process alone, empty if they do not exist.
    ///
    /// # Errors
    /// [`RunError::InUse`], [`Error::NotAFile`], [`Error::Io`].
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(RECORDS);
        if std::fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::NotAFile { path });
        }
        let open = || {
            let file = OpenOptions::new().append(true).create(true).open(&path)?;
            crate::files::sync_dir(dir)?;
            Ok(file)
        };
        let file = open().map_err(|source| Error::io(&path, "open", source))?;
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => {}
            Err(fs4::TryLockError::WouldBlock) => {
                return Err(RunError::InUse {
                    dir: dir.to_owned(),
                }
                .into());
            }
            // Some network file systems have no locks; the run is as safe there as its user is careful.
            Err(fs4::TryLockError::Error(error)) => {
                tracing::warn!(path = %path.display(), %error, "the folder cannot be locked");
            }
        }
        let len = file
            .metadata()
            .map_err(|source| Error::io(&path, "read", source))?
            .len();
        Ok(Self { file, path, len })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts a torn line off, or ends it where nothing else is absent.
    pub(super) fn repair(&mut self, torn: &Torn) -> Result<()> {
        let mut mend = || {
            if torn.complete {
                self.file.write_all(b"\n")?;
                self.len += 1;
            } else {
                self.file.set_len(torn.start)?;
                self.len = torn.start;
            }
            self.file.sync_all()
        };
        mend().map_err(|source| Error::io(&self.path, "repair the last line of", source))
    }

    /// Appends whole lines and waits until they are on the disk. After a failure the file is as it was before, or
    /// has a torn last line that the next run repairs. `finished` is the number of cases that the error names.
    pub(super) fn append(&mut self, lines: &str, finished: usize) -> Result<()> {
        let written = self
            .file
            .write_all(lines.as_bytes())
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            let _ = self.file.set_len(self.len);
            return Err(RunError::Write {
                path: self.path.clone(),
                finished,
                source,
            }
            .into());
        }
        self.len += lines.len() as u64;
        Ok(())
    }
}

/// The line of a record.
///
/// # Errors
/// [`RunError::RecordTooLong`].
pub(super) fn line<R: Serialize>(record: &Record<R>) -> Result<String> {
    let mut line = serde_json::to_string(record).expect("a record has text keys");
    if line.len() > MAX_RECORD_BYTES {
        return Err(RunError::RecordTooLong {
            id: record.id.clone(),
            len: line.len(),
            limit: MAX_RECORD_BYTES,
        }
        .into());
    }
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Answer {
        text: String,
        score: f64,
    }

    fn record(case: usize) -> Record<Answer> {
        Record {
            case,
            id: format!("case {case}"),
            record: Answer {
                text: "caf\u{e9}\n\u{1f600}".to_owned(),
                score: 1.0 / (case + 3) as f64,
            },
        }
    }

    /// A kill can leave any beginning of the file.
    #[test]
    fn a_line_torn_at_any_byte_is_repaired() {
        let whole: String = (0..3).map(|case| line(&record(case)).unwrap()).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECORDS);
        for end in 0..=whole.len() {
            std::fs::write(&path, &whole.as_bytes()[..end]).unwrap();
            let (before, torn) = read::<Answer>(&path).unwrap();
            let mut file = Appender::open(dir.path()).unwrap();
            if let Some(torn) = &torn {
                file.repair(torn).unwrap();
            }
            for case in before.len()..3 {
                file.append(&line(&record(case)).unwrap(), case).unwrap();
            }
            drop(file);
            assert_eq!(
                std::fs::read_to_string(&path).unwrap(),
                whole,
                "cut at {end}"
            );
            let (after, torn) = read::<Answer>(&path).unwrap();
            assert_eq!(torn, None);
            let after: Vec<_> = after.into_iter().map(|read| read.record).collect();
            assert_eq!(after, [0, 1, 2].map(record));
        }
    }

    #[test]
    fn what_a_power_cut_leaves_is_torn_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECORDS);
        for rest in [
            vec![0; 4096],
            vec![0xff; 10],
            vec![b'x'; MAX_RECORD_BYTES + 9],
        ] {
            let first = line(&record(0)).unwrap();
            std::fs::write(&path, [first.as_bytes(), &rest].concat()).unwrap();
            let (records, torn) = read::<Answer>(&path).unwrap();
            let torn = torn.expect("a torn line");
            assert_eq!((records.len(), torn.line), (1, 2));
            Appender::open(dir.path()).unwrap().repair(&torn).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
        }
    }

    #[test]
    fn a_broken_line_within_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECORDS);
        let good = line(&record(0)).unwrap();
        for broken in [b"{\"case\":1}\n".as_slice(), b"\n", b"\xff\n", b"null\n"] {
            std::fs::write(&path, [good.as_bytes(), broken].concat()).unwrap();
            let error = match read::<Answer>(&path) {
                Ok(_) => panic!("{broken:?} is read"),
                Err(error) => error.to_string(),
            };
            assert!(error.contains("line 2"), "{error}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error_that_counts_what_is_safe() {
        let path = Path::new("/dev/full");
        let file = OpenOptions::new().append(true).open(path).unwrap();
        let mut full = Appender {
            file,
            path: path.to_owned(),
            len: 0,
        };
        let error = full.append("{}\n", 7).unwrap_err().to_string();
        for part in ["/dev/full", "No space left", "7 cases", "--resume"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Appender::open(dir.path()).unwrap();
        let error = Appender::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
        drop(first);
        Appender::open(dir.path()).unwrap();
    }
}
