//! What came out of a case.

use serde::{Deserialize, Serialize};
use windowkv_ref::policy::Task;

use super::{Grid, NeedleCase, Prompts};
use crate::Result;
use crate::classifier::TaskChooser;
use crate::evaluation::metrics::rouge1;
use crate::runner::{Model, Request, Sampling, generate_each};

/// A case with its answer. The same case gives the same record on every run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NeedleRecord {
    /// What was asked.
    #[serde(flatten)]
    pub asked: NeedleCase,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// The task that the prompt was taken for; absent in a run without a method that depends on it.
    pub task: Option<Task>,
    /// How sure that is, 0.5 to 1; 1 where the user gave the task.
    pub task_score: Option<f32>,
    /// Whether the classifier's margin was too small to decide by, and the task localization for want of a reason.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub task_uncertain: bool,
    /// Tokens before the needle.
    pub needle_start: usize,
    /// What a right answer says.
    pub reference: String,
    /// The answer, greedily decoded.
    pub answer: String,
    /// Rouge-1 F1 of the answer with Porter stemming, from 0 to 1.
    pub rouge1: f64,
    /// Whether the answer has the reference's words, in order, and no others.
    pub exact: bool,
    /// Mean of kept prompt tokens over the layers, as a share of the prompt.
    pub kept_share: f64,
    /// Bytes of the prompt's compressed keys and values.
    pub kv_bytes: u64,
    /// Bytes of the whole prompt's.
    pub full_bytes: u64,
}

/// Answers cases of one prompt, which is read and classified once for all of them; without `chooser` it is taken for
/// localization.
///
/// # Errors
/// A prompt that cannot be made or classified, a compression that does not fit it.
pub fn answer(
    model: &Model,
    prompts: &Prompts,
    grid: &Grid,
    chooser: Option<&TaskChooser>,
    cases: &[&NeedleCase],
) -> Result<Vec<NeedleRecord>> {
    let Some(first) = cases.first() else {
        return Ok(Vec::new());
    };
    let prompt = prompts.prompt(model, first.length, first.depth, first.prompt)?;
    let decision = chooser
        .map(|chooser| chooser.choose(&prompt.text))
        .transpose()?;
    let task = decision.as_ref().map_or(Task::Localization, |it| it.task);
    let methods: Vec<_> = cases
        .iter()
        .map(|case| {
            let variant = &grid.variants[case.variant];
            variant.compression(task).method(prompt.ids.len())
        })
        .collect();
    let requests: Vec<_> = methods
        .iter()
        .map(|method| Request {
            ids: &prompt.ids,
            method: &**method,
            max_new_tokens: prompt.max_new_tokens,
            sampling: Sampling::default(),
            stop_strings: prompt.stop_strings,
            ignore_stop_tokens: false,
        })
        .collect();
    let answers = generate_each(model, &requests, &mut |_| ())?;
    let records = cases
        .iter()
        .zip(answers)
        .map(|(case, answer)| NeedleRecord {
            asked: (*case).clone(),
            prompt_tokens: prompt.ids.len(),
            task: decision.as_ref().map(|it| it.task),
            task_score: decision.as_ref().map(|it| it.score),
            task_uncertain: decision.as_ref().is_some_and(|it| it.uncertain),
            needle_start: prompt.needle_start,
            rouge1: rouge1::f1(&answer.text, &prompt.reference),
            exact: answer
                .text
                .split_whitespace()
                .eq(prompt.reference.split_whitespace()),
            reference: prompt.reference.clone(),
            kept_share: answer.kv.kept_share(),
            kv_bytes: answer.kv.bytes,
            full_bytes: answer.kv.full_bytes,
            answer: answer.text.trim().to_owned(),
        });
    Ok(records.collect())
}
