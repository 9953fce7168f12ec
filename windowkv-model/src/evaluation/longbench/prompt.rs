//! A prompt's tokens: cut in the middle, and in the model's chat form.

use crate::chat::Message;
use crate::runner::Model;
use crate::settings::cut_middle;
use crate::{Error, Result};

/// How long a prompt may be, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, before it takes the chat form; a longer one is cut in its middle.
    pub max_input_len: usize,
    /// New tokens that must fit the model's context after the prompt.
    pub max_new_tokens: usize,
}

/// A prompt as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its token ids.
    pub ids: Vec<u32>,
    /// Tokens that were cut out of the middle of its text.
    pub cut: usize,
}

impl Prompt {
    /// The tokens of `text`; `chat` asks for the model's chat form, if it has one.
    ///
    /// As LongBench does it, the text is cut first, half of the limit from both ends, and then takes the chat form;
    /// where the two together do not fit the model's context, more is cut.
    ///
    /// # Errors
    /// A tokenizer or chat template that refuses the text; [`Error::ContextTooSmall`].
    pub fn new(model: &Model, text: &str, chat: bool, limits: Limits) -> Result<Self> {
        let context = model.llama.config().max_position_embeddings;
        let room = context.saturating_sub(limits.max_new_tokens);
        let ids = model.tokenizer.encode(text, true)?;
        let too_small = |prompt_tokens| Error::ContextTooSmall {
            prompt_tokens,
            max_new_tokens: limits.max_new_tokens,
            limit: context,
        };
        // Cut in the middle, a text has at least its first and its last token.
        let mut limit = limits.max_input_len.min(room);
        if limit < ids.len().min(2) {
            return Err(too_small(ids.len()));
        }
        let Some(template) = model.chat.as_ref().filter(|_| chat) else {
            let (ids, cut) = cut_middle(ids, limit);
            return Ok(Self { ids, cut });
        };
        loop {
            let (kept, cut) = cut_middle(ids.clone(), limit);
            let content = if cut == 0 {
                text.to_owned()
            } else {
                let (first, last) = kept.split_at(kept.len() / 2);
                model.tokenizer.decode(first, true)? + &model.tokenizer.decode(last, true)?
            };
            let rendered = template.render(&[Message::new("user", content)], true)?;
            let rendered = model.tokenizer.encode(&rendered, false)?;
            if rendered.len() <= room {
                let ids = rendered;
                return Ok(Self { ids, cut });
            }
            let less = limit.min(ids.len()).saturating_sub(rendered.len() - room);
            if less < 2 {
                return Err(too_small(rendered.len()));
            }
            limit = less;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{TestCheckpoint, byte_tokenizer};
    use crate::weights::DType;

    /// A model whose tokens are bytes, with a context of `positions`; its chat form is `<` text `>`.
    fn model(positions: usize, chat: bool) -> Model {
        let mut config = TestCheckpoint::llama_config();
        config["vocab_size"] = json!(260);
        config["bos_token_id"] = json!(256);
        config["eos_token_id"] = json!(257);
        config["max_position_embeddings"] = json!(positions);
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = TestCheckpoint::new(config, DType::Bf16);
        checkpoint.write(dir.path()).unwrap();
        let write = |name: &str, value: serde_json::Value| {
            std::fs::write(dir.path().join(name), value.to_string()).unwrap();
        };
        write("tokenizer.json", byte_tokenizer(&["<s>", "</s>"]));
        if chat {
            let template = "{{ '<' + messages[0]['content'] + '>' }}";
            write("tokenizer_config.json", json!({"chat_template": template}));
        }
        Model::load(dir.path()).unwrap()
    }

    fn text(model: &Model, prompt: &Prompt) -> String {
        model.tokenizer.decode(&prompt.ids, false).unwrap()
    }

    fn limits(max_input_len: usize) -> Limits {
        Limits {
            max_input_len,
            max_new_tokens: 4,
        }
    }

    #[test]
    fn a_text_is_cut_before_it_takes_the_chat_form() {
        let model = model(64, true);
        let prompt = |chat, limit| Prompt::new(&model, "0123456789", chat, limits(limit)).unwrap();
        for (chat, limit, expected, cut) in [
            (false, 10, "0123456789", 0),
            (false, 4, "0189", 6),
            (true, 10, "<0123456789>", 0),
            (true, 5, "<0189>", 6),
        ] {
            let prompt = prompt(chat, limit);
            assert_eq!(
                (text(&model, &prompt).as_str(), prompt.cut),
                (expected, cut)
            );
        }
    }

    #[test]
    fn more_is_cut_where_the_chat_form_has_no_room() {
        let model = model(12, true);
        let prompt = Prompt::new(&model, "0123456789", true, limits(100)).unwrap();
        assert_eq!(text(&model, &prompt), "<012789>");
        assert_eq!(prompt.cut, 4);
        let message = |new| {
            let limits = Limits {
                max_input_len: 100,
                max_new_tokens: new,
            };
            Prompt::new(&model, "0123456789", true, limits)
                .unwrap_err()
                .to_string()
        };
        for new in [9, 11, 12, 13] {
            assert!(message(new).contains("context of 12"), "{}", message(new));
        }
    }

    #[test]
    fn a_model_without_a_chat_form_gets_the_text() {
        let model = model(64, false);
        let prompt = Prompt::new(&model, "0123", true, limits(10)).unwrap();
        assert_eq!(text(&model, &prompt), "0123");
    }
}
