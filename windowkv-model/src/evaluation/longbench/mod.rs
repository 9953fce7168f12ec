//! LongBench and LongBench-E ([arXiv 2308.14508](https://arxiv.org/abs/2308.14508)): long texts, a question on each,
//! and a metric for each kind of question.
//!
//! ```text
//! dataset      the 21 datasets and their rules
//! config       templates and lengths of answers
//! data         the samples
//! template     a prompt's text, with the sample filled in
//! prompt       its tokens: cut in the middle, in the model's chat form
//! postprocess  what of a text is the answer
//! predictions  answers, this program's or others', with what they are held to
//! score        their scores by method, dataset and length
//! table        the scores as the paper shows them
//! published    the paper's own figures
//! ```

mod config;
mod data;
mod dataset;
mod error;
mod postprocess;
mod predictions;
mod prompt;
mod published;
mod score;
mod skipped;
mod table;
mod template;

pub use config::Prompts;
pub use data::{DataFile, MAX_ANSWER_CHARS, MAX_LINE_BYTES, Sample, datasets_in};
pub use dataset::{Category, Dataset};
pub use error::LongBenchError;
pub use postprocess::answer;
pub use predictions::{Prediction, SCORES, prediction_files, score_file};
pub use prompt::{Limits, Prompt};
pub use published::Published;
pub use score::{Bucket, Mean, Scored, Scores, score};
pub use skipped::Skipped;
pub use table::{Table, csv, json, markdown};
pub use template::Template;
