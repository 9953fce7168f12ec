//! The instructions that the embedded classifier learns from and is measured on, and contexts to put between
//! their parts. All written for this project: phrasings with alternatives and slots, in English and Chinese.
//!
//! The splits are other sentences, not other fillings of the same. Settings are chosen by the development split; the
//! held-out phrasings are for measuring alone: whoever has chosen something by them must write new ones.

mod contexts;
mod grammar;

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use windowkv_ref::policy::Task;

use contexts::Contexts;
use grammar::{Language, Phrasing, Words, phrasings, pick};

/// A prompt whose task is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelledPrompt {
    /// The whole prompt.
    pub prompt: String,
    /// The instruction alone: the text before and after the context.
    pub instruction: String,
    /// Its task.
    pub task: Task,
    /// What is asked for, such as `document_qa`.
    pub kind: String,
    /// `en` or `zh`.
    pub language: &'static str,
}

/// Which phrasings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Those that are trained on.
    Train,
    /// Those that settings are chosen by and that are not trained on.
    Development,
    /// Those that are measured on and nothing else.
    HeldOut,
}

const TRAIN: [(Language, &str); 2] = [
    (Language::English, include_str!("train.en.txt")),
    (Language::Chinese, include_str!("train.zh.txt")),
];
const DEVELOPMENT: [(Language, &str); 2] = [
    (Language::English, include_str!("development.en.txt")),
    (Language::Chinese, include_str!("development.zh.txt")),
];
const HELD_OUT: [(Language, &str); 2] = [
    (Language::English, include_str!("held_out.en.txt")),
    (Language::Chinese, include_str!("held_out.zh.txt")),
];

/// `variants` prompts of each phrasing of a split, each with another filling and another context; one in eight
/// has no context, the others up to 20,000 characters. The same seed gives the same prompts.
pub fn prompts(split: Split, variants: usize, seed: u64) -> Vec<LabelledPrompt> {
    let files = match split {
        Split::Train => TRAIN,
        Split::Development => DEVELOPMENT,
        Split::HeldOut => HELD_OUT,
    };
    let (words, contexts) = (Words::new(), Contexts::new(&TRAIN));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut prompts = Vec::new();
    for (language, text) in files {
        for phrasing in phrasings(text) {
            for _ in 0..variants {
                prompts.push(labelled(
                    &phrasing,
                    language,
                    &words,
                    &contexts,
                    &mut random,
                ));
            }
        }
    }
    prompts
}

/// How many different instructions are among the prompts.
pub fn different_instructions(prompts: &[LabelledPrompt]) -> usize {
    let instructions: BTreeSet<&str> = prompts
        .iter()
        .map(|prompt| prompt.instruction.as_str())
        .collect();
    instructions.len()
}

fn labelled(
    phrasing: &Phrasing,
    language: Language,
    words: &Words,
    contexts: &Contexts,
    random: &mut ChaCha8Rng,
) -> LabelledPrompt {
    let head = words.fill(phrasing.head, language, random);
    let tail = words.fill(phrasing.tail, language, random);
    let genres = contexts::genres(phrasing.kind);
    let context = match pick(random, 8) {
        0 if genres.is_empty() => String::new(),
        _ => contexts.text(genres, language, words, random),
    };
    let gap = ["\n\n", "\n", " ", "\n\n---\n"][pick(random, 4)];
    let parts = [head.as_str(), context.as_str(), tail.as_str()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    LabelledPrompt {
        prompt: parts.join(gap),
        instruction: format!("{head} ... {tail}"),
        task: phrasing.task,
        kind: phrasing.kind.to_owned(),
        language: language.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_splits_share_no_phrasing() {
        let written = |files: [(Language, &'static str); 2]| {
            let phrasings = files.into_iter().flat_map(|(_, text)| phrasings(text));
            phrasings.map(|p| (p.head, p.tail)).collect::<BTreeSet<_>>()
        };
        let filled = |split| {
            let prompts = prompts(split, 4, 1);
            let instructions = prompts.into_iter().map(|p| p.instruction);
            instructions.collect::<BTreeSet<_>>()
        };
        for [(one, one_files), (other, other_files)] in [
            [(Split::Train, TRAIN), (Split::Development, DEVELOPMENT)],
            [(Split::Train, TRAIN), (Split::HeldOut, HELD_OUT)],
            [
                (Split::Development, DEVELOPMENT),
                (Split::HeldOut, HELD_OUT),
            ],
        ] {
            let (one_files, other_files) = (written(one_files), written(other_files));
            assert_eq!(one_files.intersection(&other_files).next(), None);
            assert_eq!(filled(one).intersection(&filled(other)).next(), None);
        }
    }

    #[test]
    fn there_are_enough_instructions_of_both_tasks_in_both_languages() {
        let prompts = prompts(Split::Train, 12, 1);
        assert!(different_instructions(&prompts) >= 2000);
        for language in ["en", "zh"] {
            for task in [Task::Localization, Task::Aggregation] {
                let of = |p: &&LabelledPrompt| p.language == language && p.task == task;
                assert!(
                    prompts.iter().filter(of).count() >= 200,
                    "{language} {task:?}"
                );
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_prompts_without_open_slots() {
        let some = prompts(Split::HeldOut, 2, 7);
        assert_eq!(some, prompts(Split::HeldOut, 2, 7));
        assert_ne!(some, prompts(Split::HeldOut, 2, 8));
        for prompt in prompts(Split::Train, 2, 3) {
            for open in [
                "{question}",
                "{name}",
                "{topic}",
                "{place}",
                "{fact}",
                "{n}",
                "|||",
                "{verb}",
            ] {
                assert!(
                    !prompt.prompt.contains(open),
                    "{open} in {:?}",
                    prompt.instruction
                );
            }
        }
    }

    #[test]
    fn contexts_are_long_and_some_are_absent() {
        let prompts = prompts(Split::Train, 4, 5);
        let long = prompts.iter().filter(|p| p.prompt.len() > 4000).count();
        let short = prompts.iter().filter(|p| p.prompt.len() < 700).count();
        assert!(
            long > prompts.len() / 3 && short > prompts.len() / 50,
            "{long} {short} {}",
            prompts.len()
        );
    }
}
