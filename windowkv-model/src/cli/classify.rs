//! `windowkv classify`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use windowkv_ref::policy::Task;

use super::output::duration;
use super::task::{self, ClassifierArgs};
use super::terminal::{print, progress, say};
use super::{prompt, terminal};
use crate::classifier::corpus::{LabelledPrompt, Split, prompts};
use crate::classifier::training::Confusion;
use crate::classifier::{TaskClassifier, TaskDecision};
use crate::{Error, Result};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        windowkv classify --prompt \"Summarize the report above.\"\n  \
        windowkv classify --prompt-file prompt.txt --json\n  \
        windowkv classify --jsonl prompts.jsonl             one prompt a line, in the field `prompt`\n  \
        windowkv classify --prompt-file prompt.txt --bert-model-dir bert-base-cased --classifier-dir classifier.pth\n  \
        windowkv classify accuracy                          the embedded classifier on phrasings that it has not seen\n  \
        windowkv classify accuracy --jsonl labelled.jsonl   on your prompts: the fields `prompt` and `task`"
)]
pub(super) struct Classify {
    #[command(subcommand)]
    command: Option<ClassifyCommand>,
    #[command(flatten)]
    input: Input,
    /// JSON instead of text, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    classifier: ClassifierArgs,
}

/// What is classified
#[derive(Debug, Args)]
struct Input {
    /// The prompt [default: standard input]
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["prompt_file", "jsonl"])]
    prompt: Option<String>,
    /// File with the prompt; - is standard input
    #[arg(
        long,
        alias = "prompt_file",
        value_name = "FILE",
        conflicts_with = "jsonl"
    )]
    prompt_file: Option<PathBuf>,
    /// File with one JSON object a line; - is standard input
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// Field of the object that holds the prompt
    #[arg(
        long,
        value_name = "NAME",
        default_value = "prompt",
        requires = "jsonl"
    )]
    field: String,
}

#[derive(Debug, Subcommand)]
enum ClassifyCommand {
    /// Measure a classifier on prompts whose task is known
    Accuracy(Accuracy),
}

#[derive(Debug, Args)]
struct Accuracy {
    /// Labelled prompts, one JSON object a line with the fields `prompt` and `task` [default: held-out phrasings]
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// Prompts of each held-out phrasing
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = variants, conflicts_with = "jsonl")]
    variants: usize,
    /// Of the held-out prompts' fillings and contexts
    #[arg(long, default_value_t = 2, conflicts_with = "jsonl")]
    seed: u64,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    classifier: ClassifierArgs,
}

fn variants(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 1..=10_000)
}

impl Classify {
    pub(super) fn run(&self) -> Result<()> {
        if let Some(ClassifyCommand::Accuracy(accuracy)) = &self.command {
            return accuracy.run();
        }
        let classifier = self.classifier.load()?;
        let Some(path) = &self.input.jsonl else {
            let text = prompt::read(
                self.input.prompt.as_deref(),
                self.input.prompt_file.as_deref(),
            )?;
            if text.trim().is_empty() {
                return Err(Error::EmptyPrompt);
            }
            let decision = classifier.classify(&text)?;
            if self.json {
                return print(&format!("{}\n", json!(decision)));
            }
            print(&sentence(&decision))?;
            if let Some(doubt) = task::doubt(&decision) {
                say(&format!("note: {doubt}"));
            }
            return Ok(());
        };
        let mut heading = Some(heading());
        prompt::json_lines(path, &mut |line, record| {
            let text = text_field(path, line, record, &self.input.field)?;
            let decision = classifier.classify(text)?;
            if self.json {
                let mut report = json!({"line": line});
                merge(&mut report, json!(decision));
                print(&format!("{report}\n"))
            } else {
                let heading = heading.take().unwrap_or_default();
                print(&(heading + &row(line, &decision, text)))
            }
        })
    }
}

fn merge(report: &mut Value, more: Value) {
    if let (Value::Object(report), Value::Object(more)) = (report, more) {
        report.extend(more);
    }
}

fn json_line(path: &Path, line: usize, reason: String) -> Error {
    let path = match path.as_os_str() == "-" {
        true => "standard input".into(),
        false => path.to_owned(),
    };
    Error::JsonLine { path, line, reason }
}

/// The text in a field of a record, which must not be empty.
fn text_field<'a>(
    path: &Path,
    line: usize,
    record: &'a Map<String, Value>,
    field: &str,
) -> Result<&'a str> {
    let wrong = |reason| Err(json_line(path, line, reason));
    match record.get(field) {
        Some(Value::String(text)) if text.trim().is_empty() => wrong(format!(
            "its field `{field}` is empty; there is nothing to classify"
        )),
        Some(Value::String(text)) => Ok(text),
        Some(_) => wrong(format!("its field `{field}` is not a string")),
        None => wrong(format!("it has no field `{field}`")),
    }
}

fn sentence(decision: &TaskDecision) -> String {
    let mut text = format!("{}  score {:.3}", task::name(decision.task), decision.score);
    if let Some(margin) = decision.margin {
        text += &format!("  margin {margin:+.3}");
    }
    if let (Some(logits), Some(softmax)) = (decision.logits, decision.softmax) {
        text += &format!(
            "  logits {:+.3} {:+.3}  softmax {:.3} {:.3}",
            logits[0], logits[1], softmax[0], softmax[1]
        );
    }
    text + &format!("  in {}\n", duration(decision.seconds))
}

fn heading() -> String {
    format!(
        "{:>6}  {:<13}{:>6}  {:>16}{:>10}  prompt\n",
        "line", "task", "score", "margin or logits", "time"
    )
}

fn row(line: usize, decision: &TaskDecision, text: &str) -> String {
    let numbers = match (decision.margin, decision.logits) {
        (Some(margin), _) if decision.uncertain => format!("{margin:+.2} (small)"),
        (Some(margin), _) => format!("{margin:+.2}"),
        (_, Some([localization, aggregation])) => format!("{localization:+.2} {aggregation:+.2}"),
        _ => String::new(),
    };
    let start: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let start: String = start.chars().take(50).collect();
    format!(
        "{line:>6}  {:<13}{:>6.3}  {numbers:>16}{:>10}  {start}\n",
        task::name(decision.task),
        decision.score,
        duration(decision.seconds)
    )
}

/// What was counted of one kind of instruction in one language.
type Kinds = BTreeMap<(String, &'static str), Confusion>;

impl Accuracy {
    fn run(&self) -> Result<()> {
        let classifier = self.classifier.load()?;
        let mut measured = Measured::default();
        match &self.jsonl {
            Some(path) => prompt::json_lines(path, &mut |line, record| {
                let text = text_field(path, line, record, "prompt")?;
                let truth = text_field(path, line, record, "task")?;
                let truth =
                    task::parse(truth).map_err(|error| json_line(path, line, error.to_string()))?;
                measured.add(&classifier, text, truth).map(|_| ())
            })?,
            None => self.held_out(&classifier, &mut measured)?,
        }
        if self.json {
            return print(&format!("{}\n", measured.report()));
        }
        print(&measured.tables())
    }

    fn held_out(&self, classifier: &TaskClassifier, measured: &mut Measured) -> Result<()> {
        let prompts = prompts(Split::HeldOut, self.variants, self.seed);
        let bar = progress("classifying", prompts.len() as u64);
        for phrasing in prompts.chunks(self.variants) {
            let mut right = 0;
            for prompt in phrasing {
                let LabelledPrompt { kind, language, .. } = prompt;
                let decision = measured.add(classifier, &prompt.prompt, prompt.task)?;
                let cell = measured.kinds.entry((kind.clone(), language)).or_default();
                cell.add(prompt.task, decision.task, decision.uncertain);
                right += usize::from(decision.task == prompt.task);
                bar.inc(1);
            }
            let share = right as f64 / self.variants as f64;
            measured.phrasings.push(share);
        }
        bar.finish_and_clear();
        terminal::say(&format!(
            "{} held-out phrasings, {} prompts of each",
            prompts.len() / self.variants,
            self.variants
        ));
        Ok(())
    }
}

#[derive(Default)]
struct Measured {
    all: Confusion,
    kinds: Kinds,
    /// The share of each held-out phrasing's prompts that is right.
    phrasings: Vec<f64>,
    seconds: Vec<f64>,
}

impl Measured {
    fn add(
        &mut self,
        classifier: &TaskClassifier,
        prompt: &str,
        truth: Task,
    ) -> Result<TaskDecision> {
        let decision = classifier.classify(prompt)?;
        self.all.add(truth, decision.task, decision.uncertain);
        self.seconds.push(decision.seconds);
        Ok(decision)
    }

    fn median_seconds(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().unwrap_or(0.0)
    }

    /// That of the accuracy. Prompts of one phrasing are mostly right together: phrasings are what is drawn.
    fn standard_error(&self) -> Option<f64> {
        let count = self.phrasings.len() as f64;
        let mean = self.phrasings.iter().sum::<f64>() / count;
        let squares = self.phrasings.iter().map(|share| (share - mean).powi(2));
        (count > 1.0).then(|| (squares.sum::<f64>() / (count * (count - 1.0))).sqrt())
    }

    fn report(&self) -> Value {
        let kinds: Vec<_> = self
            .kinds
            .iter()
            .map(|((kind, language), cell)| {
                json!({"kind": kind, "language": language, "prompts": cell.total(), "accuracy": cell.accuracy(),
                       "confusion": cell})
            })
            .collect();
        json!({"prompts": self.all.total(), "accuracy": self.all.accuracy(), "confusion": self.all, "kinds": kinds,
               "standard_error": self.standard_error(), "median_seconds": self.median_seconds()})
    }

    fn tables(&self) -> String {
        let mut text = String::new();
        if !self.kinds.is_empty() {
            text += &format!(
                "{:<26}{:>18}{:>18}\n",
                "kind of instruction", "English", "Chinese"
            );
            let names: Vec<_> = self.kinds.keys().map(|(kind, _)| kind).collect();
            for name in names.chunk_by(|a, b| a == b).map(|run| run[0]) {
                let cell = |language| match self.kinds.get(&(name.clone(), language)) {
                    Some(cell) => format!("{:.1} % of {}", 100.0 * cell.accuracy(), cell.total()),
                    None => "-".to_owned(),
                };
                text += &format!("{name:<26}{:>18}{:>18}\n", cell("en"), cell("zh"));
            }
            text += "\n";
        }
        text += &format!(
            "{:<26}{:>18}{:>18}\n",
            "confusion: true task", "localization", "aggregation"
        );
        for (name, row) in ["localization", "aggregation"].iter().zip(self.all.matrix) {
            text += &format!("{name:<26}{:>18}{:>18}\n", row[0], row[1]);
        }
        let error = self.standard_error().map_or(String::new(), |error| {
            format!(
                " (standard error over phrasings {:.1} points)",
                100.0 * error
            )
        });
        text + &format!(
            "\naccuracy {:.2} % of {} prompts{error}, {} of them with a small margin (taken as localization); median time {}\n",
            100.0 * self.all.accuracy(),
            self.all.total(),
            self.all.uncertain,
            duration(self.median_seconds())
        )
    }
}
