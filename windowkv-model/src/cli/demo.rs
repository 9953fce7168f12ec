//! `windowkv demo`

use clap::{Args, Subcommand};
use serde_json::json;
use windowkv_ref::methods::{MethodKind, TokenConfig};
use windowkv_ref::policy::WindowKvConfig;

use super::output::{bytes, duration, grouped};
use super::terminal::{print, progress, say};
use crate::Result;
use crate::demo::accuracy::{Accuracy, HELD_OUT_SEED, measure};
use crate::demo::prompts::{DemoPrompt, PromptSettings, prompt};
use crate::demo::{ADVERTISED_TOKENS, PRESET};
use crate::runner::{Generation, Model, Request, Sampling, generate};
use crate::settings::{Capacity, Compression};

/// Width of the average pooling that brings back facts which a window's edge cuts.
const SCORE_POOLING: usize = 9;
/// Cells of the picture of what is kept.
const PICTURE_CELLS: usize = 64;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        windowkv demo                                     full cache and WindowKV side by side\n  \
        windowkv demo --index 1                           a fact that a window's edge cuts\n  \
        windowkv demo --tokens 1000 --answer-tokens 6 --capacity 25%\n  \
        windowkv demo prompt > prompt.txt                 a prompt for `windowkv generate`\n  \
        windowkv demo accuracy                            the README's table: every method, 200 prompts a cell"
)]
pub(super) struct Demo {
    #[command(subcommand)]
    command: Option<DemoCommand>,
    #[command(flatten)]
    question: Question,
    /// Tokens that a layer keeps on average, or a share of the prompt
    #[arg(long, default_value = "12%", value_name = "TOKENS")]
    capacity: Capacity,
    /// One JSON object instead of the comparison
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// Print a prompt that the demo model understands; the expected answer goes to standard error
    Prompt(Question),
    /// Measure how many held-out questions each method answers exactly
    Accuracy(AccuracyArgs),
}

/// Which prompt is made
#[derive(Debug, Clone, Args)]
struct Question {
    /// Length of the prompt in tokens
    #[arg(long, default_value_t = ADVERTISED_TOKENS, value_parser = prompt_tokens)]
    tokens: usize,
    /// Facts in the haystack; one of them is asked for
    #[arg(long, default_value_t = 8)]
    facts: usize,
    /// Words of each answer
    #[arg(long, default_value_t = 4)]
    answer_tokens: usize,
    /// Where the asked fact stands, 0 the beginning and 1 the end [default: anywhere]
    #[arg(long)]
    depth: Option<f64>,
    /// Which series of prompts
    #[arg(long, default_value_t = HELD_OUT_SEED)]
    seed: u64,
    /// Which prompt of the series
    #[arg(long, default_value_t = 0)]
    index: u64,
}

#[derive(Debug, Args)]
struct AccuracyArgs {
    /// Prompts for each cell of the table
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    prompts: u64,
    /// Prompt lengths at which the full cache is measured
    #[arg(long, value_delimiter = ',', default_values_t = [256, 512, 1024, ADVERTISED_TOKENS, 4096],
          value_parser = prompt_tokens)]
    lengths: Vec<usize>,
    /// Prompt length at which the methods are compared
    #[arg(long, default_value_t = 1024, value_parser = prompt_tokens)]
    tokens: usize,
    /// Shares of the prompt that the methods keep
    #[arg(long, value_delimiter = ',', default_values = ["12%", "25%"])]
    capacities: Vec<Capacity>,
    /// Words of an answer
    #[arg(long, value_delimiter = ',', default_values_t = [3, 6])]
    answer_tokens: Vec<usize>,
    /// Facts in each haystack
    #[arg(long, default_value_t = 8)]
    facts: usize,
    /// One JSON object instead of Markdown
    #[arg(long)]
    json: bool,
}

/// A prompt that is made in no time and little memory; the model's own context is shorter.
fn prompt_tokens(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 1..=1_000_000)
}

impl Question {
    fn prompt(&self) -> Result<DemoPrompt> {
        let settings = PromptSettings {
            tokens: self.tokens,
            facts: self.facts,
            answer_tokens: self.answer_tokens,
            depth: self.depth,
        };
        Ok(prompt(&settings, self.seed, self.index)?)
    }
}

impl Demo {
    pub(super) fn run(&self) -> Result<()> {
        match &self.command {
            Some(DemoCommand::Prompt(question)) => {
                let prompt = question.prompt()?;
                print(&prompt.text)?;
                say(&format!("expected answer:{}", prompt.answer));
                Ok(())
            }
            Some(DemoCommand::Accuracy(accuracy)) => accuracy.run(),
            None => self.compare(),
        }
    }

    /// The main job: the same question with the full cache and with WindowKV.
    fn compare(&self) -> Result<()> {
        let model = Model::demo()?;
        let question = self.question.prompt()?;
        let ids = model.tokenizer.encode(&question.text, true)?;
        let candidates = [
            (
                "full cache",
                compression(MethodKind::FullKv, self.capacity, 1),
            ),
            (
                "WindowKV",
                compression(MethodKind::WindowKv, self.capacity, 1),
            ),
            (
                "WindowKV, pooled",
                compression(MethodKind::WindowKv, self.capacity, SCORE_POOLING),
            ),
        ];
        let bar = progress("answering", 1000 * candidates.len() as u64);
        let mut answers = Vec::new();
        for (index, (name, compression)) in candidates.iter().enumerate() {
            let method = compression.method(ids.len());
            let request = Request {
                ids: &ids,
                method: &*method,
                max_new_tokens: self.question.answer_tokens + 8,
                sampling: Sampling::default(),
                stop_strings: &[],
                ignore_stop_tokens: false,
            };
            let mut part = |done: f64| bar.set_position(((index as f64 + done) * 1000.0) as u64);
            answers.push((*name, generate(&model, &request, &mut part, &mut |_| ())?));
        }
        bar.finish_and_clear();
        if self.json {
            let answers: Vec<_> = answers
                .iter()
                .map(|(name, answer)| json!({"name": name, "exact": answer.text == question.answer, "answer": answer}))
                .collect();
            let report = json!({
                "prompt_tokens": ids.len(), "key": question.key, "expected": question.answer,
                "fact_start": question.fact_start, "answers": answers,
            });
            return print(&format!("{report}\n"));
        }
        print(&comparison(&question, ids.len(), &answers))
    }
}

/// WindowKV with the demo's preset and every other method with the same number of observed rows.
fn compression(kind: MethodKind, capacity: Capacity, score_pooling: usize) -> Compression {
    let by_task = PRESET.localization;
    Compression {
        kind,
        capacity,
        window: WindowKvConfig {
            window_len: by_task.window_len,
            suffix_len: by_task.suffix_len,
            shared_layers: PRESET.shared_layers,
            beta: PRESET.beta,
            score_pooling,
            ..WindowKvConfig::default()
        },
        tokens: TokenConfig {
            recent_len: by_task.suffix_len,
            ..TokenConfig::default()
        },
        recent_given: kind != MethodKind::StreamingLlm,
    }
}

fn comparison(question: &DemoPrompt, tokens: usize, answers: &[(&str, Generation)]) -> String {
    let beginning: String = question.text.chars().take(150).collect();
    let asked = question
        .text
        .rsplit_once("\nQuestion:")
        .map_or("", |(_, asked)| asked);
    let mut text = format!(
        "A prompt of {} tokens; the answer stands {:.0} % deep in it.\n\n  {} ...\n  Question:{}\n\n  expected{:>12}{}\n\n",
        grouped(tokens as u64),
        100.0 * question.fact_start as f64 / tokens as f64,
        beginning.replace('\n', "\n  "),
        asked.replace('\n', "\n  "),
        "",
        question.answer,
    );
    for (name, answer) in answers {
        let verdict = if answer.text == question.answer {
            "right"
        } else {
            "wrong"
        };
        text += &format!("  {name:<18}  {}  ({verdict})\n", answer.text.trim_start());
    }
    text += &format!(
        "\n  {:<18}{:>12}{:>12}{:>10}{:>12}{:>14}\n",
        "", "kept", "KV cache", "of full", "prefill", "decode/token"
    );
    for (name, answer) in answers {
        let kv = &answer.kv;
        let decoded = answer.ids.len().saturating_sub(1).max(1) as f64;
        text += &format!(
            "  {name:<18}{:>12}{:>12}{:>10}{:>12}{:>14}\n",
            format!("{:.0} tok", kv.kept_share() * tokens as f64),
            bytes(kv.bytes),
            format!("{:.1} %", 100.0 * kv.bytes as f64 / kv.full_bytes as f64),
            duration(answer.timing.prefill_seconds),
            duration(answer.timing.decode_seconds / decoded),
        );
    }
    for (name, answer) in answers
        .iter()
        .filter(|(_, answer)| answer.kv.method == MethodKind::WindowKv)
    {
        text += &format!(
            "\n  what {name} keeps of the prompt (v: the asked fact)\n{}",
            picture(question, tokens, answer)
        );
    }
    text
}

/// One line a group: how much of each stretch of the prompt it keeps.
fn picture(question: &DemoPrompt, tokens: usize, answer: &Generation) -> String {
    const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];
    let fact = question.fact_start * PICTURE_CELLS / tokens.max(1);
    let mut text = format!("  {:<14}{}v\n", "", " ".repeat(fact));
    for group in &answer.kv.groups {
        let mut kept = vec![false; tokens];
        let suffix = PRESET.localization.suffix_len.min(tokens);
        let window_len = PRESET.localization.window_len;
        for &window in group.windows.iter().flatten() {
            let end = ((window + 1) * window_len).min(tokens - suffix);
            kept[window * window_len..end].fill(true);
        }
        kept[tokens - suffix..].fill(true);
        let cell = |cell: usize| {
            let start = cell * tokens / PICTURE_CELLS;
            let end = ((cell + 1) * tokens / PICTURE_CELLS).max(start + 1);
            let span = &kept[start..end];
            let share = span.iter().filter(|&&kept| kept).count() as f64 / span.len().max(1) as f64;
            SHADES[(share * (SHADES.len() - 1) as f64).ceil() as usize]
        };
        let cells: String = (0..PICTURE_CELLS).map(cell).collect();
        let layers = format!(
            "layers {}-{}",
            group.first_layer,
            group.first_layer + group.layers - 1
        );
        text += &format!(
            "  {layers:<14}{cells}  {:>5} tokens\n",
            grouped(group.kept_tokens as u64)
        );
    }
    text
}

impl AccuracyArgs {
    fn run(&self) -> Result<()> {
        let model = Model::demo()?;
        let methods = [
            ("StreamingLLM", MethodKind::StreamingLlm, 1),
            ("H2O", MethodKind::H2o, 1),
            ("SnapKV", MethodKind::SnapKv, 1),
            ("PyramidKV", MethodKind::PyramidKv, 1),
            ("WindowKV (paper)", MethodKind::WindowKv, 1),
            (
                "WindowKV, score_pooling 9",
                MethodKind::WindowKv,
                SCORE_POOLING,
            ),
        ];
        let cells =
            self.answer_tokens.len() * (self.lengths.len() + self.capacities.len() * methods.len());
        let bar = progress("measuring", self.prompts * cells as u64);
        let cell = |tokens: usize, answer_tokens: usize, compression: &Compression| {
            let settings = PromptSettings {
                tokens,
                facts: self.facts,
                answer_tokens,
                depth: None,
            };
            measure(
                &model,
                &settings,
                compression,
                self.prompts as usize,
                &mut |_| bar.inc(1),
            )
        };
        let mut full = Vec::new();
        for &tokens in &self.lengths {
            for &answer_tokens in &self.answer_tokens {
                let compression = compression(MethodKind::FullKv, Capacity::Share(1.0), 1);
                full.push((
                    tokens,
                    answer_tokens,
                    cell(tokens, answer_tokens, &compression)?,
                ));
            }
        }
        let mut compared = Vec::new();
        for (name, kind, score_pooling) in methods {
            for &capacity in &self.capacities {
                for &answer_tokens in &self.answer_tokens {
                    let compression = compression(kind, capacity, score_pooling);
                    compared.push((
                        name,
                        capacity,
                        answer_tokens,
                        cell(self.tokens, answer_tokens, &compression)?,
                    ));
                }
            }
        }
        bar.finish_and_clear();
        if self.json {
            let full: Vec<_> = full
                .iter()
                .map(|(tokens, words, accuracy)| json!({"tokens": tokens, "answer_tokens": words, "accuracy": accuracy}))
                .collect();
            let compared: Vec<_> = compared
                .iter()
                .map(|(name, capacity, words, accuracy)| {
                    json!({"method": name, "tokens": self.tokens, "capacity": capacity, "answer_tokens": words,
                           "accuracy": accuracy})
                })
                .collect();
            let report = json!({"prompts": self.prompts, "facts": self.facts, "seed": HELD_OUT_SEED,
                                "full_cache": full, "compared": compared});
            return print(&format!("{report}\n"));
        }
        print(&self.markdown(&full, &compared))
    }

    fn markdown(
        &self,
        full: &[(usize, usize, Accuracy)],
        compared: &[(&str, Capacity, usize, Accuracy)],
    ) -> String {
        let share = |accuracy: &Accuracy| format!("{:.1} %", 100.0 * accuracy.exact_share());
        let words = |text: &str| {
            self.answer_tokens
                .iter()
                .map(|words| format!(" {text}{words} words |"))
                .collect::<String>()
        };
        let rule = |cells: usize| format!("|---|{}\n", "---:|".repeat(cells));
        let mut text = format!(
            "Exact answers over {} held-out prompts a cell, {} facts in each haystack.\n\nFull cache:\n\n| prompt |{}\n{}",
            self.prompts,
            self.facts,
            words("answers of "),
            rule(self.answer_tokens.len()),
        );
        for row in full.chunks(self.answer_tokens.len()) {
            let cells: String = row
                .iter()
                .map(|(_, _, accuracy)| format!(" {} |", share(accuracy)))
                .collect();
            text += &format!("| {} tokens |{cells}\n", grouped(row[0].0 as u64));
        }
        let headings: String = self
            .capacities
            .iter()
            .map(|capacity| match capacity {
                Capacity::Share(share) => words(&format!("{:.0} %: ", 100.0 * share)),
                Capacity::Tokens(tokens) => words(&format!("{tokens} tokens: ")),
            })
            .collect();
        let columns = self.answer_tokens.len() * self.capacities.len();
        text += &format!(
            "\nBy method, prompts of {} tokens, share of the cache that is kept:\n\n| method |{headings}\n{}",
            grouped(self.tokens as u64),
            rule(columns),
        );
        for row in compared.chunks(columns) {
            let cells: String = row
                .iter()
                .map(|(_, _, _, accuracy)| format!(" {} |", share(accuracy)))
                .collect();
            text += &format!("| {} |{cells}\n", row[0].0);
        }
        text
    }
}
