//! How many held-out questions the demo model answers exactly, for each method.

use serde::Serialize;

use super::prompts::{DemoPrompt, PromptSettings, prompt};
use crate::Result;
use crate::runner::{Model, Request, Sampling, generate};
use crate::settings::Compression;

/// Seed of the held-out prompts: training uses seed 1, and its own evaluations 1,000,001 and 2,000,001.
pub const HELD_OUT_SEED: u64 = 3_000_000;

/// The answers of one method on one kind of prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accuracy {
    /// Prompts that were asked.
    pub prompts: usize,
    /// Answers that were exactly right, to the last token and the end-of-text token.
    pub exact: usize,
    /// Answer words that were right at their place, as a share.
    pub word_share: f64,
    /// Mean of kept tokens over layers and prompts, as a share of the prompt.
    pub kept_share: f64,
}

impl Accuracy {
    /// Exact answers as a share.
    pub fn exact_share(&self) -> f64 {
        self.exact as f64 / self.prompts.max(1) as f64
    }
}

/// One question and what came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answered {
    /// What the model wrote.
    pub text: String,
    /// Whether that is the fact, the full stop and the end of text, and nothing else.
    pub exact: bool,
    /// Words that are right at their place, of the expected answer's.
    pub words: (usize, usize),
    /// Mean of kept tokens over the layers, as a share of the prompt.
    pub kept_share: f64,
}

/// Asks one question. New tokens are bounded by the expected answer's length and a few more.
///
/// # Errors
/// A compression that does not fit the prompt.
pub fn ask(model: &Model, question: &DemoPrompt, compression: &Compression) -> Result<Answered> {
    let ids = model.tokenizer.encode(&question.text, true)?;
    let expected = model.tokenizer.encode(&question.answer, false)?;
    let method = compression.method(ids.len());
    let request = Request {
        ids: &ids,
        method: &*method,
        max_new_tokens: expected.len() + 4,
        sampling: Sampling::default(),
        stop_strings: &[],
        ignore_stop_tokens: false,
    };
    let answer = generate(model, &request, &mut |_| (), &mut |_| ())?;
    let right = expected
        .iter()
        .zip(&answer.ids)
        .filter(|(expected, found)| expected == found);
    Ok(Answered {
        exact: answer.text == question.answer && answer.finish == crate::runner::Finish::StopToken,
        words: (right.count(), expected.len()),
        kept_share: answer.kv.kept_share(),
        text: answer.text,
    })
}

/// Asks the first `count` held-out questions of one kind. `progress` is told how many were asked.
///
/// # Errors
/// Settings that no prompt can be made from, or a compression that does not fit it.
pub fn measure(
    model: &Model,
    settings: &PromptSettings,
    compression: &Compression,
    count: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Accuracy> {
    let (mut exact, mut right, mut words, mut kept) = (0, 0, 0, 0.0);
    for index in 0..count {
        let question = prompt(settings, HELD_OUT_SEED, index as u64)?;
        let answered = ask(model, &question, compression)?;
        exact += usize::from(answered.exact);
        right += answered.words.0;
        words += answered.words.1;
        kept += answered.kept_share;
        progress(index + 1);
    }
    Ok(Accuracy {
        prompts: count,
        exact,
        word_share: right as f64 / words.max(1) as f64,
        kept_share: kept / count.max(1) as f64,
    })
}
