//! What can go wrong with LongBench's files.

use std::path::PathBuf;

use super::Dataset;

/// Files that are not LongBench's, or not all of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LongBenchError {
    /// A name that is not one of the 21.
    #[error(
        "{name:?} is not a dataset of LongBench; there are {}",
        Dataset::names()
    )]
    UnknownDataset {
        /// The name.
        name: String,
    },
    /// LongBench-E does not have the dataset.
    #[error("LongBench-E has no {dataset}; leave it out, or leave --longbench-e out")]
    NotExtended {
        /// The dataset.
        dataset: Dataset,
    },
    /// A folder without any dataset.
    #[error("{} has no file of a dataset such as {example}; give the folder that holds LongBench's data/ and config/", dir.display())]
    NoData {
        /// The folder that was searched.
        dir: PathBuf,
        /// The name of a file that could be there.
        example: &'static str,
    },
    /// A folder without predictions.
    #[error("{} has no .jsonl file; give a file of predictions, a folder of them, or that of a run", dir.display())]
    NoPredictions {
        /// The folder.
        dir: PathBuf,
    },
    /// A dataset that was asked for has no file.
    #[error("there is no {}; download the dataset, or leave {dataset} out of --datasets", path.display())]
    DatasetMissing {
        /// The dataset.
        dataset: Dataset,
        /// The file that would hold it.
        path: PathBuf,
    },
    /// A file that describes the datasets does not exist.
    #[error("there is no {}; it is part of LongBench, next to data/", path.display())]
    ConfigMissing {
        /// The file.
        path: PathBuf,
    },
    /// A template that cannot be filled.
    #[error("{}: the template of {dataset} {reason}", path.display())]
    Template {
        /// The file of templates.
        path: PathBuf,
        /// The dataset.
        dataset: Dataset,
        /// What is wrong with it, and what is accepted.
        reason: String,
    },
    /// A dataset of which no line can be used.
    #[error("{}: none of its {lines} lines can be used; the first: {first}", path.display())]
    NoSample {
        /// The file.
        path: PathBuf,
        /// Its lines.
        lines: usize,
        /// What is wrong with the first of them, or that there is none.
        first: String,
    },
    /// A line that is JSON but not fit for its dataset.
    #[error("{}, line {line}: {reason}", path.display())]
    Sample {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what is accepted.
        reason: String,
    },
    /// A file changed while it was in use.
    #[error("{}, line {line}: changed since the run began; take the original back and go on with --resume", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Predictions of no known dataset.
    #[error(
        "{}: its name is not that of a dataset and its lines do not name theirs in `dataset`; name it as in qasper.jsonl",
        path.display()
    )]
    PredictionsOfWhat {
        /// The file.
        path: PathBuf,
    },
}
