use std::path::Path;

use candle_transformers::models::bert::{Config, HiddenAct, PositionEmbeddingType};

use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::files::{MAX_CONFIG_BYTES, parse_object, read_bounded};

/// The most parameters of an encoder: three times BERT-large.
pub const MAX_PARAMETERS: u64 = 1 << 30;

const MAX_VOCAB_SIZE: usize = 1 << 20;
const MAX_HIDDEN_SIZE: usize = 1 << 13;
const MAX_INTERMEDIATE_SIZE: usize = 1 << 15;
const MAX_LAYERS: usize = 128;
const MAX_HEADS: usize = 256;
const MAX_POSITIONS: usize = 1 << 14;
const MAX_TOKEN_TYPES: usize = 1 << 10;

/// Reads `config.json` of a BERT folder, checked so that candle can compute with it.
pub(super) fn load(dir: &Path) -> Result<Config> {
    let path = dir.join("config.json");
    from_json(&read_bounded(&path, MAX_CONFIG_BYTES)?, &path)
}

fn from_json(bytes: &[u8], origin: &Path) -> Result<Config> {
    let object = parse_object(bytes, origin)?;
    let fields = Fields::new(&object, origin);
    let family = fields.string("model_type")?.unwrap_or("bert");
    if family != "bert" {
        return Err(Error::UnsupportedFamily {
            path: origin.to_owned(),
            model_type: family.to_owned(),
            supported: "bert, for the task classifier",
        });
    }
    let required = |name, max| {
        let value = fields.integer(name, 1..=max)?;
        value.ok_or_else(|| fields.missing(name))
    };
    let hidden_size = required("hidden_size", MAX_HIDDEN_SIZE)?;
    let num_attention_heads = required("num_attention_heads", MAX_HEADS)?;
    if !hidden_size.is_multiple_of(num_attention_heads) {
        let expected = format!("a divisor of hidden_size {hidden_size}");
        return Err(fields.invalid("num_attention_heads", &num_attention_heads.into(), expected));
    }
    let hidden_act = match fields.string("hidden_act")?.unwrap_or("gelu") {
        "gelu" => HiddenAct::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" => HiddenAct::GeluApproximate,
        "relu" => HiddenAct::Relu,
        other => {
            let expected = "gelu, gelu_new, gelu_pytorch_tanh or relu";
            return Err(fields.invalid("hidden_act", &other.into(), expected));
        }
    };
    match fields.string("position_embedding_type")? {
        None | Some("absolute") => {}
        Some(other) => {
            return Err(fields.invalid("position_embedding_type", &other.into(), "absolute"));
        }
    }
    let config = Config {
        vocab_size: required("vocab_size", MAX_VOCAB_SIZE)?,
        hidden_size,
        num_hidden_layers: required("num_hidden_layers", MAX_LAYERS)?,
        num_attention_heads,
        intermediate_size: required("intermediate_size", MAX_INTERMEDIATE_SIZE)?,
        hidden_act,
        hidden_dropout_prob: 0.0,
        max_position_embeddings: fields
            .integer("max_position_embeddings", 2..=MAX_POSITIONS)?
            .ok_or_else(|| fields.missing("max_position_embeddings"))?,
        type_vocab_size: required("type_vocab_size", MAX_TOKEN_TYPES)?,
        initializer_range: 0.0,
        layer_norm_eps: fields.positive("layer_norm_eps", 1.0)?.unwrap_or(1e-12),
        pad_token_id: 0,
        position_embedding_type: PositionEmbeddingType::Absolute,
        use_cache: false,
        classifier_dropout: None,
        model_type: None,
    };
    match parameters(&config) {
        parameters if parameters > MAX_PARAMETERS => Err(Error::TooManyParameters {
            path: origin.to_owned(),
            parameters: parameters.to_string(),
            limit: MAX_PARAMETERS,
        }),
        _ => Ok(config),
    }
}

/// Numbers in the large matrices; the limits above keep the products within 64 bits.
fn parameters(config: &Config) -> u64 {
    let rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size;
    let layer = 4 * config.hidden_size + 2 * config.intermediate_size;
    config.hidden_size as u64 * (rows + config.num_hidden_layers * layer) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(change: serde_json::Value) -> Result<Config> {
        let mut config = json!({
            "model_type": "bert", "vocab_size": 100, "hidden_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 3, "intermediate_size": 48, "hidden_act": "gelu",
            "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        });
        for (name, value) in change.as_object().unwrap() {
            config[name] = value.clone();
        }
        from_json(config.to_string().as_bytes(), Path::new("b/config.json"))
    }

    #[test]
    fn broken_configs_are_refused_by_field() {
        assert_eq!(parse(json!({})).unwrap().hidden_size, 24);
        for (change, part) in [
            (json!({"model_type": "roberta"}), "roberta"),
            (json!({"hidden_size": 0}), "hidden_size"),
            (json!({"hidden_size": 25}), "num_attention_heads"),
            (json!({"num_attention_heads": 0}), "num_attention_heads"),
            (json!({"num_hidden_layers": 1e18}), "num_hidden_layers"),
            (json!({"vocab_size": null}), "vocab_size"),
            (json!({"vocab_size": -1}), "vocab_size"),
            (
                json!({"max_position_embeddings": 1}),
                "max_position_embeddings",
            ),
            (json!({"layer_norm_eps": 0.0}), "layer_norm_eps"),
            (json!({"hidden_act": "silu"}), "silu"),
            (
                json!({"position_embedding_type": "relative_key"}),
                "relative_key",
            ),
            (
                json!({"vocab_size": 1 << 20, "hidden_size": 8190}),
                "parameters",
            ),
        ] {
            let message = parse(change).unwrap_err().to_string();
            assert!(
                message.contains(part) && message.contains("b/config.json"),
                "{message}"
            );
        }
    }
}
