use serde::{Deserialize, Serialize};

use crate::Error;

/// The two kinds of task that WindowKV adapts to (spec section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The answer stands in one place: question answering over a passage.
    Localization,
    /// The answer comes from all over: summaries, few-shot, code completion, counting.
    Aggregation,
}

/// How a window's score comes from the scores of its tokens (spec section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The mean of the whole window.
    Average,
    /// The mean of the most attended half of the window.
    Max,
}

impl Strategy {
    /// How many of a window's largest column scores are averaged: all, or half (at least one).
    pub fn top_tokens(self, window_len: usize) -> usize {
        match self {
            Self::Average => window_len,
            Self::Max => (window_len / 2).max(1),
        }
    }
}

/// Which strategy a task gets. The paper and its released code say the opposite of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskMapping {
    /// Localization averages whole windows, aggregation takes the most attended half.
    #[default]
    Paper,
    /// The opposite.
    Released,
}

impl TaskMapping {
    /// The strategy for a task.
    pub fn strategy(self, task: Task) -> Strategy {
        match (self, task) {
            (Self::Paper, Task::Localization) | (Self::Released, Task::Aggregation) => {
                Strategy::Average
            }
            (Self::Paper, Task::Aggregation) | (Self::Released, Task::Localization) => {
                Strategy::Max
            }
        }
    }
}

/// Window and suffix for one kind of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPreset {
    /// Tokens of a window.
    pub window_len: usize,
    /// Tokens of the suffix.
    pub suffix_len: usize,
}

/// The settings that the authors used for one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ModelPreset {
    /// The name that a user gives.
    pub name: &'static str,
    /// Layers of a group.
    pub shared_layers: usize,
    /// Ratio of the pyramid.
    pub beta: usize,
    /// Longest prompt in tokens; a longer one is cut in the middle.
    pub max_input_len: usize,
    /// Which strategy a task gets.
    pub task_mapping: TaskMapping,
    /// Window and suffix when the answer stands in one place.
    pub localization: TaskPreset,
    /// Window and suffix when it comes from all over.
    pub aggregation: TaskPreset,
}

impl ModelPreset {
    /// Llama-3-8B-Instruct as in the paper.
    pub const LLAMA3: Self = Self {
        name: "llama3",
        shared_layers: 8,
        beta: 14,
        max_input_len: 7950,
        task_mapping: TaskMapping::Paper,
        localization: TaskPreset {
            window_len: 8,
            suffix_len: 16,
        },
        aggregation: TaskPreset {
            window_len: 16,
            suffix_len: 32,
        },
    };

    /// Qwen2.5-1.5B-Instruct as in the paper.
    pub const QWEN2_5: Self = Self {
        name: "qwen2.5",
        shared_layers: 7,
        beta: 14,
        max_input_len: 15_500,
        task_mapping: TaskMapping::Paper,
        localization: TaskPreset {
            window_len: 32,
            suffix_len: 4,
        },
        aggregation: TaskPreset {
            window_len: 32,
            suffix_len: 16,
        },
    };

    /// Llama-3-8B-Instruct as the released script runs it.
    pub const RELEASED_LLAMA3: Self = Self {
        name: "released-llama3",
        shared_layers: 8,
        beta: 14,
        max_input_len: 7950,
        task_mapping: TaskMapping::Released,
        localization: TaskPreset {
            window_len: 8,
            suffix_len: 32,
        },
        aggregation: TaskPreset {
            window_len: 8,
            suffix_len: 16,
        },
    };

    /// Every preset.
    pub const ALL: [Self; 3] = [Self::LLAMA3, Self::QWEN2_5, Self::RELEASED_LLAMA3];

    /// Window and suffix for a task.
    pub fn task(&self, task: Task) -> TaskPreset {
        match task {
            Task::Localization => self.localization,
            Task::Aggregation => self.aggregation,
        }
    }
}

impl std::str::FromStr for ModelPreset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name == name)
            .ok_or_else(|| Error::UnknownName {
                what: "preset",
                found: name.to_owned(),
                choices: "llama3, qwen2.5, released-llama3",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_mappings_are_opposites() {
        for task in [Task::Localization, Task::Aggregation] {
            assert_ne!(
                TaskMapping::Paper.strategy(task),
                TaskMapping::Released.strategy(task)
            );
        }
        assert_eq!(
            TaskMapping::Paper.strategy(Task::Localization),
            Strategy::Average
        );
    }

    #[test]
    fn the_most_attended_half_has_at_least_one_token() {
        assert_eq!(
            [1, 2, 7, 8].map(|len| Strategy::Max.top_tokens(len)),
            [1, 1, 3, 4]
        );
        assert_eq!(Strategy::Average.top_tokens(7), 7);
    }

    #[test]
    fn presets_are_found_by_name() {
        for preset in ModelPreset::ALL {
            assert_eq!(preset.name.parse::<ModelPreset>().unwrap(), preset);
        }
        assert!(
            "llama4"
                .parse::<ModelPreset>()
                .unwrap_err()
                .to_string()
                .contains("llama4")
        );
    }
}
