//! From a prompt's text to the tokens that a model reads.

use windowkv_ref::policy::ModelPreset;

use super::compression::ModelType;
use crate::chat::Message;
use crate::runner::Model;
use crate::{Error, Result};

/// The prompt in the form that the model is asked in, and whether the tokenizer adds its special tokens.
pub(super) fn form(
    model: &Model,
    prompt: &str,
    system: Option<&str>,
    no_chat_template: bool,
) -> Result<(String, bool)> {
    match (&model.chat, system) {
        (Some(chat), _) if !no_chat_template => {
            let system = system.map(|text| Message::new("system", text)).into_iter();
            let messages: Vec<_> = system.chain([Message::new("user", prompt)]).collect();
            Ok((chat.render(&messages, true)?, false))
        }
        (_, Some(system)) => Err(Error::Setting {
            name: "system",
            value: format!("{system:?}"),
            expected: "left out: the model has no chat template; put the text into the prompt",
        }),
        (_, None) => Ok((prompt.to_owned(), true)),
    }
}

/// The longest prompt that is not cut, beside `new_tokens` more; `given` is the length of this one, `asked` the
/// user's limit.
pub(super) fn limit(
    model: &Model,
    given: usize,
    new_tokens: usize,
    asked: Option<usize>,
    model_type: Option<ModelType>,
) -> Result<usize> {
    let limit = model.llama.config().max_position_embeddings;
    let room = limit.saturating_sub(new_tokens);
    // Cut in the middle, a prompt has at least its first and its last token.
    if room < given.min(2) {
        return Err(Error::ContextTooSmall {
            prompt_tokens: given,
            max_new_tokens: new_tokens,
            limit,
        });
    }
    let released = model_type.map(|_| ModelPreset::LLAMA3.max_input_len);
    match asked {
        Some(len) if len < 2 || len > room => Err(Error::InputLimit { len, room, limit }),
        Some(len) => Ok(len),
        None => Ok(released.map_or(room, |released| released.min(room))),
    }
}

/// What the user should know about how the prompt was cut.
pub(super) fn cut_note(given: usize, limit: usize, cut: usize) -> Option<String> {
    (cut > 0).then(|| {
        format!("the prompt has {given} tokens, over the limit of {limit}: {cut} were cut from its middle")
    })
}

/// What the user should know about the demo model and this prompt.
pub(super) fn demo_notes(model: &Model, ids: &[u32]) -> Vec<String> {
    let unknown = ids
        .iter()
        .filter(|&&id| id == crate::demo::vocabulary::UNKNOWN_ID)
        .count();
    let mut notes = Vec::new();
    if unknown > 0 {
        notes.push(format!(
            "the demo model knows {} words; {unknown} of the prompt's are not among them \
             (`windowkv demo prompt` prints a prompt that it understands)",
            model.llama.config().vocab_size
        ));
    }
    let (read, reliable) = (ids.len(), crate::demo::ADVERTISED_TOKENS);
    if read > reliable {
        notes.push(format!(
            "the demo model answers reliably up to {reliable} tokens; this prompt has {read}"
        ));
    }
    notes
}
