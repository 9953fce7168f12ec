//! Generator of the demo prompts: a haystack of simple English sentences, facts hidden in it and a question at the end.
//!
//! A prompt depends on its settings, the seed and its index alone, never on the prompts before it. Lengths are exact: the
//! tokenizer is word-level, so the generator counts tokens with [`pieces`], which splits like the tokenizer does.

use std::fmt::Write as _;
use std::ops::Range;

use rand::seq::{IndexedRandom, index};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use super::words::{ANSWER, FACT, KEYS, QUESTION, SLOTS, TEMPLATES, VALUES};

/// The longest answer that may be asked for, in value words.
pub const MAX_ANSWER_TOKENS: usize = 12;
/// Tokens of the shortest haystack sentence; the haystack's end never leaves a gap that no sentence fits in.
const SHORTEST_SENTENCE: usize = 6;
/// How often a sentence that does not fit at the end is drawn anew.
const TRIES: usize = 512;
/// One haystack sentence in so many begins a paragraph.
const PARAGRAPH: usize = 8;

/// Settings that no prompt can be made from.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum DemoError {
    /// The facts and the question alone are longer than the prompt may be.
    #[error("{tokens} tokens are too few: the facts and questions alone take {least}")]
    TooShort {
        /// The prompt length that was asked for.
        tokens: usize,
        /// The least length with these facts and answers.
        least: usize,
    },
    /// The number of facts is zero or over the number of keys.
    #[error("{facts} facts: there must be between 1 and {}", KEYS.len())]
    Facts {
        /// The number that was asked for.
        facts: usize,
    },
    /// The answer length is zero or over [`MAX_ANSWER_TOKENS`].
    #[error("answers of {answer_tokens} tokens: there must be between 1 and {MAX_ANSWER_TOKENS}")]
    AnswerTokens {
        /// The number that was asked for.
        answer_tokens: usize,
    },
    /// All values of a prompt differ, and the word list has too few for these facts.
    #[error("{facts} facts of {answer_tokens} words each need more than the {} words there are", VALUES.len())]
    Values {
        /// The number of facts.
        facts: usize,
        /// The words of each.
        answer_tokens: usize,
    },
    /// A relative depth outside of 0..=1.
    #[error("depth {0} is not between 0 and 1")]
    Depth(f64),
    /// The number of questions is zero or over the number of facts.
    #[error(
        "{questions} questions about {facts} facts: there must be between 1 and the number of facts"
    )]
    Questions {
        /// The number that was asked for.
        questions: usize,
        /// The number of facts.
        facts: usize,
    },
}

/// What a prompt looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PromptSettings {
    /// Length in tokens with `<|begin|>`; the prompt has as many, or a few less where no sentence fits the rest.
    pub tokens: usize,
    /// Facts in the haystack, the asked one with them.
    pub facts: usize,
    /// Value words of every fact, each one token; the full stop comes on top.
    pub answer_tokens: usize,
    /// Relative depth of the asked fact in the haystack, 0 its start and 1 its end; random if not given.
    pub depth: Option<f64>,
}

impl Default for PromptSettings {
    fn default() -> Self {
        Self {
            tokens: 2048,
            facts: 8,
            answer_tokens: 6,
            depth: None,
        }
    }
}

/// A prompt and what a model should answer.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoPrompt {
    /// The prompt, without `<|begin|>`, which the tokenizer adds.
    pub text: String,
    /// What comes next, full stop and leading space included; then `<|end|>`.
    pub answer: String,
    /// The place that the question asks for.
    pub key: &'static str,
    /// Where the asked fact is in [`text`](Self::text), in bytes (the text is ASCII).
    pub fact: Range<usize>,
    /// Tokens before the asked fact, `<|begin|>` included.
    pub fact_start: usize,
    /// Tokens of the prompt, `<|begin|>` included.
    pub tokens: usize,
}

/// A part of a [`training_text`].
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its text.
    pub text: String,
    /// Whether it is an answer: after one comes `<|end|>`, and the training's loss is on both.
    pub answer: bool,
}

struct Fact {
    key: &'static str,
    answer: String,
}

/// The prompt `index` of the series `seed`.
///
/// # Errors
///
/// Settings that no prompt can be made from, see [`DemoError`].
pub fn prompt(settings: &PromptSettings, seed: u64, index: u64) -> Result<DemoPrompt, DemoError> {
    let mut rng = rng(seed, index);
    let facts = facts(&mut rng, settings.facts, settings.answer_tokens)?;
    let asked = rng.random_range(0..facts.len());
    let question = question(&facts[asked]);
    let (mut text, places) = haystack(&mut rng, settings, &facts, asked, count(&question))?;
    text.push_str(&question);
    let fact = places[asked].clone();
    Ok(DemoPrompt {
        answer: facts[asked].answer.clone(),
        key: facts[asked].key,
        fact_start: 1 + count(text[..fact.start].trim_end_matches(' ')),
        tokens: 1 + count(&text),
        fact,
        text,
    })
}

/// Text `index` of the series `seed` to train on: like [`prompt`], with several questions and their answers at the end.
/// Its length, `<|begin|>` and each answer's `<|end|>` included, is that of the settings.
///
/// # Errors
///
/// Settings that no text can be made from, see [`DemoError`].
pub fn training_text(
    settings: &PromptSettings,
    questions: usize,
    seed: u64,
    index: u64,
) -> Result<Vec<Segment>, DemoError> {
    let mut rng = rng(seed, index);
    let facts = facts(&mut rng, settings.facts, settings.answer_tokens)?;
    if questions == 0 || questions > facts.len() {
        return Err(DemoError::Questions {
            questions,
            facts: facts.len(),
        });
    }
    let asked = index::sample(&mut rng, facts.len(), questions).into_vec();
    let segments = asked.iter().flat_map(|&fact| {
        let question = Segment {
            text: question(&facts[fact]),
            answer: false,
        };
        let answer = Segment {
            text: facts[fact].answer.clone(),
            answer: true,
        };
        [question, answer]
    });
    let mut segments: Vec<Segment> = segments.collect();
    let tail = segments
        .iter()
        .map(|s| count(&s.text) + usize::from(s.answer))
        .sum();
    let (text, _) = haystack(&mut rng, settings, &facts, asked[0], tail)?;
    segments.insert(
        0,
        Segment {
            text,
            answer: false,
        },
    );
    Ok(segments)
}

/// Sentences of `tokens` tokens together, or a few less, without any fact: a haystack for needles of another kind.
pub fn filler(tokens: usize, seed: u64) -> String {
    let mut text = String::new();
    for sentence in sentences(&mut rng(seed, 0), tokens) {
        push(&mut text, sentence.paragraph, &sentence.text);
    }
    text
}

/// Splits a text like the tokenizer does: words with the space before and the colon after them, line ends, and other
/// characters with the space before them. Every piece of a generated text is one token.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    std::iter::from_fn(move || {
        let space = usize::from(rest.starts_with(' '));
        let body = &rest[space..];
        let words = body.find(|c| !word(c)).unwrap_or(body.len());
        let end = match body.chars().next() {
            Some(_) if words > 0 => space + words + usize::from(body[words..].starts_with(':')),
            Some(c) if !c.is_whitespace() => space + c.len_utf8(),
            _ => rest.chars().next()?.len_utf8(),
        };
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}

fn count(text: &str) -> usize {
    pieces(text).count()
}

fn rng(seed: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    rng
}

fn facts(rng: &mut ChaCha8Rng, facts: usize, answer_tokens: usize) -> Result<Vec<Fact>, DemoError> {
    if !(1..=KEYS.len()).contains(&facts) {
        return Err(DemoError::Facts { facts });
    }
    if !(1..=MAX_ANSWER_TOKENS).contains(&answer_tokens) {
        return Err(DemoError::AnswerTokens { answer_tokens });
    }
    if facts * answer_tokens > VALUES.len() {
        return Err(DemoError::Values {
            facts,
            answer_tokens,
        });
    }
    let keys = index::sample(rng, KEYS.len(), facts).into_vec();
    let values = index::sample(rng, VALUES.len(), facts * answer_tokens).into_vec();
    let answers = values.chunks(answer_tokens).map(|values| {
        let mut answer = values
            .iter()
            .fold(String::new(), |text, &v| text + " " + VALUES[v]);
        answer.push('.');
        answer
    });
    Ok(keys
        .into_iter()
        .zip(answers)
        .map(|(key, answer)| Fact {
            key: KEYS[key],
            answer,
        })
        .collect())
}

fn question(fact: &Fact) -> String {
    let key = fact.key;
    format!("\n{QUESTION} {key}?\n{ANSWER} {key}:")
}

/// Haystack with the facts in it, and the bytes of each fact, such that `<|begin|>`, the haystack and `tail` more tokens
/// are as long as the settings say.
fn haystack(
    rng: &mut ChaCha8Rng,
    settings: &PromptSettings,
    facts: &[Fact],
    asked: usize,
    tail: usize,
) -> Result<(String, Vec<Range<usize>>), DemoError> {
    if let Some(depth) = settings.depth.filter(|d| !(0.0..=1.0).contains(d)) {
        return Err(DemoError::Depth(depth));
    }
    let texts: Vec<String> = facts
        .iter()
        .map(|f| format!("{FACT} {}:{}", f.key, f.answer))
        .collect();
    let least = 1 + tail + texts.iter().map(|t| count(t)).sum::<usize>();
    let room = settings
        .tokens
        .checked_sub(least)
        .ok_or(DemoError::TooShort {
            tokens: settings.tokens,
            least,
        })?;
    let sentences = sentences(rng, room);

    // Where each fact goes: before the sentence that a random depth falls on.
    let mut order: Vec<(f64, usize)> = (0..facts.len())
        .map(|fact| (rng.random::<f64>(), fact))
        .collect();
    if let Some(depth) = settings.depth {
        order[asked].0 = depth;
    }
    order.sort_by(|a, b| a.0.total_cmp(&b.0));

    let mut text = String::new();
    let mut places = vec![0..0; facts.len()];
    let mut order = order.into_iter().peekable();
    let mut tokens = 0;
    let mut next = sentences.iter();
    loop {
        let sentence = next.next();
        let half = sentence.map_or(0, |s| s.tokens / 2);
        while let Some((_, fact)) = order.next_if(|&(depth, _)| {
            sentence.is_none() || depth * (room as f64) < (tokens + half) as f64
        }) {
            push(&mut text, false, &texts[fact]);
            places[fact] = text.len() - texts[fact].len()..text.len();
        }
        let Some(sentence) = sentence else { break };
        push(&mut text, sentence.paragraph, &sentence.text);
        tokens += sentence.tokens;
    }
    Ok((text, places))
}

/// Appends a sentence, in a paragraph of its own or after a space.
fn push(text: &mut String, paragraph: bool, sentence: &str) {
    if !text.is_empty() {
        text.push(if paragraph { '\n' } else { ' ' });
    }
    text.push_str(sentence);
}

struct Sentence {
    text: String,
    tokens: usize,
    paragraph: bool,
}

/// Random sentences of `room` tokens together, or a few less.
fn sentences(rng: &mut ChaCha8Rng, mut room: usize) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut tries = 0;
    while room >= SHORTEST_SENTENCE && tries < TRIES {
        let text = sentence(rng);
        let paragraph = !sentences.is_empty() && rng.random_range(0..PARAGRAPH) == 0;
        let tokens = count(&text) + usize::from(paragraph);
        if tokens == room || tokens + SHORTEST_SENTENCE <= room {
            room -= tokens;
            tries = 0;
            sentences.push(Sentence {
                text,
                tokens,
                paragraph,
            });
        } else {
            tries += 1;
        }
    }
    sentences
}

fn sentence(rng: &mut ChaCha8Rng) -> String {
    let mut text = String::new();
    let mut template = *TEMPLATES.choose(rng).expect("there are templates");
    while let Some((before, (slot, after))) = template
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        let (_, words) = SLOTS
            .iter()
            .find(|(name, _)| *name == slot)
            .expect("a known slot");
        // No word comes twice in a sentence.
        let word = loop {
            let word = words.choose(rng).expect("there are words");
            if !text.contains(word) {
                break word;
            }
        };
        write!(text, "{before}{word}").expect("a string takes text");
        template = after;
    }
    text + template
}
