//! The files of phrasings and words, and how a phrasing becomes a text.
//!
//! A line is a text in which `(a|b)` stands for one of its alternatives, a slot such as `{name}` for a word of
//! that kind, `{n}` for a number, `{pseudo}` for a word that is none, and `\n` for a line break. `[...]` begins
//! a section, `#` a comment.

use std::collections::HashMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use windowkv_ref::policy::Task;

/// Languages of the corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Language {
    English,
    Chinese,
}

impl Language {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }
}

/// An instruction with its alternatives and slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phrasing {
    pub(super) kind: &'static str,
    pub(super) task: Task,
    pub(super) head: &'static str,
    pub(super) tail: &'static str,
}

/// A number below `limit`.
pub(super) fn pick(random: &mut ChaCha8Rng, limit: usize) -> usize {
    (random.next_u32() as usize) % limit
}

/// The lines of a file with the two words of their section's heading.
pub(super) fn lines(text: &'static str) -> impl Iterator<Item = ([&'static str; 2], &'static str)> {
    let mut section = ["", ""];
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .filter_map(move |line| match heading(line) {
            Some(heading) => {
                section = heading;
                None
            }
            None => Some((section, line)),
        })
}

fn heading(line: &'static str) -> Option<[&'static str; 2]> {
    let inner = line.strip_prefix('[')?.strip_suffix(']')?;
    inner.split_once(' ').map(|(a, b)| [a, b])
}

/// The phrasings of a file.
pub(super) fn phrasings(text: &'static str) -> Vec<Phrasing> {
    lines(text)
        .map(|([kind, task], line)| {
            let (head, tail) = line.split_once("|||").unwrap_or((line, ""));
            Phrasing {
                kind,
                task: match task {
                    "aggregation" => Task::Aggregation,
                    _ => Task::Localization,
                },
                head: head.trim(),
                tail: tail.trim(),
            }
        })
        .collect()
}

/// What slots are filled with.
pub(super) struct Words(HashMap<(&'static str, &'static str), Vec<&'static str>>);

impl Words {
    pub(super) fn new() -> Self {
        let mut words = HashMap::new();
        for ([kind, language], line) in lines(include_str!("words.txt")) {
            words.insert((kind, language), line.split('|').collect());
        }
        Self(words)
    }

    /// A text with its alternatives chosen and its slots filled.
    pub(super) fn fill(&self, text: &str, language: Language, random: &mut ChaCha8Rng) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['(', '{', '\\']) {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            rest = self
                .alternatives(rest, language, random, &mut filled)
                .or_else(|| self.slot(rest, language, random, &mut filled))
                .unwrap_or_else(|| {
                    if let Some(after) = rest.strip_prefix("\\n") {
                        filled.push('\n');
                        after
                    } else {
                        filled.push_str(&rest[..1]);
                        &rest[1..]
                    }
                });
        }
        filled.push_str(rest);
        filled
    }

    /// `(a|b)` at the beginning of `rest`; what follows it. A parenthesis without `|` is text.
    fn alternatives<'a>(
        &self,
        rest: &'a str,
        language: Language,
        random: &mut ChaCha8Rng,
        filled: &mut String,
    ) -> Option<&'a str> {
        let (inner, after) = rest.strip_prefix('(')?.split_once(')')?;
        if !inner.contains('|') {
            return None;
        }
        let choices: Vec<&str> = inner.split('|').collect();
        let choice = choices[pick(random, choices.len())];
        filled.push_str(&self.fill(choice, language, random));
        Some(after)
    }

    /// `{name}` at the beginning of `rest`; what follows it.
    fn slot<'a>(
        &self,
        rest: &'a str,
        language: Language,
        random: &mut ChaCha8Rng,
        filled: &mut String,
    ) -> Option<&'a str> {
        let (name, after) = rest.strip_prefix('{')?.split_once('}')?;
        match name {
            "n" => filled.push_str(&number(random)),
            "pseudo" => filled.push_str(&pseudo(language, random)),
            _ => {
                let (_, words) = self
                    .0
                    .iter()
                    .find(|((kind, code), _)| *kind == name && *code == language.code())?;
                let word = words[pick(random, words.len())];
                filled.push_str(&self.fill(word, language, random));
            }
        }
        Some(after)
    }
}

fn number(random: &mut ChaCha8Rng) -> String {
    let limits = [10, 100, 2030, 10_000];
    let limit = limits[pick(random, limits.len())];
    pick(random, limit).to_string()
}

/// A word of random syllables, or random Chinese characters: what no training text has seen.
fn pseudo(language: Language, random: &mut ChaCha8Rng) -> String {
    match language {
        Language::English => {
            let letter = |letters: &str, random: &mut ChaCha8Rng| {
                char::from(letters.as_bytes()[pick(random, letters.len())])
            };
            let mut word = String::new();
            for _ in 0..1 + pick(random, 4) {
                word.push(letter("bcdfghjklmnprstvwz", random));
                word.push(letter("aeiou", random));
                if pick(random, 3) == 0 {
                    word.push(letter("nrstlmd", random));
                }
            }
            word
        }
        Language::Chinese => {
            // The block of the common characters.
            let character = 0x4e00 + pick(random, 0x5000) as u32;
            char::from_u32(character).into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn alternatives_and_slots_are_filled() {
        let words = Words::new();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let text = words.fill(
                "(a|b{n}|) (no choice) {place}\\n{unknown}",
                Language::English,
                &mut random,
            );
            assert!(
                text.contains(" (no choice) ") && text.ends_with("\n{unknown}"),
                "{text}"
            );
            assert!(
                !text.contains(['|', '\\']) && !text.contains("{place}"),
                "{text}"
            );
        }
    }

    #[test]
    fn every_phrasing_has_a_kind_and_some_text() {
        for file in [
            include_str!("train.en.txt"),
            include_str!("train.zh.txt"),
            include_str!("development.en.txt"),
            include_str!("development.zh.txt"),
            include_str!("held_out.en.txt"),
            include_str!("held_out.zh.txt"),
        ] {
            for phrasing in phrasings(file) {
                assert!(!phrasing.kind.is_empty());
                assert!(phrasing.head.len() + phrasing.tail.len() > 0);
                for text in [phrasing.head, phrasing.tail] {
                    assert!(!text.contains("|||"), "two contexts: {text}");
                    let nested = text.split('(').skip(1).zip(text.split('(').skip(2));
                    for (outer, _) in nested {
                        assert!(
                            outer.contains(')') || !outer.contains('|'),
                            "nested: {text}"
                        );
                    }
                }
            }
        }
        let one = phrasings("[k aggregation]\nhead ||| tail\nall\n");
        assert_eq!(
            (one[0].kind, one[0].task, one[0].head, one[0].tail),
            ("k", Task::Aggregation, "head", "tail")
        );
        assert_eq!((one[1].head, one[1].tail), ("all", ""));
    }
}
