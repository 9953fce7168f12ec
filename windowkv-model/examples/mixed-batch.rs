//! A batch whose requests ask for different kinds of task: each gets the strategy, window and suffix of its own.
//!
//! ```sh
//! cargo run --release -p windowkv-model --example mixed-batch
//! ```
//! The demo model answers the questions; it was never taught to summarize, so look at what is kept, not at its words.

use windowkv_model::classifier::TaskClassifier;
use windowkv_model::demo::prompts::{DemoError, PromptSettings, prompt};
use windowkv_model::runner::{Model, Request, Sampling, generate_batch};
use windowkv_model::settings::window_config;
use windowkv_ref::methods::WindowKv;
use windowkv_ref::policy::{TaskMapping, WindowKvConfig};

const CAPACITY: usize = 200;

/// Two questions about long texts, and two requests for a summary of them.
fn prompts() -> Result<Vec<String>, DemoError> {
    let settings = PromptSettings {
        tokens: 1500,
        facts: 8,
        answer_tokens: 3,
        depth: None,
    };
    let mut prompts = Vec::new();
    for index in 0..2 {
        let question = prompt(&settings, 1, index)?.text;
        let text = question.split("Question:").next().unwrap_or_default();
        let summary = format!("Summarize the following text.\n\n{text}\n\nSummary:");
        prompts.extend([question, summary]);
    }
    Ok(prompts)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::demo()?;
    let classifier = TaskClassifier::embedded();
    let mut decisions = Vec::new();
    let mut settings = Vec::new();
    let mut ids = Vec::new();
    for prompt in prompts()? {
        let decision = classifier.classify(&prompt)?;
        settings.push(WindowKvConfig {
            capacity: CAPACITY,
            ..window_config(&model.preset, TaskMapping::Paper, decision.task)
        });
        decisions.push(decision);
        ids.push(model.tokenizer.encode(&prompt, true)?);
    }
    let methods: Vec<_> = settings.iter().cloned().map(WindowKv::new).collect();
    let requests: Vec<_> = ids
        .iter()
        .zip(&methods)
        .map(|(ids, method)| Request {
            ids,
            method,
            max_new_tokens: 6,
            sampling: Sampling::default(),
            stop_strings: &[],
            ignore_stop_tokens: false,
        })
        .collect();
    let answers = generate_batch(&model, &requests, &mut |_| (), &mut |_, _| ())?;
    println!(
        "{:<14}{:>6}{:>9}  {:<9}{:>7}{:>7}  {:<24}answer",
        "task", "score", "time", "strategy", "window", "suffix", "kept by group"
    );
    for ((decision, config), answer) in decisions.iter().zip(&settings).zip(&answers) {
        let kept: Vec<_> = answer
            .kv
            .groups
            .iter()
            .map(|group| group.kept_tokens.to_string())
            .collect();
        println!(
            "{:<14}{:>6.2}{:>6.0} us  {:<9}{:>7}{:>7}  {:<24}{}",
            format!("{:?}", decision.task).to_lowercase(),
            decision.score,
            decision.seconds * 1e6,
            format!("{:?}", config.strategy).to_lowercase(),
            config.window_len,
            config.suffix_len,
            kept.join(" "),
            answer.text.trim()
        );
    }
    Ok(())
}
