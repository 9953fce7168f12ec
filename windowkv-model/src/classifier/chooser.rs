use windowkv_ref::policy::Task;

use super::{TaskClassifier, TaskDecision};
use crate::Result;

/// Chooses the task of each prompt.
#[derive(Debug)]
pub enum TaskChooser {
    /// All prompts have the task that the user gave.
    Given(Task),
    /// A classifier decides.
    Auto(TaskClassifier),
}

impl TaskChooser {
    /// The task of a prompt as the user wrote it (without the model's chat form).
    ///
    /// # Errors
    /// As [`TaskClassifier::classify`].
    pub fn choose(&self, prompt: &str) -> Result<TaskDecision> {
        match self {
            Self::Given(task) => Ok(TaskDecision::given(*task)),
            Self::Auto(classifier) => classifier.classify(prompt),
        }
    }

    /// The tasks that a prompt may get.
    pub fn tasks(&self) -> &[Task] {
        match self {
            Self::Given(task) => std::slice::from_ref(task),
            Self::Auto(_) => &[Task::Localization, Task::Aggregation],
        }
    }
}
