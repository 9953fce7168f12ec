//! Scores of answers, and their means by method, dataset and length.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Dataset, answer};

/// How good `text` is as an answer, from 0 to 1: its score against the best of the right answers.
pub fn score(dataset: Dataset, text: &str, answers: &[String], classes: &[String]) -> f64 {
    let answer = answer(dataset, text);
    answers
        .iter()
        .map(|truth| dataset.metric().score(answer, truth, classes))
        .fold(0.0, f64::max)
}

/// LongBench-E's classes of length, in words (characters in Chinese).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Bucket {
    /// Below 4,000.
    #[serde(rename = "0-4k")]
    To4k,
    /// From 4,000, below 8,000.
    #[serde(rename = "4-8k")]
    To8k,
    /// From 8,000.
    #[serde(rename = "8k+")]
    Over8k,
}

impl Bucket {
    /// Every class, short to long.
    pub const ALL: [Self; 3] = [Self::To4k, Self::To8k, Self::Over8k];

    /// The class of a sample of `length`.
    pub fn of(length: u64) -> Self {
        match length {
            0..4000 => Self::To4k,
            4000..8000 => Self::To8k,
            _ => Self::Over8k,
        }
    }

    /// LongBench's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::To4k => "0-4k",
            Self::To8k => "4-8k",
            Self::Over8k => "8k+",
        }
    }
}

/// The score of one answer, and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scored {
    /// The dataset.
    pub dataset: Dataset,
    /// The method's name in tables.
    pub method: String,
    /// What a layer may keep; absent for a method that keeps everything.
    pub capacity: Option<String>,
    /// The sample's length, as LongBench counted it.
    pub length: Option<u64>,
    /// From 0 to 1.
    pub score: f64,
}

/// A mean and of how many scores it is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    /// How many scores.
    pub count: usize,
}

impl Mean {
    /// The mean as a percentage; 0 of nothing.
    pub fn percent(self) -> f64 {
        100.0 * self.sum / self.count.max(1) as f64
    }
}

/// Means by method, dataset and length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// Methods with their capacities, in the order in which they came.
    rows: Vec<(String, Option<String>)>,
    /// By row, class of length (`None`: all) and dataset.
    means: BTreeMap<(usize, Option<Bucket>, Dataset), Mean>,
}

impl Scores {
    /// Counts a score in.
    pub fn add(&mut self, scored: &Scored) {
        let is_row = |(method, capacity): &(String, Option<String>)| {
            *method == scored.method && *capacity == scored.capacity
        };
        let row = self.rows.iter().position(is_row).unwrap_or_else(|| {
            self.rows
                .push((scored.method.clone(), scored.capacity.clone()));
            self.rows.len() - 1
        });
        let classes = [None, scored.length.map(Bucket::of)];
        let classes = if classes[1].is_some() {
            &classes[..]
        } else {
            &classes[..1]
        };
        for &class in classes {
            let mean = self.means.entry((row, class, scored.dataset)).or_default();
            mean.sum += scored.score;
            mean.count += 1;
        }
    }

    /// Methods with their capacities, in the order in which they came.
    pub fn rows(&self) -> &[(String, Option<String>)] {
        &self.rows
    }

    /// The datasets that have a score of this class of length, in order.
    pub fn datasets(&self, class: Option<Bucket>) -> Vec<Dataset> {
        let found = self.means.keys().filter(|(_, bucket, _)| *bucket == class);
        let mut datasets: Vec<_> = found.map(|&(_, _, dataset)| dataset).collect();
        datasets.sort();
        datasets.dedup();
        datasets
    }

    /// The mean of a row, if it has a score.
    pub fn mean(&self, row: usize, class: Option<Bucket>, dataset: Dataset) -> Option<Mean> {
        self.means.get(&(row, class, dataset)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_right_answer_counts() {
        let truths = ["blue", "dark red"].map(str::to_owned);
        let qasper = "qasper".parse().unwrap();
        assert_eq!(score(qasper, "red", &truths, &[]), 2.0 / 3.0);
        assert_eq!(score(qasper, "green", &truths, &[]), 0.0);
        let trec = "trec".parse().unwrap();
        let classes = ["a", "b"].map(str::to_owned);
        assert_eq!(score(trec, "\na\nb", &classes[..1], &classes), 1.0);
    }

    #[test]
    fn classes_of_length_are_longbenchs() {
        let names = [0, 3999, 4000, 7999, 8000, 99_999].map(|length| Bucket::of(length).name());
        assert_eq!(names, ["0-4k", "0-4k", "4-8k", "4-8k", "8k+", "8k+"]);
    }

    #[test]
    fn means_are_by_row_dataset_and_length() {
        let mut scores = Scores::default();
        for (method, dataset, length, score) in [
            ("A", "qasper", Some(10), 1.0),
            ("B", "qasper", Some(10), 0.0),
            ("A", "qasper", Some(9000), 0.5),
            ("A", "lcc", None, 0.25),
        ] {
            scores.add(&Scored {
                dataset: dataset.parse().unwrap(),
                method: method.to_owned(),
                capacity: None,
                length,
                score,
            });
        }
        let [qasper, lcc] = ["qasper", "lcc"].map(|name| name.parse().unwrap());
        let percent = |row, class, dataset| scores.mean(row, class, dataset).map(Mean::percent);
        assert_eq!(percent(0, None, qasper), Some(75.0));
        assert_eq!(percent(0, Some(Bucket::Over8k), qasper), Some(50.0));
        assert_eq!(percent(0, Some(Bucket::To8k), qasper), None);
        assert_eq!(percent(1, None, qasper), Some(0.0));
        assert_eq!(percent(1, None, lcc), None);
        assert_eq!(scores.datasets(None), [qasper, lcc]);
        assert_eq!(scores.datasets(Some(Bucket::To4k)), [qasper]);
    }
}
