//! The metrics of the evaluations, each equal to the Python code that its published numbers come from.

mod classification;
mod code;
mod f1;
mod porter;
pub mod rouge1;
mod rouge_l;
mod segment;
mod words;

use serde::{Deserialize, Serialize};

/// A metric of LongBench, under the name of its function there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// F1 over words, without articles and punctuation.
    #[serde(rename = "qa_f1_score")]
    QaF1,
    /// F1 over segmented Chinese words.
    #[serde(rename = "qa_f1_zh_score")]
    QaF1Zh,
    /// ROUGE-L.
    #[serde(rename = "rouge_score")]
    RougeL,
    /// ROUGE-L over segmented Chinese words.
    #[serde(rename = "rouge_zh_score")]
    RougeLZh,
    /// One class out of a list.
    #[serde(rename = "classification_score")]
    Classification,
    /// The share of the numbers named that are right.
    #[serde(rename = "count_score")]
    Count,
    /// The same for the number of an English paragraph.
    #[serde(rename = "retrieval_score")]
    Retrieval,
    /// The same for the number of a Chinese paragraph.
    #[serde(rename = "retrieval_zh_score")]
    RetrievalZh,
    /// Similarity of the first line of code.
    #[serde(rename = "code_sim_score")]
    CodeSim,
}

impl Metric {
    /// The score of `prediction` against one right answer, from 0 to 1. `classes` are the names that
    /// [`Metric::Classification`] chooses from; the others do not look at them.
    ///
    /// An answer that [`Metric::answer_problem`] objects to scores 0.
    pub fn score(self, prediction: &str, truth: &str, classes: &[String]) -> f64 {
        match self {
            Self::QaF1 => f1::english(prediction, truth),
            Self::QaF1Zh => f1::chinese(prediction, truth),
            Self::RougeL => rouge_l::english(prediction, truth),
            Self::RougeLZh => rouge_l::chinese(prediction, truth),
            Self::Classification => classification::share(prediction, truth, classes),
            Self::Count => words::share_of_numbers(prediction, truth),
            Self::Retrieval | Self::RetrievalZh => self
                .paragraph(truth)
                .map_or(0.0, |number| words::share_of_numbers(prediction, number)),
            Self::CodeSim => code::similarity(prediction, truth),
        }
    }

    /// Why no prediction can be held to this answer, or `None` for one that is fit for the metric.
    pub fn answer_problem(self, truth: &str, classes: &[String]) -> Option<&'static str> {
        match self {
            Self::Classification if classes.is_empty() => {
                Some("`all_classes` is empty; the dataset's metric chooses from it")
            }
            Self::Retrieval if self.paragraph(truth).is_none() => {
                Some("an answer names no paragraph, as in \"Paragraph 7\"")
            }
            Self::RetrievalZh if self.paragraph(truth).is_none() => {
                Some("an answer names no paragraph, as in \"段落7\"")
            }
            _ => None,
        }
    }

    fn paragraph(self, truth: &str) -> Option<&str> {
        let label = match self {
            Self::RetrievalZh => "段落",
            _ => "Paragraph ",
        };
        words::number_after(truth, label)
    }
}
