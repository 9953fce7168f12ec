//! The demo model's tokenizer, made from the word lists, and the other files of its folder.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::prompts::pieces;
use super::words::{ANSWER, FACT, KEYS, PEOPLE, QUESTION, SLOTS, TEMPLATES, VALUES};

/// Token of words that the vocabulary lacks.
pub const UNKNOWN: &str = "<|unk|>";
/// Token that every prompt begins with; the tokenizer adds it.
pub const BEGIN: &str = "<|begin|>";
/// Token that ends an answer.
pub const END: &str = "<|end|>";
/// Id of [`UNKNOWN`].
pub const UNKNOWN_ID: u32 = 0;
/// Id of [`BEGIN`].
pub const BEGIN_ID: u32 = 1;
/// Id of [`END`].
pub const END_ID: u32 = 2;

/// All tokens, the special ones first.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::new()
    }
}

impl Vocabulary {
    /// The vocabulary of the word lists.
    pub fn new() -> Self {
        let mut vocabulary = Self {
            tokens: Vec::new(),
            ids: HashMap::new(),
        };
        for special in [UNKNOWN, BEGIN, END] {
            vocabulary.add(special);
        }
        for punctuation in [".", ",", "?", "\n"] {
            vocabulary.add(punctuation);
        }
        vocabulary.add_pieces(FACT, true);
        vocabulary.add_pieces(QUESTION, false);
        vocabulary.add_pieces(ANSWER, false);
        for key in KEYS {
            vocabulary.add(&format!(" {key}:"));
            vocabulary.add(&format!(" {key}"));
        }
        for value in VALUES {
            vocabulary.add(&format!(" {value}"));
        }
        for person in PEOPLE {
            vocabulary.add_pieces(person, true);
        }
        for (_, words) in SLOTS {
            for word in words {
                vocabulary.add_pieces(&format!(" {word}"), false);
            }
        }
        for template in TEMPLATES {
            for (place, word) in template
                .split(' ')
                .enumerate()
                .filter(|(_, word)| !word.contains('{'))
            {
                let word = word.trim_end_matches(['.', ',']);
                vocabulary.add_pieces(&format!(" {word}"), false);
                if place == 0 {
                    vocabulary.add_pieces(word, false);
                }
            }
        }
        vocabulary
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none: never.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Ids of a text without the special tokens' names in it; nothing if a word is unknown.
    pub fn encode(&self, text: &str) -> Option<Vec<u32>> {
        pieces(text)
            .map(|piece| self.ids.get(piece).copied())
            .collect()
    }

    /// The text of an id; nothing if there is none.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens
            .get(usize::try_from(id).ok()?)
            .map(String::as_str)
    }

    /// `tokenizer.json` in the format of Hugging Face `tokenizers`.
    pub fn tokenizer_json(&self) -> Value {
        let specials = [UNKNOWN, BEGIN, END];
        let added = specials.iter().enumerate().map(|(id, content)| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                "special": true,
            })
        });
        let added: Vec<Value> = added.collect();
        let vocab: serde_json::Map<String, Value> = self
            .tokens
            .iter()
            .cloned()
            .zip((0..).map(|id: u32| json!(id)))
            .collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": r" ?\w+:?|\n| ?[^\s\w]"},
                "behavior": "Isolated",
                "invert": false,
            },
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": BEGIN, "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}},
                ],
                "pair": [
                    {"SpecialToken": {"id": BEGIN, "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}},
                    {"Sequence": {"id": "B", "type_id": 1}},
                ],
                "special_tokens": {BEGIN: {"id": BEGIN, "ids": [BEGIN_ID], "tokens": [BEGIN]}},
            },
            "decoder": {"type": "Fuse"},
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": UNKNOWN},
        })
    }

    fn add(&mut self, token: &str) {
        let id = u32::try_from(self.tokens.len()).expect("a small vocabulary");
        if !self.ids.contains_key(token) {
            self.ids.insert(token.to_owned(), id);
            self.tokens.push(token.to_owned());
        }
    }

    /// Adds the words of a text, and with `both` its first word after a space too.
    fn add_pieces(&mut self, text: &str, both: bool) {
        for (place, piece) in pieces(text).enumerate() {
            self.add(piece);
            if place == 0 && both {
                self.add(&format!(" {piece}"));
            }
        }
    }
}

/// `tokenizer_config.json`.
pub fn tokenizer_config_json(max_tokens: usize) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": false,
        "model_max_length": max_tokens,
    })
}

/// `generation_config.json`.
pub fn generation_config_json() -> Value {
    json!({"bos_token_id": BEGIN_ID, "eos_token_id": END_ID, "do_sample": false})
}

/// `config.json` of the model that the training script makes.
pub fn config_json(vocabulary: &Vocabulary, max_tokens: usize) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": BEGIN_ID,
        "eos_token_id": END_ID,
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 128,
        "initializer_range": 0.09,
        "intermediate_size": 256,
        "max_position_embeddings": max_tokens,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": 8,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_scaling": null,
        "rope_theta": 10000.0,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
        "use_cache": true,
        "vocab_size": vocabulary.len(),
    })
}
