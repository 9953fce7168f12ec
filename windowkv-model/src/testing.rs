//! Tiny checkpoints for tests: a config, random weights that fit it, and ways to spoil both.

use std::io;
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::config::ModelConfig;
use crate::weights::DType;

/// Reads `file` as a PyTorch file: its description, and up to four of its tensors. What a fuzzer calls; `true` if
/// the file was accepted.
pub fn read_untrusted_pth(file: &[u8]) -> bool {
    use crate::classifier::pth::StateDict;
    let reader = io::Cursor::new(file);
    let Ok(mut dict) = StateDict::new(reader, Path::new("fuzz.pth")) else {
        return false;
    };
    let described: Vec<(String, Vec<usize>)> = dict
        .tensors()
        .into_iter()
        .take(4)
        .map(|(name, shape)| {
            (
                name.to_owned(),
                shape.iter().map(|&length| length as usize).collect(),
            )
        })
        .collect();
    for (name, shape) in described {
        if let Ok(Some(values)) = dict.tensor(&name, &shape) {
            // Never more than the file has: a storage is as long as its entry.
            assert!(values.len() <= file.len(), "{} values", values.len());
        }
    }
    true
}

/// One tensor of a checkpoint that is to be written; any field may be spoilt.
#[derive(Debug, Clone)]
pub struct TestTensor {
    /// The name in the file.
    pub name: String,
    /// The dtype as the header will name it.
    pub dtype: String,
    /// The shape as the header will give it.
    pub shape: Vec<usize>,
    /// The elements, little-endian.
    pub bytes: Vec<u8>,
}

/// A checkpoint that is to be written.
#[derive(Debug, Clone)]
pub struct TestCheckpoint {
    /// `config.json`.
    pub config: Value,
    /// The tensors in the order of the file.
    pub tensors: Vec<TestTensor>,
}

impl TestCheckpoint {
    /// A Llama of 2 layers: hidden 16, 4 query heads over 2 KV heads of 4, MLP 24, 32 tokens.
    pub fn llama() -> Self {
        Self::new(Self::llama_config(), DType::Bf16)
    }

    /// The same shape as a Qwen2, with its biases and tied embeddings.
    pub fn qwen2() -> Self {
        let mut config = Self::llama_config();
        config["model_type"] = json!("qwen2");
        config["tie_word_embeddings"] = json!(true);
        Self::new(config, DType::Bf16)
    }

    /// `config.json` of [`TestCheckpoint::llama`].
    pub fn llama_config() -> Value {
        json!({
            "model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "vocab_size": 32, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "bos_token_id": 0, "eos_token_id": 1,
            "tie_word_embeddings": false,
        })
    }

    /// Random weights of type `dtype` that fit `config`: matrices and biases within 0.1, norms
    /// within 0.1 of one. The same config gives the same numbers.
    ///
    /// # Panics
    /// If `config` is not valid.
    pub fn new(config: Value, dtype: DType) -> Self {
        let bytes = config.to_string();
        let parsed = ModelConfig::from_json(bytes.as_bytes(), Path::new("config.json"))
            .expect("a valid test config");
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let tensors = expected_tensors(&parsed)
            .into_iter()
            .map(|(name, shape)| {
                let center = if name.contains("norm") { 1.0 } else { 0.0 };
                let len: usize = shape.iter().product();
                let values = (0..len).map(|_| {
                    // xorshift64: good enough for weights.
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    center + ((random >> 40) as f32 / (1 << 23) as f32 - 1.0) * 0.1
                });
                TestTensor {
                    bytes: encode(values, dtype),
                    dtype: dtype.name().into(),
                    name,
                    shape,
                }
            })
            .collect();
        TestCheckpoint { config, tensors }
    }

    /// The tensor `name`, to spoil it.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn tensor_mut(&mut self, name: &str) -> &mut TestTensor {
        let tensor = self.tensors.iter_mut().find(|t| t.name == name);
        tensor.unwrap_or_else(|| panic!("no test tensor {name}"))
    }

    /// The parsed config.
    ///
    /// # Panics
    /// If it is not valid.
    pub fn model_config(&self) -> ModelConfig {
        ModelConfig::from_json(self.config.to_string().as_bytes(), Path::new("config.json"))
            .expect("a valid test config")
    }

    /// All tensors as one safetensors file.
    pub fn safetensors(&self) -> Vec<u8> {
        safetensors(&self.tensors)
    }

    /// Writes `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        std::fs::write(dir.join("config.json"), self.config.to_string())?;
        std::fs::write(dir.join("model.safetensors"), self.safetensors())
    }

    /// Writes `config.json`, `shards` files and their index.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_sharded(&self, dir: &Path, shards: usize) -> io::Result<()> {
        std::fs::write(dir.join("config.json"), self.config.to_string())?;
        let mut weight_map = Map::new();
        for (shard, tensors) in self
            .tensors
            .chunks(self.tensors.len().div_ceil(shards))
            .enumerate()
        {
            let name = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
            std::fs::write(dir.join(&name), safetensors(tensors))?;
            for tensor in tensors {
                weight_map.insert(tensor.name.clone(), json!(name));
            }
        }
        let index = json!({"metadata": {}, "weight_map": weight_map});
        std::fs::write(dir.join("model.safetensors.index.json"), index.to_string())
    }
}

/// Tensors as a safetensors file, header and all, without any check.
pub fn safetensors(tensors: &[TestTensor]) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut data = Vec::new();
    for tensor in tensors {
        let start = data.len();
        data.extend_from_slice(&tensor.bytes);
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape,
            "data_offsets": [start, data.len()]});
        header.insert(tensor.name.clone(), entry);
    }
    with_header(&Value::Object(header).to_string(), &data)
}

/// A safetensors file of any header, padded with spaces to a multiple of eight, and any data.
pub fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    let header_len = header.len().next_multiple_of(8);
    let mut file = (header_len as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.resize(8 + header_len, b' ');
    file.extend_from_slice(data);
    file
}

/// Names and shapes of the tensors that a model needs.
fn expected_tensors(c: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (c.hidden_size, c.intermediate_size);
    let mut tensors = vec![(
        "model.embed_tokens.weight".to_owned(),
        vec![c.vocab_size, hidden],
    )];
    for layer in 0..c.num_layers {
        let linears = [
            ("self_attn.q_proj", c.q_size(), hidden, c.qkv_bias),
            ("self_attn.k_proj", c.kv_size(), hidden, c.qkv_bias),
            ("self_attn.v_proj", c.kv_size(), hidden, c.qkv_bias),
            ("self_attn.o_proj", hidden, c.q_size(), c.o_bias),
            ("mlp.gate_proj", inner, hidden, c.mlp_bias),
            ("mlp.up_proj", inner, hidden, c.mlp_bias),
            ("mlp.down_proj", hidden, inner, c.mlp_bias),
        ];
        for (name, rows, columns, bias) in linears {
            let name = format!("model.layers.{layer}.{name}");
            tensors.push((format!("{name}.weight"), vec![rows, columns]));
            if bias {
                tensors.push((format!("{name}.bias"), vec![rows]));
            }
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            tensors.push((format!("model.layers.{layer}.{norm}.weight"), vec![hidden]));
        }
    }
    tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
    if !c.tie_word_embeddings {
        tensors.push(("lm_head.weight".to_owned(), vec![c.vocab_size, hidden]));
    }
    tensors
}

/// Numbers as little-endian bytes of a dtype.
fn encode(values: impl Iterator<Item = f32>, dtype: DType) -> Vec<u8> {
    match dtype {
        DType::Bf16 => values
            .flat_map(|x| bf16::from_f32(x).to_le_bytes())
            .collect(),
        DType::F16 => values
            .flat_map(|x| f16::from_f32(x).to_le_bytes())
            .collect(),
        DType::F32 => values.flat_map(f32::to_le_bytes).collect(),
    }
}

/// A `tokenizer.json` whose tokens 0 to 255 are the bytes, followed by special tokens from 256 on.
pub fn byte_tokenizer(special: &[&str]) -> Value {
    let mut spare = 256;
    let vocab: Map<String, Value> = (0..=255u8)
        .map(|byte| {
            // The byte-level alphabet: printable Latin-1 stands for itself, the rest follows 255.
            let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
            let code = if printable {
                u32::from(byte)
            } else {
                spare += 1;
                spare - 1
            };
            let letter = char::from_u32(code).expect("a code below 512");
            (letter.to_string(), json!(byte))
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false,
        "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added_tokens(special, 256), "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": []},
    })
}

/// A `tokenizer.json` of whole words between spaces, numbered from 0; the first one stands for
/// every unknown word.
pub fn word_tokenizer(words: &[&str]) -> Value {
    let vocab: Map<String, Value> = words
        .iter()
        .enumerate()
        .map(|(id, word)| ((*word).to_owned(), json!(id)))
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": words[0]},
    })
}

fn added_tokens(special: &[&str], first_id: usize) -> Vec<Value> {
    let token = |(i, content): (usize, &&str)| {
        json!({"id": first_id + i, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true})
    };
    special.iter().enumerate().map(token).collect()
}
