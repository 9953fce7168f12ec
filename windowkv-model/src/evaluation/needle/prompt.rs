//! One prompt of an exact length, with a needle at a depth.

use serde::Serialize;

use super::{Haystack, NeedleError};
use crate::Result;
use crate::demo::accuracy::HELD_OUT_SEED;
use crate::demo::prompts::{PromptSettings, prompt};
use crate::runner::Model;
use crate::tokenizer::Tokenizer;

/// Prompts of one depth of the demo generator: no two cells of a grid have the same one.
const DEMO_PROMPTS_PER_DEPTH: u64 = 1 << 20;
/// Where the template has the haystack.
const CONTEXT: &str = "{context}";
/// Where the template has the question.
const QUESTION: &str = "{question}";

/// A needle of one's own; the defaults are those of the released evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TextNeedle {
    /// The sentence that is hidden, with the white space around it.
    pub needle: String,
    /// What is asked.
    pub question: String,
    /// What a right answer says.
    pub reference: String,
    /// The prompt, with `{context}` for the haystack and `{question}`.
    pub template: String,
    /// New tokens at most.
    pub max_new_tokens: usize,
}

impl Default for TextNeedle {
    fn default() -> Self {
        let needle = "\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a \
                      sunny day.\n";
        Self {
            needle: needle.to_owned(),
            question: "The best thing to do in San Francisco is: ".to_owned(),
            reference: needle.trim().to_owned(),
            template: "<|im_start|> This is a very long story book: <book> {context} </book>.\n Based on the \
                       content of the book, Question: {question}\nAnswer:"
                .to_owned(),
            max_new_tokens: 30,
        }
    }
}

/// What is asked, and what should come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedlePrompt {
    /// The prompt, from which its task can be told.
    pub text: String,
    /// The prompt's token ids.
    pub ids: Vec<u32>,
    /// Tokens before the needle.
    pub needle_start: usize,
    /// What a right answer says.
    pub reference: String,
    /// New tokens at most.
    pub max_new_tokens: usize,
    /// Texts that end the answer.
    pub stop_strings: &'static [String],
}

/// Where prompts come from.
#[derive(Debug, Clone)]
pub enum Prompts {
    /// The demo model's own: several facts in generated sentences, one of them asked for.
    Demo {
        /// Facts in each prompt.
        facts: usize,
        /// Words of each answer.
        answer_tokens: usize,
    },
    /// A needle in a text.
    Text(TextPrompts),
}

/// A needle and its haystack in tokens.
#[derive(Debug, Clone)]
pub struct TextPrompts {
    before: Vec<u32>,
    needle: Vec<u32>,
    after: Vec<u32>,
    haystack: Vec<u32>,
    reference: String,
    max_new_tokens: usize,
    stop_strings: &'static [String],
}

impl Prompts {
    /// Prompts with `needle` in `haystack`, which is repeated until it has `tokens` tokens.
    ///
    /// # Errors
    /// [`NeedleError`] for texts that do not fit together, `Tokenizer` for text that it cannot encode.
    pub fn text(
        tokenizer: &Tokenizer,
        needle: &TextNeedle,
        haystack: &Haystack,
        tokens: usize,
    ) -> Result<Self> {
        for (what, text) in [("needle", &needle.needle), ("answer", &needle.reference)] {
            if !text.contains(|c: char| c.is_alphanumeric()) {
                let text = text.clone();
                return Err(NeedleError::NoWords { what, text }.into());
            }
        }
        let template_error = || NeedleError::Template {
            template: needle.template.clone(),
        };
        let (before, after) = needle
            .template
            .split_once(CONTEXT)
            .ok_or_else(template_error)?;
        if after.contains(CONTEXT) || !after.contains(QUESTION) {
            return Err(template_error().into());
        }
        let mut ids = Vec::new();
        while ids.len() < tokens {
            let had = ids.len();
            for text in &haystack.texts {
                ids.extend(tokenizer.encode(text, false)?);
                if ids.len() >= tokens {
                    break;
                }
            }
            if ids.len() == had {
                break;
            }
        }
        Ok(Self::Text(TextPrompts {
            before: tokenizer.encode(before, true)?,
            needle: tokenizer.encode(&needle.needle, false)?,
            after: tokenizer.encode(&after.replace(QUESTION, &needle.question), false)?,
            haystack: ids,
            reference: needle.reference.clone(),
            max_new_tokens: needle.max_new_tokens,
            stop_strings: line_end(),
        }))
    }

    /// New tokens that a prompt asks for at most.
    pub fn max_new_tokens(&self) -> usize {
        match self {
            // The full stop, the end of text, and a few that are too many.
            Self::Demo { answer_tokens, .. } => answer_tokens + 5,
            Self::Text(text) => text.max_new_tokens,
        }
    }

    /// Prompt `index` of `length` tokens (the demo's may have a few less) with the needle at `depth` percent.
    ///
    /// # Errors
    /// [`NeedleError`], `DemoError` and tokenizer errors.
    pub fn prompt(
        &self,
        model: &Model,
        length: usize,
        depth: f64,
        index: usize,
    ) -> Result<NeedlePrompt> {
        if !(0.0..=100.0).contains(&depth) {
            return Err(NeedleError::Depth { depth }.into());
        }
        match self {
            Self::Demo {
                facts,
                answer_tokens,
            } => {
                let settings = PromptSettings {
                    tokens: length,
                    facts: *facts,
                    answer_tokens: *answer_tokens,
                    depth: Some(depth / 100.0),
                };
                let series = (depth * 1000.0).round() as u64 * DEMO_PROMPTS_PER_DEPTH;
                let seed = HELD_OUT_SEED + length as u64;
                let question = prompt(&settings, seed, series + index as u64)?;
                Ok(NeedlePrompt {
                    text: question.text.clone(),
                    ids: model.tokenizer.encode(&question.text, true)?,
                    needle_start: question.fact_start,
                    reference: question.answer.trim().to_owned(),
                    max_new_tokens: self.max_new_tokens(),
                    stop_strings: &[],
                })
            }
            Self::Text(text) => text.prompt(&model.tokenizer, length, depth, index),
        }
    }
}

impl TextPrompts {
    fn prompt(
        &self,
        tokenizer: &Tokenizer,
        length: usize,
        depth: f64,
        index: usize,
    ) -> Result<NeedlePrompt> {
        let frame = self.before.len() + self.after.len();
        let room = length.checked_sub(frame + self.needle.len());
        let room = room.ok_or(NeedleError::PromptTooShort {
            length,
            needle: self.needle.len(),
            frame,
        })?;
        // Each prompt has a stretch of its own of the haystack, which is a ring.
        let start = index * length % self.haystack.len().max(1);
        let ring = self.haystack.iter().cycle().skip(start);
        let context: Vec<u32> = ring.take(room).copied().collect();
        let mut place = (room as f64 * depth / 100.0) as usize;
        if depth < 100.0 {
            // Between two sentences, as the released evaluation has it.
            while place > 0 && !ends_sentence(tokenizer, context[place - 1])? {
                place -= 1;
            }
        }
        let (above, below) = context.split_at(place);
        let ids = [&self.before, above, &self.needle, below, &self.after].concat();
        Ok(NeedlePrompt {
            text: tokenizer.decode(&ids, true)?,
            ids,
            needle_start: self.before.len() + place,
            reference: self.reference.clone(),
            max_new_tokens: self.max_new_tokens,
            stop_strings: self.stop_strings,
        })
    }
}

fn ends_sentence(tokenizer: &Tokenizer, id: u32) -> Result<bool> {
    let text = tokenizer.decode(&[id], true)?;
    Ok(text.trim_end().ends_with(['.', '!', '?', '\u{3002}']))
}

/// The released evaluation ends an answer at its first line end.
fn line_end() -> &'static [String] {
    static STOP: std::sync::LazyLock<[String; 1]> = std::sync::LazyLock::new(|| ["\n".to_owned()]);
    &*STOP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn needle() -> TextNeedle {
        TextNeedle {
            needle: " The secret words of Boston: amber falcon river.".to_owned(),
            question: "What are the secret words of Boston?".to_owned(),
            reference: "amber falcon river.".to_owned(),
            template: "Start. {context}\nQuestion: {question}\nAnswer:".to_owned(),
            max_new_tokens: 8,
        }
    }

    fn prompts(model: &Model, needle: &TextNeedle) -> Result<Prompts> {
        let haystack = Haystack::generated(600, 1);
        Prompts::text(&model.tokenizer, needle, &haystack, 600)
    }

    #[test]
    fn a_prompt_has_its_length_and_the_needle_between_two_sentences() {
        let model = Model::demo().unwrap();
        let prompts = prompts(&model, &needle()).unwrap();
        let needle = model.tokenizer.encode(&needle().needle, false).unwrap();
        let first = prompts.prompt(&model, 200, 0.0, 0).unwrap().needle_start;
        for length in [120, 256, 500] {
            for depth in [0.0, 10.0, 33.3, 50.0, 99.0, 100.0] {
                let prompt = prompts.prompt(&model, length, depth, 0).unwrap();
                assert_eq!(prompt.ids.len(), length, "{depth} %");
                let start = prompt.needle_start;
                assert_eq!(prompt.ids[start..start + needle.len()], needle, "{depth} %");
                if depth < 100.0 && start > first {
                    assert!(ends_sentence(&model.tokenizer, prompt.ids[start - 1]).unwrap());
                }
                let wanted = length as f64 * depth / 100.0;
                assert!((start as f64 - wanted).abs() < 60.0, "{start} for {wanted}");
            }
        }
        let texts: Vec<_> = (0..3)
            .map(|index| prompts.prompt(&model, 200, 50.0, index).unwrap().ids)
            .collect();
        assert!(
            texts[0] != texts[1] && texts[1] != texts[2],
            "each its own stretch"
        );
    }

    #[test]
    fn the_demo_asks_held_out_questions_at_every_depth() {
        let model = Model::demo().unwrap();
        let prompts = Prompts::Demo {
            facts: 8,
            answer_tokens: 4,
        };
        for depth in [0.0, 50.0, 100.0] {
            let prompt = prompts.prompt(&model, 512, depth, 1).unwrap();
            assert!((500..=512).contains(&prompt.ids.len()));
            let share = prompt.needle_start as f64 / 512.0;
            assert!(
                (share - depth / 100.0).abs() < 0.15,
                "{share} for {depth} %"
            );
            assert_ne!(prompt, prompts.prompt(&model, 512, depth, 2).unwrap());
        }
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        let model = Model::demo().unwrap();
        let text = prompts(&model, &needle()).unwrap();
        let error = text.prompt(&model, 20, 50.0, 0).unwrap_err().to_string();
        assert!(
            error.contains("a prompt of 20 tokens cannot hold the needle"),
            "{error}"
        );
        let least = error.split("it takes ").nth(1).unwrap();
        let least: usize = least.split(' ').next().unwrap().parse().unwrap();
        text.prompt(&model, least, 50.0, 0).unwrap();
        text.prompt(&model, least - 1, 50.0, 0).unwrap_err();
        for depth in [-1.0, 100.1, f64::NAN] {
            let error = text.prompt(&model, 200, depth, 0).unwrap_err();
            assert!(
                matches!(error, Error::Needle(NeedleError::Depth { .. })),
                "{error}"
            );
        }
        let wrong = [
            TextNeedle {
                needle: " \n".to_owned(),
                ..needle()
            },
            TextNeedle {
                reference: "?!".to_owned(),
                ..needle()
            },
            TextNeedle {
                template: "{question}".to_owned(),
                ..needle()
            },
            TextNeedle {
                template: "{question} {context}".to_owned(),
                ..needle()
            },
            TextNeedle {
                template: "{context} {context} {question}".to_owned(),
                ..needle()
            },
        ];
        for needle in wrong {
            assert!(
                matches!(prompts(&model, &needle), Err(Error::Needle(_))),
                "{needle:?}"
            );
        }
    }
}
