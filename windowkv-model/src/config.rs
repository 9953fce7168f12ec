//! `config.json`: the architecture of a model, checked field by field.
//!
//! The families are Llama (3, 3.1, 3.2: `model_type` "llama") and Qwen2 and Qwen2.5 ("qwen2"). Absent
//! fields take the defaults of Hugging Face's `LlamaConfig` and `Qwen2Config`; a field that asks for
//! something that this program does not compute is an error, never ignored.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::files::{MAX_CONFIG_BYTES, parse_object, read_bounded, shown};

/// The greatest `hidden_size` that is accepted.
pub const MAX_HIDDEN_SIZE: usize = 1 << 16;
/// The greatest `intermediate_size` that is accepted.
pub const MAX_INTERMEDIATE_SIZE: usize = 1 << 20;
/// The greatest `num_hidden_layers` that is accepted.
pub const MAX_LAYERS: usize = 1024;
/// The greatest `num_attention_heads` that is accepted.
pub const MAX_HEADS: usize = 1024;
/// The greatest `head_dim` that is accepted.
pub const MAX_HEAD_DIM: usize = 1024;
/// The greatest `vocab_size` that is accepted.
pub const MAX_VOCAB_SIZE: usize = 1 << 22;
/// The greatest `max_position_embeddings` that is accepted.
pub const MAX_POSITIONS: usize = 1 << 30;
/// The greatest number of parameters that is accepted: 2^43, about nine trillion.
pub const MAX_PARAMETERS: u64 = 1 << 43;

/// The model families that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Llama 3, 3.1 and 3.2.
    Llama,
    /// Qwen2 and Qwen2.5.
    Qwen2,
}

impl Family {
    /// The `model_type` of the family in `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
        }
    }
}

/// How Llama 3.1 stretches the rotary embedding: `rope_scaling` of type "llama3".
///
/// With wavelength `l = 2 pi / f` of a frequency `f`: `f` is kept where
/// `l < original_max_position_embeddings / high_freq_factor`, divided by `factor` where
/// `l > original_max_position_embeddings / low_freq_factor`, and interpolated between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3Rope {
    /// The divisor of the low frequencies, at least 1.
    pub factor: f64,
    /// Above 0 and below `high_freq_factor`.
    pub low_freq_factor: f64,
    /// Above `low_freq_factor`.
    pub high_freq_factor: f64,
    /// The context length in tokens before stretching, at least 1.
    pub original_max_position_embeddings: usize,
}

/// The architecture of a model. Every instance has passed the checks of [`ModelConfig::from_json`].
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The model family.
    pub family: Family,
    /// Width of the residual stream, 1 to [`MAX_HIDDEN_SIZE`].
    pub hidden_size: usize,
    /// Width inside the MLP, 1 to [`MAX_INTERMEDIATE_SIZE`].
    pub intermediate_size: usize,
    /// Number of decoder layers, 1 to [`MAX_LAYERS`].
    pub num_layers: usize,
    /// Number of query heads, a multiple of `num_heads_kv`, at most [`MAX_HEADS`].
    pub num_heads_q: usize,
    /// Number of key and value heads.
    pub num_heads_kv: usize,
    /// Width of a head, even, at most [`MAX_HEAD_DIM`]; `num_heads_q * head_dim` may differ from
    /// `hidden_size` where the file gives `head_dim`.
    pub head_dim: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f64,
    /// Stretching of the rotary embedding, if any.
    pub rope_scaling: Option<Llama3Rope>,
    /// Whether the q, k and v projections have a bias (always for Qwen2).
    pub qkv_bias: bool,
    /// Whether the o projection has a bias (never for Qwen2).
    pub o_bias: bool,
    /// Whether the gate, up and down projections have a bias (never for Qwen2).
    pub mlp_bias: bool,
    /// Whether the embedding is also the output projection.
    pub tie_word_embeddings: bool,
    /// Number of token ids, 1 to [`MAX_VOCAB_SIZE`].
    pub vocab_size: usize,
    /// The longest sequence that the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// The token that begins a sequence, if the file names one; below `vocab_size`.
    pub bos_token_id: Option<u32>,
    /// The tokens that end a sequence, if the file names any; each below `vocab_size`.
    pub eos_token_ids: Vec<u32>,
    /// `torch_dtype` (or `dtype`) as the file gives it; the weights' own dtypes are what counts.
    pub dtype: Option<String>,
}

impl ModelConfig {
    /// Reads `config.json` of the model folder `dir`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAFile`], [`Error::FileTooLarge`] above [`MAX_CONFIG_BYTES`], and
    /// those of [`ModelConfig::from_json`].
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        Self::from_json(&read_bounded(&path, MAX_CONFIG_BYTES)?, &path)
    }

    /// Parses and checks the bytes of a `config.json`; `origin` is the path that errors name.
    ///
    /// # Errors
    /// [`Error::NotUtf8`] and [`Error::Json`] for a broken file; [`Error::MissingField`],
    /// [`Error::InvalidField`] and [`Error::TokenId`] for a value out of its limits;
    /// [`Error::UnsupportedFamily`], [`Error::UnsupportedRope`] and [`Error::UnsupportedFeature`] for
    /// a model that this program does not compute; [`Error::TooManyParameters`].
    pub fn from_json(bytes: &[u8], origin: &Path) -> Result<Self> {
        let object = parse_object(bytes, origin)?;
        let fields = Fields::new(&object, origin);

        let family = family(&fields)?;
        refuse_unsupported(&fields)?;

        let required = |name, max| {
            let value = fields.integer(name, 1..=max)?;
            value.ok_or_else(|| fields.missing(name))
        };
        let hidden_size = required("hidden_size", MAX_HIDDEN_SIZE)?;
        let intermediate_size = required("intermediate_size", MAX_INTERMEDIATE_SIZE)?;
        let num_layers = required("num_hidden_layers", MAX_LAYERS)?;
        let num_heads_q = required("num_attention_heads", MAX_HEADS)?;
        let vocab_size = required("vocab_size", MAX_VOCAB_SIZE)?;
        let num_heads_kv = num_heads_kv(&fields, num_heads_q)?;
        let head_dim = head_dim(&fields, hidden_size, num_heads_q)?;
        let (rope_theta, rope_scaling) = rope(&fields)?;
        let default_positions = match family {
            Family::Llama => 2048,
            Family::Qwen2 => 32768,
        };
        let llama_flag = |name| -> Result<bool> {
            Ok(family == Family::Llama && fields.boolean(name)?.unwrap_or(false))
        };
        let attention_bias = llama_flag("attention_bias")?;

        let config = ModelConfig {
            family,
            hidden_size,
            intermediate_size,
            num_layers,
            num_heads_q,
            num_heads_kv,
            head_dim,
            rms_norm_eps: fields.positive("rms_norm_eps", 1.0)?.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            qkv_bias: attention_bias || family == Family::Qwen2,
            o_bias: attention_bias,
            mlp_bias: llama_flag("mlp_bias")?,
            tie_word_embeddings: fields.boolean("tie_word_embeddings")?.unwrap_or(false),
            vocab_size,
            max_position_embeddings: fields
                .integer("max_position_embeddings", 1..=MAX_POSITIONS)?
                .unwrap_or(default_positions),
            bos_token_id: fields
                .token_ids("bos_token_id", vocab_size)?
                .first()
                .copied(),
            eos_token_ids: fields.token_ids("eos_token_id", vocab_size)?,
            dtype: match fields.string("torch_dtype")? {
                Some(dtype) => Some(dtype),
                None => fields.string("dtype")?,
            }
            .map(str::to_owned),
        };
        match config.checked_parameters() {
            Some(parameters) if parameters <= MAX_PARAMETERS => Ok(config),
            parameters => Err(Error::TooManyParameters {
                path: origin.to_owned(),
                parameters: parameters.map_or("more than 2^64".into(), |n| n.to_string()),
                limit: MAX_PARAMETERS,
            }),
        }
    }

    /// The number of query heads that share a key and value head.
    pub fn queries_per_kv(&self) -> usize {
        self.num_heads_q / self.num_heads_kv
    }

    /// What a compression method must know.
    pub fn shape(&self) -> windowkv_ref::policy::ModelShape {
        windowkv_ref::policy::ModelShape {
            num_layers: self.num_layers,
            num_heads_q: self.num_heads_q,
            num_heads_kv: self.num_heads_kv,
            head_dim: self.head_dim,
        }
    }

    /// Rows of the q projection: `num_heads_q * head_dim`.
    pub fn q_size(&self) -> usize {
        self.num_heads_q * self.head_dim
    }

    /// Rows of the k and of the v projection: `num_heads_kv * head_dim`.
    pub fn kv_size(&self) -> usize {
        self.num_heads_kv * self.head_dim
    }

    /// The number of parameters; a tied embedding counts once.
    pub fn parameters(&self) -> u64 {
        self.checked_parameters()
            .expect("a checked config has at most MAX_PARAMETERS parameters")
    }

    /// [`ModelConfig::parameters`], or `None` above 2^64.
    fn checked_parameters(&self) -> Option<u64> {
        let linear = |rows: usize, columns: usize, bias: bool| {
            (rows as u64).checked_mul(columns as u64 + u64::from(bias))
        };
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let layer = [
            linear(self.q_size(), hidden, self.qkv_bias)?,
            linear(self.kv_size(), hidden, self.qkv_bias)?,
            linear(self.kv_size(), hidden, self.qkv_bias)?,
            linear(hidden, self.q_size(), self.o_bias)?,
            linear(inner, hidden, self.mlp_bias)?,
            linear(inner, hidden, self.mlp_bias)?,
            linear(hidden, inner, self.mlp_bias)?,
            2 * hidden as u64,
        ];
        let layer = layer.into_iter().try_fold(0u64, u64::checked_add)?;
        let embeddings = if self.tie_word_embeddings { 1 } else { 2 };
        let embeddings = linear(self.vocab_size, hidden, false)?.checked_mul(embeddings)?;
        layer
            .checked_mul(self.num_layers as u64)?
            .checked_add(embeddings)?
            .checked_add(hidden as u64)
    }
}

/// The family that `model_type` names.
fn family(fields: &Fields<'_>) -> Result<Family> {
    let model_type = fields
        .string("model_type")?
        .ok_or_else(|| fields.missing("model_type"))?;
    [Family::Llama, Family::Qwen2]
        .into_iter()
        .find(|family| family.model_type() == model_type)
        .ok_or_else(|| Error::UnsupportedFamily {
            path: fields.path().to_owned(),
            model_type: model_type.to_owned(),
            supported: "llama (Llama 3, 3.1, 3.2) and qwen2 (Qwen2, Qwen2.5)",
        })
}

/// Refuses what would silently give wrong numbers if it were ignored.
fn refuse_unsupported(fields: &Fields<'_>) -> Result<()> {
    let unsupported = |field: &str, value: &Value, way_out| {
        Err(Error::UnsupportedFeature {
            path: fields.path().to_owned(),
            field: field.to_owned(),
            value: shown(value),
            way_out,
        })
    };
    if let Some(act) = fields.get("hidden_act").filter(|act| *act != "silu") {
        return Err(fields.invalid("hidden_act", act, "\"silu\""));
    }
    if fields.boolean("use_sliding_window")? == Some(true) {
        return unsupported(
            "use_sliding_window",
            &Value::Bool(true),
            "every layer must attend to the whole prompt; use a checkpoint without sliding windows",
        );
    }
    if let Some(types) = fields.get("layer_types") {
        let full = |t: &Value| t == "full_attention";
        if !types.as_array().is_some_and(|types| types.iter().all(full)) {
            return unsupported(
                "layer_types",
                types,
                "every layer must be of type full_attention",
            );
        }
    }
    if let Some(quantization) = fields.get("quantization_config") {
        return unsupported(
            "quantization_config",
            quantization,
            "use the checkpoint in bfloat16, float16 or float32",
        );
    }
    match fields.get("partial_rotary_factor") {
        Some(part) if part.as_f64() != Some(1.0) => unsupported(
            "partial_rotary_factor",
            part,
            "the rotary embedding must cover the whole head",
        ),
        _ => Ok(()),
    }
}

/// `num_key_value_heads`, by default as many as query heads.
fn num_heads_kv(fields: &Fields<'_>, num_heads_q: usize) -> Result<usize> {
    const NAME: &str = "num_key_value_heads";
    let num_heads_kv = fields.integer(NAME, 1..=MAX_HEADS)?.unwrap_or(num_heads_q);
    if !num_heads_q.is_multiple_of(num_heads_kv) {
        let expected = format!("a divisor of num_attention_heads, which is {num_heads_q}");
        return Err(fields.invalid(NAME, &num_heads_kv.into(), expected));
    }
    Ok(num_heads_kv)
}

/// `head_dim`, by default `hidden_size / num_attention_heads`; an even number either way.
fn head_dim(fields: &Fields<'_>, hidden_size: usize, num_heads_q: usize) -> Result<usize> {
    const EXPECTED: &str = "an even number from 2 to 1024 (the rotary embedding turns pairs)";
    let valid = |dim: &usize| dim.is_multiple_of(2) && (2..=MAX_HEAD_DIM).contains(dim);
    if let Some(value) = fields.get("head_dim") {
        let dim = fields.integer("head_dim", 2..=MAX_HEAD_DIM)?;
        return dim
            .filter(valid)
            .ok_or_else(|| fields.invalid("head_dim", value, EXPECTED));
    }
    if !hidden_size.is_multiple_of(num_heads_q) {
        let expected =
            format!("a divisor of hidden_size, which is {hidden_size}, where head_dim is absent");
        return Err(fields.invalid("num_attention_heads", &num_heads_q.into(), expected));
    }
    let dim = hidden_size / num_heads_q;
    Some(dim).filter(valid).ok_or_else(|| {
        let name = "head_dim (hidden_size / num_attention_heads)";
        fields.invalid(name, &dim.into(), EXPECTED)
    })
}

/// `rope_theta` and the scaling, from `rope_theta` and `rope_scaling` or, as transformers 5 writes
/// them, together in `rope_parameters`.
fn rope(fields: &Fields<'_>) -> Result<(f64, Option<Llama3Rope>)> {
    const MAX_THETA: f64 = 1e15;
    const DEFAULT_THETA: f64 = 10_000.0;
    let parameters = fields.nested("rope_parameters", "rope_parameters.")?;
    let theta = match parameters.map(|p| p.positive("rope_theta", MAX_THETA)) {
        Some(theta) => theta?,
        None => None,
    };
    let theta = match theta {
        Some(theta) => theta,
        None => fields
            .positive("rope_theta", MAX_THETA)?
            .unwrap_or(DEFAULT_THETA),
    };
    let scaling = match parameters {
        Some(parameters) => Some(parameters),
        None => fields.nested("rope_scaling", "rope_scaling.")?,
    };
    let Some(scaling) = scaling else {
        return Ok((theta, None));
    };
    let rope_type = match scaling.string("rope_type")? {
        Some(rope_type) => Some(rope_type),
        None => scaling.string("type")?,
    };
    match rope_type {
        Some("default") => Ok((theta, None)),
        Some("llama3") => Ok((theta, Some(llama3(&scaling)?))),
        Some(other) => Err(Error::UnsupportedRope {
            path: fields.path().to_owned(),
            rope_type: other.to_owned(),
        }),
        // transformers 5 takes the plain embedding here; without a theta it is not that form.
        None if scaling.get("rope_theta").is_some() => Ok((theta, None)),
        None => Err(scaling.missing("rope_type")),
    }
}

/// The four values of a "llama3" scaling.
fn llama3(scaling: &Fields<'_>) -> Result<Llama3Rope> {
    const MAX_FACTOR: f64 = 1e6;
    let required = |name| {
        let value = scaling.positive(name, MAX_FACTOR)?;
        value.ok_or_else(|| scaling.missing(name))
    };
    let factor = required("factor")?;
    if factor < 1.0 {
        return Err(scaling.invalid("factor", &factor.into(), "at least 1"));
    }
    let low_freq_factor = required("low_freq_factor")?;
    let high_freq_factor = required("high_freq_factor")?;
    if high_freq_factor <= low_freq_factor {
        let expected = format!("above low_freq_factor, which is {low_freq_factor}");
        return Err(scaling.invalid("high_freq_factor", &high_freq_factor.into(), expected));
    }
    const ORIGINAL: &str = "original_max_position_embeddings";
    Ok(Llama3Rope {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings: scaling
            .integer(ORIGINAL, 1..=MAX_POSITIONS)?
            .ok_or_else(|| scaling.missing(ORIGINAL))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A small Llama config with `changes` merged in (`null` takes a field away).
    fn parse(changes: Value) -> Result<ModelConfig> {
        let mut config = json!({
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2,
            "vocab_size": 160, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
            "bos_token_id": 0, "eos_token_id": [1, 2], "torch_dtype": "bfloat16",
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        ModelConfig::from_json(config.to_string().as_bytes(), Path::new("m/config.json"))
    }

    /// Asserts that `changes` give [`Error::InvalidField`] on `field`, showing `value` and `limit`.
    #[track_caller]
    fn assert_invalid(changes: Value, field: &str, value: &str, limit: &str) {
        let error = parse(changes).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidField { field: f, .. } if f == field),
            "{error:?}"
        );
        let message = error.to_string();
        for part in ["m/config.json", field, value, limit] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }

    #[test]
    fn reads_llama() {
        let config = parse(json!({})).unwrap();
        assert_eq!(config.family, Family::Llama);
        assert_eq!((config.head_dim, config.queries_per_kv()), (16, 2));
        assert_eq!(config.eos_token_ids, [1, 2]);
        assert_eq!(config.bos_token_id, Some(0));
        assert_eq!(config.max_position_embeddings, 2048);
        assert!(!config.qkv_bias && !config.o_bias && !config.mlp_bias);
        assert!(!config.tie_word_embeddings);
        let layer = 64 * 64 * 2 + 32 * 64 * 2 + 3 * 64 * 96 + 2 * 64;
        assert_eq!(config.parameters(), 8 * layer + 2 * 160 * 64 + 64);
    }

    #[test]
    fn reads_qwen2_with_its_biases() {
        let config =
            parse(json!({"model_type": "qwen2", "tie_word_embeddings": true, "eos_token_id": 5}))
                .unwrap();
        assert!(config.qkv_bias && !config.o_bias && !config.mlp_bias);
        assert_eq!(config.eos_token_ids, [5]);
        let layer = 64 * 64 * 2 + 64 + 2 * (32 * 64 + 32) + 3 * 64 * 96 + 2 * 64;
        assert_eq!(config.parameters(), 8 * layer + 160 * 64 + 64);
    }

    #[test]
    fn llama_biases_follow_their_flags() {
        let config = parse(json!({"attention_bias": true, "mlp_bias": true})).unwrap();
        assert!(config.qkv_bias && config.o_bias && config.mlp_bias);
    }

    #[test]
    fn explicit_head_dim_need_not_divide_hidden_size() {
        let config = parse(json!({"head_dim": 10})).unwrap();
        assert_eq!((config.q_size(), config.kv_size()), (40, 20));
        let config = parse(json!({"hidden_size": 66, "head_dim": 16})).unwrap();
        assert_eq!(config.head_dim, 16);
    }

    #[test]
    fn kv_heads_default_to_query_heads() {
        assert_eq!(
            parse(json!({"num_key_value_heads": null}))
                .unwrap()
                .num_heads_kv,
            4
        );
    }

    #[test]
    fn reads_both_forms_of_llama3_rope() {
        let rope = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
        let old = parse(json!({"rope_scaling": rope})).unwrap();
        let expected = Llama3Rope {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        assert_eq!(old.rope_scaling, Some(expected));

        let mut new = rope.clone();
        new["rope_theta"] = json!(500000);
        assert_eq!(
            parse(json!({"rope_theta": null, "rope_parameters": new})).unwrap(),
            old
        );

        let plain = json!({"rope_type": "default", "rope_theta": 1e6});
        let plain = parse(json!({"rope_theta": null, "rope_parameters": plain})).unwrap();
        assert_eq!((plain.rope_theta, plain.rope_scaling), (1e6, None));
    }

    #[test]
    fn refuses_unknown_rope_types() {
        for name in ["linear", "dynamic", "yarn", "longrope", "odd"] {
            for field in ["rope_scaling", "rope_parameters"] {
                let error = parse(json!({field: {"type": name, "factor": 2.0}})).unwrap_err();
                assert!(
                    matches!(&error, Error::UnsupportedRope { rope_type, .. } if rope_type == name)
                );
                assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
            }
        }
        let error = parse(json!({"rope_scaling": {"factor": 2.0}})).unwrap_err();
        assert!(
            matches!(&error, Error::MissingField { field, .. } if field == "rope_scaling.rope_type")
        );
    }

    #[test]
    fn refuses_bad_llama3_values() {
        let rope = |key: &str, value: Value| {
            let mut rope = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
            rope[key] = value;
            json!({ "rope_scaling": rope })
        };
        assert_invalid(
            rope("factor", json!(-3.5)),
            "rope_scaling.factor",
            "-3.5",
            "above 0",
        );
        assert_invalid(
            rope("factor", json!(0.25)),
            "rope_scaling.factor",
            "0.25",
            "at least 1",
        );
        assert_invalid(
            rope("high_freq_factor", json!(1)),
            "rope_scaling.high_freq_factor",
            "1",
            "above low_freq_factor",
        );
        assert_invalid(
            rope("original_max_position_embeddings", json!(0)),
            "rope_scaling.original_max_position_embeddings",
            "0",
            "from 1 to",
        );
        let error = parse(rope("low_freq_factor", Value::Null)).unwrap_err();
        assert!(error.to_string().contains("rope_scaling.low_freq_factor"));
    }

    #[test]
    fn refuses_zero_negative_fractional_and_huge_sizes() {
        let fields = [
            ("hidden_size", 65536),
            ("intermediate_size", 1 << 20),
            ("num_hidden_layers", 1024),
            ("num_attention_heads", 1024),
            ("num_key_value_heads", 1024),
            ("vocab_size", 1 << 22),
            ("max_position_embeddings", 1 << 30),
        ];
        for (field, limit) in fields {
            let limit = limit.to_string();
            for bad in [
                json!(0),
                json!(-4),
                json!(2.5),
                json!(u64::MAX),
                json!(1e300),
                json!("4"),
                json!([4]),
            ] {
                assert_invalid(json!({field: bad}), field, &bad.to_string(), &limit);
            }
        }
        for field in &fields[..4] {
            let error = parse(json!({field.0: null})).unwrap_err();
            assert!(matches!(&error, Error::MissingField { field: f, .. } if f == field.0));
        }
    }

    #[test]
    fn refuses_bad_heads() {
        assert_invalid(
            json!({"num_key_value_heads": 3}),
            "num_key_value_heads",
            "3",
            "which is 4",
        );
        assert_invalid(json!({"head_dim": 15}), "head_dim", "15", "even");
        assert_invalid(json!({"head_dim": 0}), "head_dim", "0", "from 2 to 1024");
        assert_invalid(
            json!({"head_dim": 4096}),
            "head_dim",
            "4096",
            "from 2 to 1024",
        );
        assert_invalid(
            json!({"hidden_size": 66}),
            "num_attention_heads",
            "4",
            "which is 66",
        );
        let name = "head_dim (hidden_size / num_attention_heads)";
        assert_invalid(json!({"hidden_size": 60}), name, "15", "even");
    }

    #[test]
    fn refuses_bad_floats() {
        for field in ["rms_norm_eps", "rope_theta"] {
            for bad in [json!(0), json!(-1e-5), json!(1e200), json!("NaN")] {
                assert_invalid(json!({field: bad}), field, &bad.to_string(), "above 0");
            }
        }
    }

    #[test]
    fn refuses_bare_nan_and_broken_json() {
        for text in [
            "{\"rms_norm_eps\": NaN}",
            "{\"hidden_size\": 6",
            "",
            "\u{0}",
        ] {
            let error = ModelConfig::from_json(text.as_bytes(), Path::new("x.json")).unwrap_err();
            assert!(matches!(&error, Error::Json { .. }), "{error:?}");
            assert!(error.to_string().contains("x.json"));
        }
        let error = ModelConfig::from_json(b"{\"a\": \"\xff\"}", Path::new("x.json")).unwrap_err();
        assert!(matches!(&error, Error::NotUtf8 { .. }), "{error:?}");
        let error = ModelConfig::from_json(b"[1]", Path::new("x.json")).unwrap_err();
        assert!(error.to_string().contains("[1]"), "{error}");
        let deep = "[".repeat(100_000);
        let error = ModelConfig::from_json(deep.as_bytes(), Path::new("x.json")).unwrap_err();
        assert!(matches!(&error, Error::Json { .. }), "{error:?}");
    }

    #[test]
    fn refuses_other_families() {
        for name in ["mistral", "qwen3", "LLAMA", ""] {
            let error = parse(json!({"model_type": name})).unwrap_err();
            assert!(
                matches!(&error, Error::UnsupportedFamily { model_type, .. } if model_type == name)
            );
            let message = error.to_string();
            assert!(
                message.contains(&format!("`{name}`")) && message.contains("qwen2"),
                "{message}"
            );
        }
        let error = parse(json!({"model_type": null})).unwrap_err();
        assert!(matches!(&error, Error::MissingField { field, .. } if field == "model_type"));
    }

    #[test]
    fn refuses_features_that_are_not_computed() {
        let cases = [
            ("use_sliding_window", json!(true)),
            ("quantization_config", json!({"quant_method": "gptq"})),
            (
                "layer_types",
                json!(["full_attention", "sliding_attention"]),
            ),
            ("partial_rotary_factor", json!(0.5)),
        ];
        for (name, value) in cases {
            let error = parse(json!({name: value})).unwrap_err();
            assert!(
                matches!(&error, Error::UnsupportedFeature { field, .. } if field == name),
                "{error:?}"
            );
            assert!(error.to_string().contains(&value.to_string()), "{error}");
        }
        parse(json!({"use_sliding_window": false, "layer_types": ["full_attention"]})).unwrap();
        assert_invalid(
            json!({"hidden_act": "gelu"}),
            "hidden_act",
            "gelu",
            "\"silu\"",
        );
    }

    #[test]
    fn refuses_token_ids_over_the_vocabulary() {
        for (field, bad, id) in [
            ("eos_token_id", json!(160), 160),
            ("eos_token_id", json!([1, 5_000_000_000u64]), 5_000_000_000),
            ("bos_token_id", json!(4000), 4000),
        ] {
            let error = parse(json!({field: bad})).unwrap_err();
            assert!(matches!(&error, Error::TokenId { id: found, .. } if *found == id));
            let message = error.to_string();
            for part in [field, &id.to_string(), "160"] {
                assert!(message.contains(part), "{message}");
            }
        }
        assert_invalid(
            json!({"eos_token_id": -1}),
            "eos_token_id",
            "-1",
            "a token id",
        );
    }

    #[test]
    fn refuses_a_model_that_is_too_large_as_a_whole() {
        let error = parse(
            json!({"hidden_size": 65536, "intermediate_size": 1 << 20, "head_dim": 64,
            "num_hidden_layers": 1024}),
        )
        .unwrap_err();
        assert!(matches!(&error, Error::TooManyParameters { .. }));
        assert!(error.to_string().contains("8796093022208"), "{error}");
    }

    #[test]
    fn refuses_absent_large_and_irregular_files() {
        let dir = tempfile::tempdir().unwrap();
        let error = ModelConfig::load(dir.path()).unwrap_err();
        assert!(matches!(&error, Error::Io { .. }));
        assert!(error.to_string().contains("config.json"), "{error}");

        let path = dir.path().join("config.json");
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(
            ModelConfig::load(dir.path()).unwrap_err(),
            Error::NotAFile { .. }
        ));
        std::fs::remove_dir(&path).unwrap();

        let file = std::fs::File::create(&path).unwrap();
        file.set_len(MAX_CONFIG_BYTES + 1).unwrap();
        let error = ModelConfig::load(dir.path()).unwrap_err();
        assert!(matches!(&error, Error::FileTooLarge { .. }));
        assert!(error.to_string().contains("1048577"), "{error}");
    }
}
