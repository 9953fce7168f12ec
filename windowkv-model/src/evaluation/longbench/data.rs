//! `data/*.jsonl`: the samples of each dataset, one JSON object a line, none of them trusted.
//!
//! A file is read once from beginning to end, to check each line and to remember where it begins; a sample is read
//! again when its turn comes. So a data set takes a few bytes a sample, however long its texts are.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Dataset, LongBenchError, Skipped};
use crate::evaluation::fingerprint::hex;
use crate::lines::{self, Lines};
use crate::{Error, Result, files};

/// The longest line that is read, in bytes; LongBench's own are a few million.
pub const MAX_LINE_BYTES: usize = 1 << 24;
/// The longest answer, right or predicted, in characters: the metrics' work grows with the product of two.
pub const MAX_ANSWER_CHARS: usize = 1 << 16;

/// One line of a dataset; fields that are not used are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sample {
    /// The question, the text to complete, or nothing.
    pub input: String,
    /// What the question is about.
    pub context: String,
    /// Right answers, any of which counts.
    pub answers: Vec<String>,
    /// Words, or characters in Chinese, of the sample, as LongBench counted them.
    pub length: Option<u64>,
    /// The names that a classification chooses from.
    pub all_classes: Option<Vec<String>>,
    /// LongBench's own name of the sample.
    #[serde(rename = "_id")]
    pub id: Option<String>,
}

/// Where a sample stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    start: u64,
    /// Length of the line.
    bytes: usize,
}

/// The file of one dataset.
#[derive(Debug, Clone)]
pub struct DataFile {
    dataset: Dataset,
    path: PathBuf,
    places: Vec<Place>,
    skipped: Skipped,
    hash: String,
}

/// The datasets of LongBench, or of LongBench-E, whose files lie in the folder `dir`, and the names of other
/// `.jsonl` files there, sorted. Files of the one are not files of the other.
///
/// # Errors
/// A folder that cannot be listed, and [`LongBenchError::NoData`].
pub fn datasets_in(dir: &Path, extended: bool) -> Result<(Vec<Dataset>, Vec<String>)> {
    let data = dir.join("data");
    let no_data = || LongBenchError::NoData {
        dir: data.clone(),
        example: if extended {
            "qasper_e.jsonl"
        } else {
            "qasper.jsonl"
        },
    };
    let list = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => no_data().into(),
        _ => Error::io(&data, "list", source),
    };
    let (mut datasets, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(&data).map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        let name = name.to_string_lossy();
        let Some(stem) = name.strip_suffix(".jsonl") else {
            continue;
        };
        let (base, is_extended) = match stem.strip_suffix("_e") {
            Some(base) => (base, true),
            None => (stem, false),
        };
        match base.parse::<Dataset>() {
            Ok(dataset) if !is_extended || dataset.is_extended() => {
                if is_extended == extended {
                    datasets.push(dataset);
                }
            }
            _ => others.push(name.into_owned()),
        }
    }
    if datasets.is_empty() {
        return Err(no_data().into());
    }
    datasets.sort();
    others.sort();
    Ok((datasets, others))
}

impl DataFile {
    /// Reads and checks the file of a dataset of LongBench, or of LongBench-E, in the folder `dir`.
    ///
    /// # Errors
    /// [`LongBenchError::NotExtended`], [`LongBenchError::DatasetMissing`], [`LongBenchError::NoSample`], and a file
    /// that cannot be read. A line that cannot be used is no error: it is [skipped](DataFile::skipped).
    pub fn open(dir: &Path, dataset: Dataset, extended: bool) -> Result<Self> {
        if extended && !dataset.is_extended() {
            return Err(LongBenchError::NotExtended { dataset }.into());
        }
        let suffix = if extended { "_e" } else { "" };
        let path = dir.join("data").join(format!("{dataset}{suffix}.jsonl"));
        let file = match files::open_regular(&path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(LongBenchError::DatasetMissing { dataset, path }.into());
            }
            file => file?,
        };
        let mut reader = BufReader::new(Hashing {
            file,
            hash: Sha256::new(),
        });
        let mut data = Self {
            dataset,
            path,
            places: Vec::new(),
            skipped: Skipped::default(),
            hash: String::new(),
        };
        let mut lines = Lines::new(&mut reader, &data.path, MAX_LINE_BYTES);
        for line in lines.by_ref() {
            match line.and_then(|line| data.check(&line, extended)) {
                Ok(Some(place)) => data.places.push(place),
                Ok(None) => {}
                Err(error @ (Error::Line(_) | Error::LongBench(_))) => data.skipped.add(error),
                Err(error) => return Err(error),
            }
        }
        let lines = lines.number();
        data.hash = hex(&reader.into_inner().hash.finalize());
        if data.places.is_empty() {
            let first = data.skipped.first.into_iter().next();
            return Err(LongBenchError::NoSample {
                path: data.path,
                lines,
                first: first.unwrap_or_else(|| "there is none".to_owned()),
            }
            .into());
        }
        Ok(data)
    }

    /// Where the sample of a line begins; `None` for an empty line.
    fn check(&self, line: &lines::Line, extended: bool) -> Result<Option<Place>> {
        if line.text.trim().is_empty() {
            return Ok(None);
        }
        let sample: Sample = lines::parse(line, &self.path)?;
        let problem = problem(self.dataset, &sample.answers, sample.all_classes.as_deref());
        let problem = problem.or_else(|| {
            let absent = extended && sample.length.is_none();
            absent.then(|| "`length` is absent; LongBench-E sorts its samples by it".to_owned())
        });
        match problem {
            Some(reason) => Err(LongBenchError::Sample {
                path: self.path.clone(),
                line: line.number,
                reason,
            }
            .into()),
            None => Ok(Some(Place {
                line: line.number,
                start: line.start,
                bytes: line.text.len(),
            })),
        }
    }

    /// The dataset.
    pub fn dataset(&self) -> Dataset {
        self.dataset
    }

    /// Samples that can be used.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no sample can be used: never.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The longest of the first `most` samples, by its line.
    pub fn longest(&self, most: usize) -> usize {
        let places = self.places.iter().take(most).enumerate();
        let longest = places.max_by_key(|(index, place)| (place.bytes, std::cmp::Reverse(*index)));
        longest.map_or(0, |(index, _)| index)
    }

    /// The line of sample `index`, from 1.
    pub fn line(&self, index: usize) -> usize {
        self.places[index].line
    }

    /// Lines that cannot be used.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Reads sample `index`.
    ///
    /// # Errors
    /// A file that cannot be read, and [`LongBenchError::Changed`].
    pub fn sample(&self, index: usize) -> Result<Sample> {
        let Place { line, start, .. } = self.places[index];
        let mut lines = Lines::open_at(&self.path, MAX_LINE_BYTES, start, line)?;
        let changed = || LongBenchError::Changed {
            path: self.path.clone(),
            line,
        };
        let found = lines.next().ok_or_else(changed)?;
        match found.and_then(|line| lines::parse(&line, &self.path)) {
            Err(Error::Line(_)) => Err(changed().into()),
            sample => sample,
        }
    }
}

/// Why the answers of a sample cannot be used, or `None` for good ones.
pub(super) fn problem(
    dataset: Dataset,
    answers: &[String],
    all_classes: Option<&[String]>,
) -> Option<String> {
    if answers.is_empty() {
        return Some("`answers` is empty; a prediction is held to the best of them".to_owned());
    }
    let metric = dataset.metric();
    let classes = all_classes.unwrap_or_default();
    answers.iter().find_map(|answer| {
        too_long("an answer", answer).or_else(|| {
            let problem = metric.answer_problem(answer, classes)?;
            Some(problem.to_owned())
        })
    })
}

/// Why a text of `what` is not scored, or `None`.
pub(super) fn too_long(what: &str, text: &str) -> Option<String> {
    let over = text.chars().nth(MAX_ANSWER_CHARS).is_some();
    over.then(|| {
        format!("{what} has over {MAX_ANSWER_CHARS} characters; at most that many are scored")
    })
}

/// A file whose bytes are hashed as they are read.
struct Hashing {
    file: File,
    hash: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.file.read(buffer)?;
        self.hash.update(&buffer[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        for (name, bytes) in files {
            std::fs::write(dir.path().join("data").join(name), bytes).unwrap();
        }
        dir
    }

    fn dataset(name: &str) -> Dataset {
        name.parse().unwrap()
    }

    fn line(input: &str, answers: &[&str]) -> String {
        let sample = json!({
            "input": input, "context": "c", "answers": answers, "length": 4000, "dataset": "qasper",
            "language": "en", "all_classes": null, "_id": "1f",
        });
        format!("{sample}\n")
    }

    #[test]
    fn samples_are_read_one_by_one() {
        let text = [
            line("first", &["a"]),
            "\n".to_owned(),
            line("日本", &["b", "c"]),
        ]
        .concat();
        let dir = folder(&[("qasper.jsonl", text.trim_end().as_bytes())]);
        let data = DataFile::open(dir.path(), dataset("qasper"), false).unwrap();
        assert_eq!((data.len(), data.skipped().count), (2, 0));
        assert_eq!([data.line(0), data.line(1)], [1, 3]);
        let second = data.sample(1).unwrap();
        assert_eq!(second.input, "日本");
        assert_eq!(second.answers, ["b", "c"]);
        assert_eq!(data.sample(0).unwrap().input, "first");
        assert_eq!(data.hash(), hex(&Sha256::digest(text.trim_end())));
    }

    #[test]
    fn bad_lines_are_named_counted_and_passed_over() {
        let good = line("q", &["a"]);
        let bytes = [
            good.as_bytes(),
            b"{\"input\": 3}\n",
            b"not json\n",
            b"{\"input\": \"\xff\"}\n",
            line("q", &[]).as_bytes(),
            line("q", &[&"x".repeat(MAX_ANSWER_CHARS + 1)]).as_bytes(),
            b"[1]\n",
            good.as_bytes(),
        ]
        .concat();
        let dir = folder(&[("qasper.jsonl", &bytes)]);
        let data = DataFile::open(dir.path(), dataset("qasper"), false).unwrap();
        assert_eq!((data.len(), data.line(1)), (2, 8));
        assert_eq!(data.skipped().count, 6);
        let expected = [
            ("line 2, column 11: invalid type", "expected a string"),
            ("line 3, column 2", "expected ident; each"),
            ("line 4", "UTF-8 at byte 12"),
            ("line 5", "`answers` is empty"),
            ("line 6", "65536 characters"),
            ("line 7", "form"),
        ];
        for (reason, (line, part)) in data.skipped().first.iter().zip(expected) {
            assert!(reason.contains("qasper.jsonl"), "{reason}");
            assert!(reason.contains(line) && reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn a_gigabyte_in_one_line_is_passed_over_unread() {
        let dir = folder(&[("qasper.jsonl", line("q", &["a"]).as_bytes())]);
        let path = dir.path().join("data").join("qasper.jsonl");
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        // A hole: no disk space, and zeros to read.
        let end = file.metadata().unwrap().len() + (1 << 30);
        file.set_len(end).unwrap();
        std::io::Write::write_all(&mut file, format!("\n{}", line("last", &["b"])).as_bytes())
            .unwrap();
        let data = DataFile::open(dir.path(), dataset("qasper"), false).unwrap();
        assert_eq!((data.len(), data.skipped().count), (2, 1));
        let reason = &data.skipped().first[0];
        assert!(
            reason.contains("line 2: longer than 16777216 bytes"),
            "{reason}"
        );
        assert_eq!(data.sample(1).unwrap().input, "last");
    }

    #[test]
    fn answers_fit_their_metric() {
        let sample = |answer: &str, classes: serde_json::Value| {
            json!({"input": "", "context": "", "answers": [answer], "all_classes": classes})
                .to_string()
        };
        for (name, good, bad, part) in [
            (
                "trec",
                sample("a", json!(["a", "b"])),
                sample("a", json!(null)),
                "`all_classes` is empty",
            ),
            (
                "passage_retrieval_en",
                sample("Paragraph 3", json!(null)),
                sample("3", json!(null)),
                "Paragraph 7",
            ),
            (
                "passage_retrieval_zh",
                sample("段落3", json!(null)),
                sample("Paragraph 3", json!(null)),
                "段落7",
            ),
        ] {
            let file = format!("{name}.jsonl");
            let dir = folder(&[(&file, format!("{good}\n{bad}\n").as_bytes())]);
            let data = DataFile::open(dir.path(), dataset(name), false).unwrap();
            assert_eq!((data.len(), data.skipped().count), (1, 1));
            let reason = &data.skipped().first[0];
            assert!(
                reason.contains("line 2") && reason.contains(part),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_file_without_a_sample_is_an_error() {
        for (bytes, part) in [
            (b"".as_slice(), "none of its 0 lines"),
            (b"\n\n", "none of its 2 lines"),
            (b"{}\n", "line 1, column 2: missing field `input`"),
        ] {
            let dir = folder(&[("qasper.jsonl", bytes)]);
            let error = DataFile::open(dir.path(), dataset("qasper"), false).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains("qasper.jsonl") && message.contains(part),
                "{message}"
            );
        }
    }

    #[test]
    fn files_are_found_by_their_names() {
        let dir = folder(&[
            ("lcc.jsonl", b""),
            ("qasper.jsonl", b""),
            ("qasper_e.jsonl", b""),
            ("musique_e.jsonl", b""),
            ("notes.jsonl", b""),
            ("notes.txt", b""),
        ]);
        let others = ["musique_e.jsonl", "notes.jsonl"].map(str::to_owned);
        assert_eq!(
            datasets_in(dir.path(), false).unwrap(),
            (vec![dataset("qasper"), dataset("lcc")], others.to_vec())
        );
        assert_eq!(
            datasets_in(dir.path(), true).unwrap(),
            (vec![dataset("qasper")], others.to_vec())
        );
        let message = |dir: &Path| datasets_in(dir, true).unwrap_err().to_string();
        for wrong in ["data", "data/notes.txt"] {
            assert!(message(&dir.path().join(wrong)).contains("holds LongBench's data/"));
        }
        let empty = folder(&[("qasper.jsonl", b"")]);
        assert!(message(empty.path()).contains("qasper_e.jsonl"));
    }

    #[test]
    fn longbench_e_needs_lengths_and_has_13_datasets() {
        let without = r#"{"input": "", "context": "", "answers": ["a"]}"#;
        let text = format!("{without}\n{}", line("q", &["a"]));
        let dir = folder(&[("qasper_e.jsonl", text.as_bytes())]);
        let data = DataFile::open(dir.path(), dataset("qasper"), true).unwrap();
        assert_eq!((data.len(), data.skipped().count), (1, 1));
        assert!(data.skipped().first[0].contains("`length` is absent"));
        let message = |name| {
            DataFile::open(dir.path(), dataset(name), true)
                .unwrap_err()
                .to_string()
        };
        assert!(message("musique").contains("LongBench-E has no musique"));
        assert!(message("lcc").contains("lcc_e.jsonl"));
    }

    #[test]
    fn a_file_that_changed_is_noticed() {
        let dir = folder(&[(
            "qasper.jsonl",
            [line("a", &["a"]), line("b", &["b"])].concat().as_bytes(),
        )]);
        let data = DataFile::open(dir.path(), dataset("qasper"), false).unwrap();
        std::fs::write(
            dir.path().join("data/qasper.jsonl"),
            line("another", &["a"]),
        )
        .unwrap();
        let message = data.sample(1).unwrap_err().to_string();
        assert!(message.contains("line 2: changed since"), "{message}");
    }
}
