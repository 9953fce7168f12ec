//! The options that choose the kind of task, and what follows from it.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};
use windowkv_ref::policy::{Strategy, Task, WindowKvConfig};

use super::compression::TaskName;
use super::output::duration;
use crate::classifier::{TaskClassifier, TaskDecision, TaskSource};
use crate::runner::Timing;
use crate::{Error, Result};

/// Which classifier `--task auto` asks
#[derive(Debug, Clone, Args)]
pub(super) struct ClassifierArgs {
    /// Folder of a BERT encoder for --task auto: config.json, tokenizer.json or vocab.txt, and weights [default: the
    /// embedded classifier]
    #[arg(
        long,
        alias = "bert_model_dir",
        value_name = "DIR",
        requires = "classifier_dir"
    )]
    bert_model_dir: Option<PathBuf>,
    /// File of the BERT classifier: a .pth state dict or safetensors with bert.* and linear.*
    #[arg(
        long,
        alias = "classifier_dir",
        value_name = "FILE",
        requires = "bert_model_dir"
    )]
    classifier_dir: Option<PathBuf>,
}

impl ClassifierArgs {
    /// The classifier that was asked for.
    pub(super) fn load(&self) -> Result<TaskClassifier> {
        match (&self.bert_model_dir, &self.classifier_dir) {
            (Some(dir), Some(file)) => TaskClassifier::bert(dir, file),
            _ => Ok(TaskClassifier::embedded()),
        }
    }

    fn is_given(&self) -> bool {
        self.bert_model_dir.is_some()
    }
}

/// The kind of task
#[derive(Debug, Clone, Args)]
pub(super) struct TaskArgs {
    /// The kind of task, from which strategy, window and suffix follow
    #[arg(long, value_enum, default_value = "auto")]
    task: TaskName,
    #[command(flatten)]
    classifier: ClassifierArgs,
    /// WindowKV: what localization gets in place of its preset: window=N, suffix=N, p=N (tokens of a window that are
    /// averaged), strategy=average or max, separated by commas
    #[arg(long, value_name = "KEY=VALUE,...")]
    localization: Option<TaskOverride>,
    /// WindowKV: the same for aggregation, such as window=32,suffix=16,p=8
    #[arg(long, value_name = "KEY=VALUE,...")]
    aggregation: Option<TaskOverride>,
}

impl TaskArgs {
    /// The task that was given; `None` for `auto`.
    pub(super) fn given(&self) -> Option<Task> {
        self.task.into()
    }

    /// Chooses tasks, of one prompt or of many.
    pub(super) fn chooser(&self) -> Result<TaskChooser> {
        let start = Instant::now();
        let classifier = match self.given() {
            Some(_) => None,
            None => Some(self.classifier.load()?),
        };
        Ok(TaskChooser {
            given: self.given(),
            classifier,
            load_seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// What is overridden for a task.
    pub(super) fn overrides(&self, task: Task) -> TaskOverride {
        let set = match task {
            Task::Localization => self.localization,
            Task::Aggregation => self.aggregation,
        };
        set.unwrap_or_default()
    }

    /// What of the options does not take part in a run, in which WindowKV is used or not.
    pub(super) fn notes(&self, windowkv: bool) -> Vec<String> {
        let unused = match (self.given(), windowkv) {
            _ if !self.classifier.is_given() => None,
            (_, false) => Some("the method does not depend on the task"),
            (Some(_), true) => Some("the task is given with --task"),
            (None, true) => None,
        };
        let note = |why| format!("--bert-model-dir, --classifier-dir: not used, {why}");
        unused.map(note).into_iter().collect()
    }
}

/// Chooses the task of each prompt.
pub(super) struct TaskChooser {
    given: Option<Task>,
    classifier: Option<TaskClassifier>,
    /// What loading the classifier took.
    pub(super) load_seconds: f64,
}

impl TaskChooser {
    pub(super) fn choose(&self, prompt: &str) -> Result<TaskDecision> {
        match &self.classifier {
            Some(classifier) => classifier.classify(prompt),
            None => Ok(TaskDecision::given(
                self.given.unwrap_or(Task::Localization),
            )),
        }
    }
}

/// What is set for one task in place of the preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TaskOverride {
    window_len: Option<usize>,
    suffix_len: Option<usize>,
    top_tokens: Option<usize>,
    pub(super) strategy: Option<Strategy>,
}

impl TaskOverride {
    /// Puts what is set into a config.
    pub(super) fn apply(&self, config: &mut WindowKvConfig) {
        config.window_len = self.window_len.unwrap_or(config.window_len);
        config.suffix_len = self.suffix_len.unwrap_or(config.suffix_len);
        config.top_tokens = self.top_tokens.or(config.top_tokens);
        config.strategy = self.strategy.unwrap_or(config.strategy);
    }
}

impl FromStr for TaskOverride {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        const EXPECTED: &str =
            "window=N, suffix=N, p=N or strategy=average|max, separated by commas";
        let mut set = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not {EXPECTED}"))?;
            let number = || {
                super::count(value.trim(), 1..=crate::config::MAX_POSITIONS)
                    .map_err(|limits| format!("{} is {value}; it {limits}", key.trim()))
            };
            let twice = match key.trim() {
                "window" => set.window_len.replace(number()?).is_some(),
                "suffix" => set.suffix_len.replace(number()?).is_some(),
                "p" => set.top_tokens.replace(number()?).is_some(),
                "strategy" => {
                    let strategy = match value.trim() {
                        "average" => Strategy::Average,
                        "max" => Strategy::Max,
                        other => {
                            return Err(format!("strategy is {other}; it is average or max"));
                        }
                    };
                    set.strategy.replace(strategy).is_some()
                }
                other => return Err(format!("{other:?} is not one of {EXPECTED}")),
            };
            if twice {
                return Err(format!("{} is given twice", key.trim()));
            }
        }
        Ok(set)
    }
}

/// The name of a task.
pub(super) fn name(task: Task) -> &'static str {
    match task {
        Task::Localization => "localization",
        Task::Aggregation => "aggregation",
    }
}

/// Who chose a task, for people.
fn by(source: TaskSource) -> &'static str {
    match source {
        TaskSource::Given => "--task",
        TaskSource::Embedded => "the embedded classifier",
        TaskSource::Bert => "BERT",
    }
}

/// What a user should know of a decision: nothing if it was clear.
pub(super) fn doubt(decision: &TaskDecision) -> Option<String> {
    let margin = decision.margin.filter(|_| decision.uncertain)?;
    Some(format!(
        "--task auto: the classifier's margin is small ({margin:+.2}; below 0 is localization, above 0 aggregation); \
         taken as localization, give --task to decide yourself"
    ))
}

fn share(decision: &TaskDecision, timing: &Timing) -> f64 {
    let run = decision.seconds + timing.prefill_seconds + timing.decode_seconds;
    decision.seconds / run.max(f64::MIN_POSITIVE)
}

/// The line of a run's table on its task.
pub(super) fn line(decision: &TaskDecision, timing: &Timing) -> String {
    let task = name(decision.task);
    let by = by(decision.source);
    match decision.source {
        TaskSource::Given => format!("task: {task}, by {by}"),
        _ => format!(
            "task: {task}, by {by}, score {:.2}, in {} ({:.2} % of the run)",
            decision.score,
            duration(decision.seconds),
            100.0 * share(decision, timing),
        ),
    }
}

/// The same in a run's JSON.
pub(super) fn report(decision: &TaskDecision, load_seconds: f64, timing: &Timing) -> Value {
    let mut report = json!(decision);
    report["share_of_run"] = share(decision, timing).into();
    report["load_seconds"] = load_seconds.into();
    report
}

/// The task that a name in a file stands for.
pub(super) fn parse(name: &str) -> Result<Task> {
    match name {
        "localization" => Ok(Task::Localization),
        "aggregation" => Ok(Task::Aggregation),
        other => Err(Error::Setting {
            name: "task",
            value: format!("{other:?}"),
            expected: "localization or aggregation",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_parsed_and_applied() {
        let set: TaskOverride = "window=32, suffix=4,p=3,strategy=max".parse().unwrap();
        let mut config = WindowKvConfig::default();
        set.apply(&mut config);
        assert_eq!(
            (config.window_len, config.suffix_len, config.top_tokens()),
            (32, 4, 3)
        );
        assert_eq!(config.strategy, Strategy::Max);
        let mut same = WindowKvConfig::default();
        "".parse::<TaskOverride>().unwrap().apply(&mut same);
        assert_eq!(same, WindowKvConfig::default());
    }

    #[test]
    fn broken_overrides_are_named() {
        for (text, part) in [
            ("window", "\"window\""),
            ("window=0", "window is 0"),
            ("window=x", "window is x"),
            ("p=-1", "p is -1"),
            ("beta=3", "\"beta\""),
            ("strategy=mean", "mean"),
            ("suffix=1,suffix=2", "suffix is given twice"),
            ("window=99999999999999999999", "99999999999999999999"),
        ] {
            let message = text.parse::<TaskOverride>().unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
