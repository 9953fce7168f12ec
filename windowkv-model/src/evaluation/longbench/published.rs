//! The paper's own averages (arXiv 2503.17922; spec section 8), to stand beside those of a run.

use windowkv_ref::methods::MethodKind;

use crate::config::{Family, ModelConfig};

/// What the paper published for one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// The model's name.
    pub model: &'static str,
    /// The average with the full cache, in percent.
    full: f64,
    /// By capacity in tokens: StreamingLLM, H2O, PyramidKV, WindowKV, in percent.
    compressed: [(usize, [f64; 4]); 3],
    /// What tells the model from others of its family.
    family: Family,
    num_layers: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_heads_kv: usize,
    vocab_size: usize,
}

const METHODS: [MethodKind; 4] = [
    MethodKind::StreamingLlm,
    MethodKind::H2o,
    MethodKind::PyramidKv,
    MethodKind::WindowKv,
];

const PUBLISHED: [Published; 2] = [
    Published {
        model: "Llama-3-8B-Instruct",
        full: 41.51,
        compressed: [
            (2048, [39.30, 41.08, 41.32, 41.35]),
            (1024, [37.50, 40.32, 40.64, 40.51]),
            (512, [35.54, 38.88, 39.83, 39.33]),
        ],
        family: Family::Llama,
        num_layers: 32,
        hidden_size: 4096,
        intermediate_size: 14_336,
        num_heads_kv: 8,
        vocab_size: 128_256,
    },
    Published {
        model: "Qwen2.5-1.5B-Instruct",
        full: 33.63,
        compressed: [
            (2048, [29.89, 31.34, 32.18, 32.75]),
            (1024, [27.18, 29.85, 30.89, 31.58]),
            (512, [25.61, 28.66, 29.45, 29.92]),
        ],
        family: Family::Qwen2,
        num_layers: 28,
        hidden_size: 1536,
        intermediate_size: 8960,
        num_heads_kv: 2,
        vocab_size: 151_936,
    },
];

impl Published {
    /// The figures of a model, known by its shape. Llama 3.1 has the shape of Llama 3, and stretches its positions.
    pub fn of(config: &ModelConfig) -> Option<&'static Self> {
        PUBLISHED.iter().find(|published| {
            published.family == config.family
                && published.num_layers == config.num_layers
                && published.hidden_size == config.hidden_size
                && published.intermediate_size == config.intermediate_size
                && published.num_heads_kv == config.num_heads_kv
                && published.vocab_size == config.vocab_size
                && config.rope_scaling.is_none()
        })
    }

    /// The figures of a model by its name.
    pub fn named(model: &str) -> Option<&'static Self> {
        PUBLISHED.iter().find(|published| published.model == model)
    }

    /// The average in percent of the method with this name in tables, at this capacity.
    pub fn average(&self, method: &str, capacity: Option<&str>) -> Option<f64> {
        if method == MethodKind::FullKv.title() {
            return Some(self.full);
        }
        let capacity: usize = capacity?.parse().ok()?;
        let (_, averages) = self.compressed.iter().find(|(c, _)| *c == capacity)?;
        let place = METHODS.iter().position(|kind| kind.title() == method)?;
        Some(averages[place])
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn config(more: serde_json::Value) -> ModelConfig {
        let mut config = json!({
            "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 8192, "rope_theta": 500000.0, "tie_word_embeddings": false,
        });
        let more = more.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(more);
        ModelConfig::from_json(config.to_string().as_bytes(), Path::new("config.json")).unwrap()
    }

    #[test]
    fn figures_stand_beside_their_own_model_alone() {
        let llama = Published::of(&config(json!({}))).unwrap();
        assert_eq!(Published::named(llama.model), Some(llama));
        let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 8192});
        for other in [
            json!({"num_hidden_layers": 16}),
            json!({"rope_scaling": scaling}),
        ] {
            assert_eq!(Published::of(&config(other)), None);
        }
        assert_eq!(llama.average("WindowKV", Some("2048")), Some(41.35));
        assert_eq!(llama.average("StreamingLLM", Some("512")), Some(35.54));
        assert_eq!(llama.average("FullKV", None), Some(41.51));
        for (method, capacity) in [("WindowKV", "12%"), ("WindowKV", "256"), ("SnapKV", "512")] {
            assert_eq!(llama.average(method, Some(capacity)), None);
        }
    }
}
