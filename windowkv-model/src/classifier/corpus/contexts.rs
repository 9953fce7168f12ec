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
    "scramble",
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

/// Sentences by genre; those of the genre `scramble` are words of instructions out of order, so that what counts
/// is how words stand together, and not that they occur.
pub(super) struct Contexts(HashMap<(&'static str, &'static str), Vec<&'static str>>);

impl Contexts {
    /// `instructions` are the files whose words are scrambled.
    pub(super) fn new(instructions: &[(Language, &'static str)]) -> Self {
        let mut sentences: HashMap<_, Vec<&'static str>> = HashMap::new();
        for (language, text) in instructions {
            let words = sentences.entry(("scramble", language.code())).or_default();
            for (_, line) in lines(text) {
                words.extend(scrambled_words(line, *language));
            }
        }
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
        let (genre, code, sentences) = loop {
            let genre = genres[pick(random, genres.len())];
            // A text in English under an instruction in Chinese is common, the contrary is not.
            let other = match language {
                Language::Chinese if pick(random, 6) == 0 => "en",
                _ => language.code(),
            };
            let found = [other, "any", "en"]
                .into_iter()
                .find_map(|code| Some((code, self.0.get(&(genre, code))?)));
            if let Some((code, sentences)) = found {
                break (genre, code, sentences);
            }
        };
        let lengths = [300, 1500, 4500, 6000, 20_000];
        let length = lengths[pick(random, lengths.len())];
        let gap = match (genre, code) {
            ("scramble", "zh") => "",
            ("scramble", _) => " ",
            _ => ["\n", " ", "\n\n"][pick(random, 3)],
        };
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

/// The words of a phrasing without slots and signs; of Chinese its characters.
fn scrambled_words(line: &'static str, language: Language) -> Vec<&'static str> {
    // Between braces stand the names of slots.
    let texts = line
        .split(['{', '}'])
        .enumerate()
        .filter(|(index, _)| index % 2 == 0);
    texts
        .flat_map(|(_, text)| text.split(|letter: char| !letter.is_alphabetic()))
        .flat_map(|word| match language {
            Language::English => vec![word],
            Language::Chinese => word.split("").collect(),
        })
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_phrasings_are_taken_apart() {
        let english = scrambled_words(
            "(Read|Study) the text {name}. ||| Q: {question}",
            Language::English,
        );
        assert_eq!(english, ["Read", "Study", "the", "text", "Q"]);
        assert_eq!(
            scrambled_words("回答{name}：", Language::Chinese),
            ["回", "答"]
        );
    }
}
