//! The embedded demo model: its files, the generator of its prompts, and how well it answers.
//!
//! A Llama of 1.2 million parameters that was trained to do one thing: find a fact in a long text of
//! generated sentences and repeat it. See `demo-model/README.md` for what it is and is not.

pub mod accuracy;
pub mod files;
pub mod prompts;
pub mod vocabulary;
pub mod words;

use windowkv_ref::policy::{ModelPreset, TaskPreset};

/// Longest prompt, in tokens, for which the model answers at least 97 % of questions exactly at full cache.
pub const ADVERTISED_TOKENS: usize = 2048;

/// Name of the demo model's preset.
pub const NAME: &str = "demo";

/// WindowKV's settings for the demo model: the paper's window and suffix, groups of 2 of its 8 layers.
pub const PRESET: ModelPreset = ModelPreset {
    name: NAME,
    shared_layers: 2,
    max_input_len: ADVERTISED_TOKENS,
    localization: TaskPreset {
        window_len: 8,
        suffix_len: 16,
    },
    aggregation: TaskPreset {
        window_len: 16,
        suffix_len: 32,
    },
    ..ModelPreset::LLAMA3
};
