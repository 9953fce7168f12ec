use serde::Serialize;
use windowkv_ref::policy::Task;

use super::bert::BertOutput;
use super::linear::LinearOutput;

/// Who chose a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskSource {
    /// The user.
    Given,
    /// The embedded linear classifier.
    Embedded,
    /// A BERT classifier.
    Bert,
}

/// The task of one prompt, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskDecision {
    /// The task.
    pub task: Task,
    /// Who chose it.
    pub source: TaskSource,
    /// How sure, 0.5 to 1: BERT's softmax of the label, or half of 1 plus the embedded classifier's margin (at
    /// most 1); 1 for a given task.
    pub score: f32,
    /// The embedded classifier's margin: below 0 localization, above 0 aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f32>,
    /// BERT's logits: localization, aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<[f32; 2]>,
    /// Softmax of BERT's logits after ReLU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softmax: Option<[f32; 2]>,
    /// The margin was too small to decide by: the task is localization for want of a better reason.
    pub uncertain: bool,
    /// What the classifier took for this prompt, on the wall clock (loading it left out).
    pub seconds: f64,
}

impl TaskDecision {
    /// A task that the user gave.
    pub fn given(task: Task) -> Self {
        Self {
            task,
            source: TaskSource::Given,
            score: 1.0,
            margin: None,
            logits: None,
            softmax: None,
            uncertain: false,
            seconds: 0.0,
        }
    }

    pub(super) fn embedded(output: LinearOutput, seconds: f64) -> Self {
        Self {
            source: TaskSource::Embedded,
            score: 0.5 + 0.5 * output.margin.abs().min(1.0),
            margin: Some(output.margin),
            uncertain: output.uncertain,
            seconds,
            ..Self::given(output.task)
        }
    }

    pub(super) fn bert(output: &BertOutput, seconds: f64) -> Self {
        let [localization, aggregation] = output.softmax;
        Self {
            source: TaskSource::Bert,
            score: match output.task {
                Task::Localization => localization,
                Task::Aggregation => aggregation,
            },
            logits: Some(output.logits),
            softmax: Some(output.softmax),
            seconds,
            ..Self::given(output.task)
        }
    }
}
