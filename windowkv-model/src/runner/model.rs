//! Everything that a model folder holds.

use std::path::Path;

use windowkv_ref::policy::ModelPreset;

use super::llama::Llama;
use crate::chat::ChatTemplate;
use crate::config::{Family, ModelConfig};
use crate::generation_config::GenerationConfig;
use crate::tokenizer::Tokenizer;
use crate::tokenizer_config::TokenizerConfig;
use crate::weights::Weights;
use crate::{Error, Result};

/// A model with its tokenizer.
#[derive(Debug)]
pub struct Model {
    /// The network.
    pub llama: Llama,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// The form of a conversation, where the model has one.
    pub chat: Option<ChatTemplate>,
    /// Where generation stops.
    pub generation: GenerationConfig,
    /// Bytes of tokenizer.json, from which its memory is predicted.
    pub tokenizer_bytes: u64,
    /// Window, suffix and groups that fit the model.
    pub preset: ModelPreset,
}

impl Model {
    /// Loads a folder as Hugging Face writes it: config.json, model.safetensors (or shards with an index),
    /// tokenizer.json, and, where they exist, tokenizer_config.json and generation_config.json.
    ///
    /// # Errors
    /// What is missing, broken or unsupported, with the file's path.
    pub fn load(dir: &Path) -> Result<Self> {
        let config = ModelConfig::load(dir)?;
        let tokenizer_config = TokenizerConfig::load(dir)?;
        let tokenizer = Tokenizer::load(dir, &tokenizer_config, config.vocab_size)?;
        let tokenizer_bytes =
            std::fs::metadata(dir.join("tokenizer.json")).map_or(0, |file| file.len());
        let generation = GenerationConfig::load(dir, &config)?;
        let chat = chat_template(&tokenizer_config)?;
        let weights = Weights::open(dir, &config)?;
        let preset = preset(&config);
        tracing::info!(
            dir = %dir.display(),
            family = config.family.model_type(),
            layers = config.num_layers,
            parameters = config.parameters(),
            weights_bytes = weights.total_bytes(),
            chat_template = chat.is_some(),
            stop_token_ids = ?generation.stop_token_ids,
            "loaded"
        );
        let llama = Llama::new(config, weights)?;
        Ok(Self {
            llama,
            tokenizer,
            chat,
            generation,
            tokenizer_bytes,
            preset,
        })
    }

    /// The demo model that is part of the program.
    ///
    /// # Errors
    /// None in a program that was built from an unchanged source tree.
    pub fn demo() -> Result<Self> {
        use crate::demo::files;
        let origin = |name| Path::new("(embedded demo model)").join(name);
        let config = ModelConfig::from_json(files::CONFIG, &origin("config.json"))?;
        let tokenizer_config =
            TokenizerConfig::from_json(files::TOKENIZER_CONFIG, &origin("tokenizer_config.json"))?;
        let tokenizer = Tokenizer::from_json(
            files::TOKENIZER,
            &origin("tokenizer.json"),
            &tokenizer_config,
            config.vocab_size,
        )?;
        let generation = GenerationConfig::from_json(
            files::GENERATION_CONFIG,
            &origin("generation_config.json"),
            &config,
        )?;
        let weights = Weights::from_static(files::WEIGHTS, &origin("model.safetensors"), &config)?;
        Ok(Self {
            llama: Llama::new(config, weights)?,
            tokenizer,
            chat: None,
            generation,
            tokenizer_bytes: files::TOKENIZER.len() as u64,
            preset: crate::demo::PRESET,
        })
    }
}

fn chat_template(config: &TokenizerConfig) -> Result<Option<ChatTemplate>> {
    match ChatTemplate::new(config) {
        Ok(template) => Ok(Some(template)),
        Err(Error::ChatTemplateMissing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The authors' settings for the model's family, with groups that divide its layers: the largest group
/// that is not larger than theirs.
pub(crate) fn preset(config: &ModelConfig) -> ModelPreset {
    let preset = match config.family {
        Family::Llama => ModelPreset::LLAMA3,
        Family::Qwen2 => ModelPreset::QWEN2_5,
    };
    let divides = |shared: &usize| config.num_layers.is_multiple_of(*shared);
    let shared_layers = (1..=preset.shared_layers).rev().find(divides).unwrap_or(1);
    ModelPreset {
        shared_layers,
        ..preset
    }
}
