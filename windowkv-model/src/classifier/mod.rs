//! Which kind of task a prompt asks for, so that the strategy can follow it.
//!
//! ```
//! use windowkv_model::classifier::TaskClassifier;
//! use windowkv_ref::policy::Task;
//!
//! let classifier = TaskClassifier::embedded(); // or TaskClassifier::bert(dir, classifier)
//! let prompt = format!("Summarize this report.\n\n{}\n\nSummary:", "The budget grew by 3 percent. ".repeat(100));
//! assert_eq!(classifier.classify(&prompt)?.task, Task::Aggregation);
//! # Ok::<(), windowkv_model::Error>(())
//! ```
//!
//! - [`bert`]: the released design's classifier, for users who have its weights.
//! - [`linear`]: the embedded one, on [`features`] of the prompt's edges, trained by [`training`] on the
//!   instructions in [`corpus`].
//! - [`pth`]: PyTorch files, read without unpickling.

pub mod bert;
mod chooser;
pub mod corpus;
mod decision;
pub mod features;
pub mod linear;
pub mod pth;
pub mod training;

use std::path::Path;
use std::time::Instant;

use crate::Result;
use bert::BertClassifier;
use linear::LinearClassifier;

pub use chooser::TaskChooser;
pub use decision::{TaskDecision, TaskSource};

/// A classifier, ready for any number of prompts.
#[derive(Debug)]
pub enum TaskClassifier {
    /// The one that is part of the program.
    Embedded(LinearClassifier),
    /// A BERT encoder with a linear head.
    Bert(Box<BertClassifier>),
}

impl TaskClassifier {
    /// The classifier that is part of the program.
    pub fn embedded() -> Self {
        Self::Embedded(LinearClassifier::embedded())
    }

    /// A BERT classifier: the folder of the encoder and the file of the classifier.
    ///
    /// # Errors
    /// As [`BertClassifier::load`].
    pub fn bert(dir: &Path, classifier: &Path) -> Result<Self> {
        let start = Instant::now();
        let bert = BertClassifier::load(dir, classifier)?;
        tracing::info!(
            dir = %dir.display(),
            classifier = %classifier.display(),
            seconds = start.elapsed().as_secs_f64(),
            "loaded the task classifier"
        );
        Ok(Self::Bert(Box::new(bert)))
    }

    /// The task of a prompt as the user wrote it (without the model's chat form).
    ///
    /// # Errors
    /// None with the embedded classifier; as [`BertClassifier::classify`] with BERT.
    pub fn classify(&self, prompt: &str) -> Result<TaskDecision> {
        let start = Instant::now();
        let decision = match self {
            Self::Embedded(linear) => {
                let output = linear.classify(prompt);
                TaskDecision::embedded(output, start.elapsed().as_secs_f64())
            }
            Self::Bert(bert) => {
                let output = bert.classify(prompt)?;
                TaskDecision::bert(&output, start.elapsed().as_secs_f64())
            }
        };
        tracing::info!(?decision, "task");
        Ok(decision)
    }
}
