//! Inputs of the benches, and what times the kernels on a GPU and keeps the record.

pub mod gpu;
pub mod record;

use ndarray::Array3;
use serde_json::json;
use tempfile::TempDir;
use windowkv_model::runner::Llama;
use windowkv_model::testing::TestCheckpoint;
use windowkv_model::weights::{DType, Weights};

/// Numbers within 1 that look random, the same for the same seed.
pub fn random(shape: (usize, usize, usize), seed: u64) -> Array3<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Array3::from_shape_simple_fn(shape, || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// A Llama of 8 layers: hidden 256, 8 query heads over 2 KV heads of 32, MLP 704, 4,096 tokens; and the folder
/// that its weights are mapped from.
///
/// # Panics
/// When the temporary folder cannot be written.
pub fn small_llama(dtype: DType) -> (TempDir, Llama) {
    let mut config = TestCheckpoint::llama_config();
    for (name, value) in [
        ("hidden_size", 256),
        ("intermediate_size", 704),
        ("num_hidden_layers", 8),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 2),
        ("vocab_size", 4096),
        ("max_position_embeddings", 4096),
    ] {
        config[name] = json!(value);
    }
    let checkpoint = TestCheckpoint::new(config, dtype);
    let folder = TempDir::new().expect("a temporary folder");
    checkpoint
        .write(folder.path())
        .expect("room in the temporary folder");
    let config = checkpoint.model_config();
    let weights = Weights::open(folder.path(), &config).expect("a checkpoint that fits its config");
    let llama = Llama::new(config, weights).expect("an even head_dim");
    (folder, llama)
}
