//! `tokenizer_config.json`: the special tokens by name, and the chat template.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::Result;
use crate::fields::Fields;
use crate::files::{parse_object, read_optional, utf8};

/// The greatest `tokenizer_config.json` that is read, in bytes.
pub const MAX_TOKENIZER_CONFIG_BYTES: u64 = 1 << 24;
/// The greatest chat template that is read, in bytes.
pub const MAX_CHAT_TEMPLATE_BYTES: u64 = 1 << 20;

/// What `tokenizer_config.json` and `chat_template.jinja` say. Both may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// The path that errors name.
    pub origin: PathBuf,
    /// The text of each special token by its name, such as `bos_token` or `eos_token`.
    pub special_tokens: BTreeMap<String, String>,
    /// The chat templates by name; the usual one is called `default`.
    pub chat_templates: BTreeMap<String, String>,
}

impl TokenizerConfig {
    /// Reads `tokenizer_config.json` and `chat_template.jinja` of the model folder `dir`. The latter,
    /// as newer checkpoints have it, replaces the default template of the former.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::NotAFile`](crate::Error::NotAFile), [`Error::FileTooLarge`](crate::Error::FileTooLarge), [`Error::NotUtf8`](crate::Error::NotUtf8), and those of
    /// [`TokenizerConfig::from_json`].
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer_config.json");
        let mut config = match read_optional(&path, MAX_TOKENIZER_CONFIG_BYTES)? {
            Some(bytes) => Self::from_json(&bytes, &path)?,
            None => TokenizerConfig {
                origin: path,
                ..Self::default()
            },
        };
        let path = dir.join("chat_template.jinja");
        if let Some(bytes) = read_optional(&path, MAX_CHAT_TEMPLATE_BYTES)? {
            let template = utf8(&bytes, &path)?.to_owned();
            config.chat_templates.insert("default".into(), template);
        }
        Ok(config)
    }

    /// Parses the bytes of a `tokenizer_config.json`; `origin` is the path that errors name.
    ///
    /// # Errors
    /// [`Error::NotUtf8`](crate::Error::NotUtf8) and [`Error::Json`](crate::Error::Json) for a broken file, [`Error::InvalidField`](crate::Error::InvalidField) for a
    /// special token or a template of the wrong form.
    pub fn from_json(bytes: &[u8], origin: &Path) -> Result<Self> {
        let object = parse_object(bytes, origin)?;
        Ok(TokenizerConfig {
            origin: origin.to_owned(),
            special_tokens: special_tokens(&object, origin)?,
            chat_templates: chat_templates(&object, origin)?,
        })
    }
}

/// Every field `..._token` whose value is a string or an object with the string `content`.
fn special_tokens(object: &Map<String, Value>, origin: &Path) -> Result<BTreeMap<String, String>> {
    let fields = Fields::new(object, origin);
    let mut tokens = BTreeMap::new();
    for name in object.keys().filter(|name| name.ends_with("_token")) {
        let text = match fields.get(name) {
            // Flags such as `add_bos_token` end in the same word.
            None | Some(Value::Bool(_)) => continue,
            Some(Value::String(text)) => text,
            Some(value) => match value.get("content") {
                Some(Value::String(text)) => text,
                _ => {
                    let expected = "a string, an object with the string `content`, or null";
                    return Err(fields.invalid(name, value, expected));
                }
            },
        };
        tokens.insert(name.clone(), text.clone());
    }
    Ok(tokens)
}

/// `chat_template`: a string, or a list of objects with `name` and `template`.
fn chat_templates(object: &Map<String, Value>, origin: &Path) -> Result<BTreeMap<String, String>> {
    const NAME: &str = "chat_template";
    let fields = Fields::new(object, origin);
    let mut templates = BTreeMap::new();
    let mut insert = |name: &str, template: &str| {
        if template.len() as u64 > MAX_CHAT_TEMPLATE_BYTES {
            let expected = format!("a template of at most {MAX_CHAT_TEMPLATE_BYTES} bytes");
            return Err(fields.invalid(NAME, &template.into(), expected));
        }
        templates.insert(name.to_owned(), template.to_owned());
        Ok(())
    };
    match fields.get(NAME) {
        None => {}
        Some(Value::String(template)) => insert("default", template)?,
        Some(Value::Array(list)) => {
            for item in list {
                match (item.get("name"), item.get("template")) {
                    (Some(Value::String(name)), Some(Value::String(template))) => {
                        insert(name, template)?;
                    }
                    _ => {
                        let expected = "a list of objects with the strings `name` and `template`";
                        return Err(fields.invalid(NAME, item, expected));
                    }
                }
            }
        }
        Some(other) => {
            return Err(fields.invalid(NAME, other, "a string or a list of named templates"));
        }
    }
    Ok(templates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn parse(text: &str) -> Result<TokenizerConfig> {
        TokenizerConfig::from_json(text.as_bytes(), Path::new("tokenizer_config.json"))
    }

    #[test]
    fn reads_tokens_as_strings_and_objects() {
        let config = parse(
            r#"{"bos_token": {"content": "<s>", "special": true}, "eos_token": "</s>",
                "pad_token": null, "add_bos_token": true}"#,
        )
        .unwrap();
        let tokens: Vec<_> = config.special_tokens.iter().collect();
        let expected = [("bos_token", "<s>"), ("eos_token", "</s>")];
        assert_eq!(tokens.len(), 2);
        for ((name, text), (a, b)) in tokens.into_iter().zip(expected) {
            assert_eq!((name.as_str(), text.as_str()), (a, b));
        }
    }

    #[test]
    fn reads_templates_as_string_list_and_file() {
        let config = parse(r#"{"chat_template": "x"}"#).unwrap();
        assert_eq!(config.chat_templates["default"], "x");
        let list = r#"{"chat_template": [{"name": "default", "template": "a"},
            {"name": "tool_use", "template": "b"}]}"#;
        let config = parse(list).unwrap();
        assert_eq!(config.chat_templates["tool_use"], "b");

        let dir = tempfile::tempdir().unwrap();
        assert!(
            TokenizerConfig::load(dir.path())
                .unwrap()
                .chat_templates
                .is_empty()
        );
        std::fs::write(dir.path().join("tokenizer_config.json"), list).unwrap();
        std::fs::write(dir.path().join("chat_template.jinja"), "c").unwrap();
        let config = TokenizerConfig::load(dir.path()).unwrap();
        assert_eq!(config.chat_templates["default"], "c");
        std::fs::write(dir.path().join("chat_template.jinja"), b"\xff").unwrap();
        let error = TokenizerConfig::load(dir.path()).unwrap_err();
        assert!(matches!(&error, Error::NotUtf8 { .. }), "{error:?}");
        assert!(error.to_string().contains("chat_template.jinja"), "{error}");
    }

    #[test]
    fn refuses_other_forms() {
        for (text, field, value) in [
            (r#"{"eos_token": 5}"#, "eos_token", "5"),
            (r#"{"bos_token": {"text": "a"}}"#, "bos_token", "text"),
            (r#"{"chat_template": 8}"#, "chat_template", "8"),
            (
                r#"{"chat_template": [{"name": "q"}]}"#,
                "chat_template",
                "q",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                matches!(&error, Error::InvalidField { field: f, .. } if f == field),
                "{error:?}"
            );
            assert!(error.to_string().contains(value), "{error}");
        }
        let large = "x".repeat(MAX_CHAT_TEMPLATE_BYTES as usize + 1);
        let error = parse(&format!(r#"{{"chat_template": "{large}"}}"#)).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("1048576") && message.len() < 400,
            "{message}"
        );
    }
}
