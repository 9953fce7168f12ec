//! Long texts that have nothing to do with the instruction around them.

use std::collections::HashMap;

use rand_chacha::ChaCha8Rng;

use super::grammar::{Language, Words, lines, pick};

/// Genres that any instruction may stand around.
const ANY: &[&str] = &[
    "news",
    "story",
    "wiki",
    "paper",
    "report",
    "dialogue",
    "meeting",
    "paragraphs",
    "code",
    "examples",
    "table",
    "noise",
    "noise",
];

/// Genres for a kind of instruction that needs a certain one; empty if any will do, none among them.
pub(super) fn genres(kind: &str) -> &'static [&'static str] {
    match kind {
        "few_shot_classification" => &["examples", "examples", "examples", "news", "noise"],
        "few_shot_summary" => &["summaries", "summaries", "dialogue", "noise"],
        "code" => &["code"],
        _ => &[],
    }
}

/// Sentences by genre.
pub(super) struct Contexts(HashMap<(&'static str, &'static str), Vec<&'static str>>);

impl Contexts {
    pub(super) fn new() -> Self {
        let mut sentences: HashMap<_, Vec<&'static str>> = HashMap::new();
        for ([genre, language], line) in lines(include_str!("contexts.txt")) {
            sentences.entry((genre, language)).or_default().push(line);
        }
        Self(sentences)
    }

    /// A text of one of the genres, of up to some 20,000 characters.
    pub(super) fn text(
        &self,
        genres: &[&str],
        language: Language,
        words: &Words,
        random: &mut ChaCha8Rng,
    ) -> String {
        let genres = if genres.is_empty() { ANY } else { genres };
        let sentences = loop {
            let genre = genres[pick(random, genres.len())];
            // A text in English under an instruction in Chinese is common, the contrary is not.
            let other = match language {
                Language::Chinese if pick(random, 6) == 0 => "en",
                _ => language.code(),
            };
            let found = [other, "any", "en"]
                .into_iter()
                .find_map(|code| self.0.get(&(genre, code)));
            if let Some(sentences) = found {
                break sentences;
            }
        };
        let lengths = [300, 1500, 4500, 6000, 20_000];
        let length = lengths[pick(random, lengths.len())];
        let gap = ["\n", " ", "\n\n"][pick(random, 3)];
        let mut text = String::new();
        while text.len() < length {
            let sentence = sentences[pick(random, sentences.len())];
            text.push_str(&words.fill(sentence, language, random));
            text.push_str(gap);
        }
        text.truncate(text.trim_end().len());
        text
    }
}
