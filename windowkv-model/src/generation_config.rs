//! `generation_config.json`: where a sequence begins and ends.

use std::path::Path;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::fields::Fields;
use crate::files::{MAX_CONFIG_BYTES, parse_object, read_optional};

/// The token ids that begin and end a sequence, each below the model's `vocab_size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationConfig {
    /// The token that begins a sequence, if there is one.
    pub bos_token_id: Option<u32>,
    /// The tokens that end generation, in the order of the file, each once; may be empty.
    pub stop_token_ids: Vec<u32>,
}

impl GenerationConfig {
    /// Reads `generation_config.json` of the model folder `dir`. What it does not give, and
    /// everything where there is no such file, comes from `config`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::NotAFile`](crate::Error::NotAFile),
    /// [`Error::FileTooLarge`](crate::Error::FileTooLarge), and those of
    /// [`GenerationConfig::from_json`].
    pub fn load(dir: &Path, config: &ModelConfig) -> Result<Self> {
        let path = dir.join("generation_config.json");
        match read_optional(&path, MAX_CONFIG_BYTES)? {
            Some(bytes) => Self::from_json(&bytes, &path, config),
            None => Ok(Self::from_config(config)),
        }
    }

    /// The ids that `config.json` gives.
    pub fn from_config(config: &ModelConfig) -> Self {
        GenerationConfig {
            bos_token_id: config.bos_token_id,
            stop_token_ids: config.eos_token_ids.clone(),
        }
    }

    /// Parses the bytes of a `generation_config.json`; `origin` is the path that errors name.
    ///
    /// # Errors
    /// [`Error::NotUtf8`](crate::Error::NotUtf8) and [`Error::Json`](crate::Error::Json) for a broken
    /// file, [`Error::InvalidField`](crate::Error::InvalidField) for something that is no id,
    /// [`Error::TokenId`](crate::Error::TokenId) for an id that is not below `vocab_size`.
    pub fn from_json(bytes: &[u8], origin: &Path, config: &ModelConfig) -> Result<Self> {
        let object = parse_object(bytes, origin)?;
        let fields = Fields::new(&object, origin);
        let bos = fields.token_ids("bos_token_id", config.vocab_size)?;
        let mut ids = Self::from_config(config);
        ids.bos_token_id = bos.first().copied().or(ids.bos_token_id);
        let stop = fields.token_ids("eos_token_id", config.vocab_size)?;
        if !stop.is_empty() {
            ids.stop_token_ids = stop;
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::testing::TestCheckpoint;

    fn parse(text: &str) -> Result<GenerationConfig> {
        let config = TestCheckpoint::llama().model_config();
        GenerationConfig::from_json(
            text.as_bytes(),
            Path::new("generation_config.json"),
            &config,
        )
    }

    #[test]
    fn takes_one_id_or_a_list_before_those_of_config() {
        for (text, stop) in [
            (r#"{"eos_token_id": [7, 9, 7]}"#, vec![7, 9]),
            (r#"{"eos_token_id": 31}"#, vec![31]),
            (r#"{"eos_token_id": null}"#, vec![1]),
            (r#"{}"#, vec![1]),
        ] {
            let ids = parse(text).unwrap();
            assert_eq!((ids.stop_token_ids, ids.bos_token_id), (stop, Some(0)));
        }
    }

    #[test]
    fn takes_those_of_config_without_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let config = TestCheckpoint::llama().model_config();
        let ids = GenerationConfig::load(dir.path(), &config).unwrap();
        assert_eq!(ids.stop_token_ids, [1]);
    }

    #[test]
    fn refuses_ids_over_the_vocabulary_and_other_values() {
        let error = parse(r#"{"eos_token_id": [1, 32]}"#).unwrap_err();
        assert!(matches!(&error, Error::TokenId { id: 32, .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("token id 32") && message.contains("generation_config.json"));
        for bad in ["-2", "1.5", "\"x\"", "{}"] {
            let error = parse(&format!("{{\"eos_token_id\": [{bad}]}}")).unwrap_err();
            assert!(matches!(&error, Error::InvalidField { .. }), "{error:?}");
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
