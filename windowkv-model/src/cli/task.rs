//! The options that choose the kind of task, and what follows from it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};
use windowkv_ref::methods::MethodKind;
use windowkv_ref::policy::{Strategy, Task, WindowKvConfig};

use super::compression::TaskName;
use super::output::duration;
use super::run::sha256;
use super::terminal::say;
use crate::classifier::{TaskChooser, TaskClassifier, TaskDecision, TaskSource};
use crate::evaluation::Variant;
use crate::evaluation::fingerprint::Fingerprint;
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
        match self.bert() {
            Some((dir, head)) => TaskClassifier::bert(dir, head),
            None => Ok(TaskClassifier::embedded()),
        }
    }

    fn bert(&self) -> Option<(&Path, &Path)> {
        self.bert_model_dir
            .as_deref()
            .zip(self.classifier_dir.as_deref())
    }

    /// The classifier as a manifest tells it.
    fn settings(&self) -> Result<Value> {
        let name = if self.bert().is_some() {
            "bert"
        } else {
            "embedded"
        };
        let sha256 = sha256(&Fingerprint::of_classifier(self.bert())?)?;
        Ok(json!({"classifier": name, "sha256": sha256}))
    }
}

/// Says of how many prompts of a run the classifier was not sure.
pub(super) fn say_uncertain(prompts: usize) {
    if prompts > 0 {
        say(&format!(
            "note: of {prompts} prompts the task was not clear; they were taken for localization (--task gives it)"
        ));
    }
}

/// The kind of task
#[derive(Debug, Clone, Args)]
pub(super) struct TaskArgs {
    /// WindowKV: the kind of task, from which strategy, window and suffix follow
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

    /// What chooses the task of each prompt.
    ///
    /// # Errors
    /// A classifier that cannot be loaded.
    pub(super) fn chooser(&self) -> Result<TaskChooser> {
        Ok(match self.given() {
            Some(task) => TaskChooser::Given(task),
            None => TaskChooser::Auto(self.classifier.load()?),
        })
    }

    /// What chooses the tasks of an evaluation; nothing where no variant depends on them.
    ///
    /// # Errors
    /// A classifier that cannot be loaded.
    pub(super) fn chooser_of(&self, variants: &[Variant]) -> Result<Option<TaskChooser>> {
        let chooser = depends_on_task(variants).then(|| self.chooser());
        chooser.transpose()
    }

    /// The task of one prompt. The classifier is dropped before the model runs: BERT takes as much memory as a
    /// small model.
    ///
    /// # Errors
    /// A classifier that cannot be loaded, or that cannot work on the prompt.
    pub(super) fn choose(&self, prompt: &str) -> Result<ChosenTask> {
        let start = Instant::now();
        let chooser = self.chooser()?;
        let load_seconds = start.elapsed().as_secs_f64();
        let decision = chooser.choose(prompt)?;
        Ok(ChosenTask {
            decision,
            load_seconds,
        })
    }

    /// What chooses the tasks of an evaluation, as its settings have it: the task, a classifier's fingerprint, or null
    /// where no variant depends on them.
    ///
    /// # Errors
    /// Files of a classifier that cannot be read.
    pub(super) fn settings_of(&self, variants: &[Variant]) -> Result<Value> {
        Ok(match self.given() {
            _ if !depends_on_task(variants) => Value::Null,
            Some(task) => json!(task),
            None => json!({"auto": self.classifier.settings()?}),
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
            _ if self.classifier.bert().is_none() => None,
            (_, false) => Some("the method does not depend on the task"),
            (Some(_), true) => Some("the task is given with --task"),
            (None, true) => None,
        };
        let note = |why| format!("--bert-model-dir, --classifier-dir: not used, {why}");
        unused.map(note).into_iter().collect()
    }
}

/// The task of one prompt.
pub(super) struct ChosenTask {
    pub(super) decision: TaskDecision,
    /// What loading the classifier took.
    load_seconds: f64,
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

/// Whether what is kept depends on the task: it is WindowKV alone that adapts to it.
pub(super) fn depends_on_task(variants: &[Variant]) -> bool {
    let mut kinds = variants.iter().map(Variant::kind);
    kinds.any(|kind| kind == MethodKind::WindowKv)
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
        "--task auto: the prompt has few words, or the classifier's margin is small ({margin:+.2}; below 0 is \
         localization, above 0 aggregation); taken as localization, give --task to decide yourself"
    ))
}

/// A decision for people, without its time.
pub(super) fn described(decision: &TaskDecision) -> String {
    let (task, by) = (name(decision.task), by(decision.source));
    match decision.source {
        TaskSource::Given => format!("task: {task}, by {by}"),
        _ => format!("task: {task}, by {by}, score {:.2}", decision.score),
    }
}

impl ChosenTask {
    fn share(&self, timing: &Timing) -> f64 {
        let seconds = self.decision.seconds;
        let run = seconds + timing.prefill_seconds + timing.decode_seconds;
        seconds / run.max(f64::MIN_POSITIVE)
    }

    /// The line of a run's table on its task.
    pub(super) fn line(&self, timing: &Timing) -> String {
        let text = described(&self.decision);
        match self.decision.source {
            TaskSource::Given => text,
            _ => format!(
                "{text}, in {} ({:.2} % of the run)",
                duration(self.decision.seconds),
                100.0 * self.share(timing),
            ),
        }
    }

    /// The same in a run's JSON.
    pub(super) fn report(&self, timing: &Timing) -> Value {
        let mut report = json!(self.decision);
        report["share_of_run"] = self.share(timing).into();
        report["load_seconds"] = self.load_seconds.into();
        report
    }
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
