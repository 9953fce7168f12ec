//! Answers and what they are held to: a run's own records, and files that were made elsewhere.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windowkv_ref::policy::Task;

use super::data::{problem, too_long};
use super::{Dataset, LongBenchError, MAX_LINE_BYTES, Scored, Scores, Skipped, score};
use crate::evaluation::run::{MANIFEST, RECORDS};
use crate::lines::{self, Lines};
use crate::runner::Finish;
use crate::{Error, Result};

/// Name of the file with the score of each case, which lies beside tables.
pub const SCORES: &str = "scores.jsonl";

/// The record of one case: `pred`, `answers`, `all_classes` and `length` as LongBench's own prediction files have them,
/// and where they come from. It has no time in it: the same run gives the same records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The dataset.
    pub dataset: Dataset,
    /// Line of the dataset's file.
    pub line: usize,
    /// LongBench's name of the sample.
    #[serde(rename = "_id")]
    pub id: Option<String>,
    /// The method's name in tables.
    pub method: String,
    /// What a layer may keep, as the user gave it; absent for a method that keeps everything.
    pub capacity: Option<String>,
    /// The model's text, as it came.
    pub pred: String,
    /// Right answers.
    pub answers: Vec<String>,
    /// The names that a classification chooses from.
    pub all_classes: Option<Vec<String>>,
    /// The sample's length, as LongBench counted it.
    pub length: Option<u64>,
    /// The task that the sample was taken for; absent in a run without a method that depends on it.
    pub task: Option<Task>,
    /// How sure that is, 0.5 to 1; 1 where the user gave the task.
    pub task_score: Option<f32>,
    /// Whether the classifier's margin was too small to decide by, and the task localization for want of a reason.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub task_uncertain: bool,
    /// Tokens of the prompt that the model read.
    pub prompt_tokens: usize,
    /// Tokens that were cut out of the text's middle before.
    pub prompt_tokens_cut: usize,
    /// Tokens of the answer, a stop token included.
    pub new_tokens: usize,
    /// Why the answer ended.
    pub finish: Finish,
    /// Mean of kept tokens over the layers, as a share of the prompt.
    pub kept_share: f64,
    /// Bytes of the prompt's compressed keys and values.
    pub kv_bytes: u64,
}

impl Prediction {
    /// How good the answer is.
    pub fn scored(&self) -> Scored {
        Scored {
            dataset: self.dataset,
            method: self.method.clone(),
            capacity: self.capacity.clone(),
            length: self.length,
            score: score(
                self.dataset,
                &self.pred,
                &self.answers,
                self.all_classes.as_deref().unwrap_or_default(),
            ),
        }
    }
}

/// A line of predictions; fields that scoring does not need are not kept.
#[derive(Debug, Deserialize)]
struct Line {
    pred: String,
    answers: Vec<String>,
    all_classes: Option<Vec<String>>,
    length: Option<u64>,
    dataset: Option<String>,
    method: Option<String>,
    capacity: Option<Value>,
}

/// The files of predictions that `path` names: itself, or in a folder the records of a run, or every `.jsonl` file.
///
/// # Errors
/// A folder that cannot be listed or has no such file.
pub fn prediction_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if path.join(MANIFEST).exists() {
        return Ok(vec![path.join(RECORDS)]);
    }
    let list = |source| Error::io(path, "list", source);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(list)? {
        let file = entry.map_err(list)?.path();
        // The scores that an earlier run of the command wrote are no predictions.
        let is_scores = file.file_name().is_some_and(|name| name == SCORES);
        if file.extension().is_some_and(|end| end == "jsonl") && !is_scores {
            files.push(file);
        }
    }
    if files.is_empty() {
        let dir = path.to_owned();
        return Err(LongBenchError::NoPredictions { dir }.into());
    }
    files.sort();
    Ok(files)
}

/// Scores the lines of a file of predictions, one by one. The dataset is the line's `dataset` or the file's
/// name, the method the line's `method` or the name of the folder, as in LongBench's `pred/MODEL/qasper.jsonl` (of a
/// file with another name: that name). `each` is given every score with its line.
///
/// # Errors
/// A file that cannot be read, or that says nowhere which dataset it is of. A line that cannot be used is no error: it
/// is skipped.
pub fn score_file(
    path: &Path,
    extended: bool,
    scores: &mut Scores,
    each: &mut dyn FnMut(usize, &Scored),
) -> Result<Skipped> {
    let source = Source::new(path);
    let mut skipped = Skipped::default();
    let (mut used, mut nameless) = (0_usize, 0_usize);
    let mut lines = Lines::open(path, MAX_LINE_BYTES)?;
    while let Some(line) = lines.next() {
        if line.as_ref().is_ok_and(|line| line.text.trim().is_empty()) {
            continue;
        }
        match line.and_then(|line| source.scored(&line, extended)) {
            Ok(Some(scored)) => {
                used += 1;
                each(lines.number(), &scored);
                scores.add(&scored);
            }
            Ok(None) => {
                nameless += 1;
                skipped.add(LongBenchError::Sample {
                    path: path.to_owned(),
                    line: lines.number(),
                    reason: "no `dataset`, and the file's name is not one".to_owned(),
                });
            }
            Err(error @ (Error::Line(_) | Error::LongBench(_))) => skipped.add(error),
            Err(error) => return Err(error),
        }
    }
    let path = path.to_owned();
    match used {
        0 if nameless > 0 => Err(LongBenchError::PredictionsOfWhat { path }.into()),
        0 => Err(LongBenchError::NoSample {
            path,
            lines: lines.number(),
            first: (skipped.first.into_iter().next()).unwrap_or_else(|| "there is none".to_owned()),
        }
        .into()),
        _ => Ok(skipped),
    }
}

/// What a file's path says of its lines.
struct Source<'a> {
    path: &'a Path,
    dataset: Option<Dataset>,
    method: String,
}

impl<'a> Source<'a> {
    fn new(path: &'a Path) -> Self {
        let name = |path: Option<&std::ffi::OsStr>| {
            path.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        };
        let stem = name(path.file_stem());
        let dataset = dataset(&stem).ok();
        let method = match dataset {
            Some(_) => name(path.parent().and_then(Path::file_name)),
            None => stem,
        };
        Self {
            path,
            dataset,
            method: if method.is_empty() {
                "-".to_owned()
            } else {
                method
            },
        }
    }

    /// The score of a line; `None` if nothing names its dataset.
    fn scored(&self, line: &lines::Line, extended: bool) -> Result<Option<Scored>> {
        let found: Line = lines::parse(line, self.path)?;
        let unfit = |reason| LongBenchError::Sample {
            path: self.path.to_owned(),
            line: line.number,
            reason,
        };
        let named = found.dataset.as_deref().map(dataset).transpose();
        let named = named.map_err(|error| unfit(error.to_string()))?;
        let Some(dataset) = named.or(self.dataset) else {
            return Ok(None);
        };
        let classes = found.all_classes.unwrap_or_default();
        let problem = problem(dataset, &found.answers, Some(&classes))
            .or_else(|| too_long("the prediction", &found.pred))
            .or_else(|| {
                let absent = extended && found.length.is_none();
                absent.then(|| "`length` is absent; LongBench-E sorts its samples by it".to_owned())
            });
        if let Some(reason) = problem {
            return Err(unfit(reason).into());
        }
        Ok(Some(Scored {
            dataset,
            method: found.method.unwrap_or_else(|| self.method.clone()),
            capacity: found.capacity.and_then(|capacity| match capacity {
                Value::Null => None,
                Value::String(text) => Some(text),
                other => Some(other.to_string()),
            }),
            length: found.length,
            score: score(dataset, &found.pred, &found.answers, &classes),
        }))
    }
}

/// A dataset by its name, or by that of its LongBench-E file.
fn dataset(name: &str) -> Result<Dataset, LongBenchError> {
    name.strip_suffix("_e").unwrap_or(name).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(name: &str, text: &str) -> Result<(Vec<Scored>, Skipped)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my-model").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let mut all = Vec::new();
        let mut each = |_, scored: &Scored| all.push(scored.clone());
        let skipped = score_file(&path, false, &mut Scores::default(), &mut each)?;
        Ok((all, skipped))
    }

    const LINE: &str =
        r#"{"pred": "Red.", "answers": ["blue", "red"], "all_classes": null, "length": 9}"#;

    #[test]
    fn longbenchs_own_files_are_scored() {
        let (all, skipped) = scored("qasper.jsonl", &format!("{LINE}\n\n{LINE}")).unwrap();
        assert_eq!((all.len(), skipped.count), (2, 0));
        let expected = Scored {
            dataset: "qasper".parse().unwrap(),
            method: "my-model".to_owned(),
            capacity: None,
            length: Some(9),
            score: 1.0,
        };
        assert_eq!(all[0], expected);
    }

    #[test]
    fn a_line_may_name_dataset_method_and_capacity() {
        let line = LINE.replace(
            '}',
            r#", "dataset": "lcc_e", "method": "H2O", "capacity": 64}"#,
        );
        let (all, _) = scored("anything.jsonl", &line).unwrap();
        assert_eq!(
            (all[0].dataset.name(), all[0].method.as_str()),
            ("lcc", "H2O")
        );
        assert_eq!(all[0].capacity.as_deref(), Some("64"));
        let line = LINE.replace('}', r#", "dataset": "lcc"}"#);
        assert_eq!(scored("h2o.jsonl", &line).unwrap().0[0].method, "h2o");
    }

    #[test]
    fn bad_lines_are_named_and_passed_over() {
        let text = [
            LINE,
            "torn",
            &LINE.replace(r#"["blue", "red"]"#, "[]"),
            &LINE.replace('}', r#", "dataset": "squad"}"#),
            &LINE.replace("Red.", &"x".repeat(1 << 17)),
        ]
        .join("\n");
        let (all, skipped) = scored("qasper.jsonl", &text).unwrap();
        assert_eq!((all.len(), skipped.count), (1, 4));
        let parts = [
            "line 2",
            "`answers` is empty",
            "\"squad\"",
            "prediction has over 65536",
        ];
        for (reason, part) in skipped.first.iter().zip(parts) {
            assert!(
                reason.contains("qasper.jsonl") && reason.contains(part),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_file_that_says_not_what_it_is_of_is_an_error() {
        let message = |name, text| scored(name, text).unwrap_err().to_string();
        assert!(message("answers.jsonl", LINE).contains("answers.jsonl: its name is not"));
        assert!(message("qasper.jsonl", "").contains("none of its 0 lines"));
        assert!(message("qasper.jsonl", "{}").contains("missing field `pred`"));
    }

    #[test]
    fn a_folder_is_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let message = prediction_files(dir.path()).unwrap_err().to_string();
        assert!(message.contains("no .jsonl file"), "{message}");
        for name in ["b.jsonl", "a.jsonl", "c.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let files = prediction_files(dir.path()).unwrap();
        assert_eq!(
            files,
            ["a.jsonl", "b.jsonl"].map(|name| dir.path().join(name))
        );
        std::fs::write(dir.path().join(MANIFEST), "").unwrap();
        assert_eq!(
            prediction_files(dir.path()).unwrap(),
            [dir.path().join(RECORDS)]
        );
    }
}
