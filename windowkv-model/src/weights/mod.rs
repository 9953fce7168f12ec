//! The weights of a model: memory-mapped safetensors, checked against the config.
//!
//! ```text
//! Weights -> Checkpoint -> SafetensorsFile -> Source: GuardedMap or &'static [u8]
//!            (folder,      (one header,
//!             index)        checked)
//! ```
//! Matrices stay where they are in the file, 16-bit weights in 16 bits. Norm vectors and biases,
//! a thousandth of the whole, are converted to f32 once.

mod cast;
mod checkpoint;
mod file;
mod guarded_map;
mod tensor;

use std::path::Path;

use crate::config::ModelConfig;
use crate::error::Result;
use checkpoint::Checkpoint;

pub use checkpoint::{MAX_INDEX_BYTES, MAX_SHARDS};
pub use file::MAX_HEADER_BYTES;
pub(crate) use file::SafetensorsFile;
pub use tensor::{DType, Elements, Tensor};

/// A linear layer: `y = x W^T + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// W, `[out_features, in_features]`.
    pub weight: Tensor,
    /// b, `[out_features]`.
    pub bias: Option<Vec<f32>>,
}

/// The weights of one decoder layer. `q_size = num_heads_q * head_dim`,
/// `kv_size = num_heads_kv * head_dim`; a head's rows are neighbours.
#[derive(Debug, Clone)]
pub struct LayerWeights {
    /// RMSNorm before attention, `[hidden_size]`.
    pub input_norm: Vec<f32>,
    /// `[q_size, hidden_size]`.
    pub q: Linear,
    /// `[kv_size, hidden_size]`.
    pub k: Linear,
    /// `[kv_size, hidden_size]`.
    pub v: Linear,
    /// `[hidden_size, q_size]`.
    pub o: Linear,
    /// RMSNorm before the MLP, `[hidden_size]`.
    pub post_norm: Vec<f32>,
    /// `[intermediate_size, hidden_size]`.
    pub gate: Linear,
    /// `[intermediate_size, hidden_size]`.
    pub up: Linear,
    /// `[hidden_size, intermediate_size]`.
    pub down: Linear,
}

/// One tensor of the model, as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file.
    pub name: String,
    /// The element type in the file.
    pub dtype: DType,
    /// The length of each dimension, the slowest first.
    pub shape: Vec<usize>,
}

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// The token embedding, `[vocab_size, hidden_size]`.
    pub embed: Tensor,
    /// The decoder layers, the first one first.
    pub layers: Vec<LayerWeights>,
    /// The last RMSNorm, `[hidden_size]`.
    pub norm: Vec<f32>,
    /// The output projection where it is not tied to the embedding.
    lm_head: Option<Tensor>,
    tensors: Vec<TensorInfo>,
    checkpoint: Checkpoint,
}

impl Weights {
    /// Opens the weights of the model folder `dir`: `model.safetensors`, or else the shards of
    /// `model.safetensors.index.json`. Only headers, norms and biases are read; the rest is mapped.
    ///
    /// # Errors
    /// [`Error::WeightsMissing`], [`Error::Io`], [`Error::NotAFile`], [`Error::TooManyMappings`];
    /// [`Error::WeightsTruncated`] and [`Error::WeightsHeader`] for a broken file;
    /// [`Error::ShardName`], [`Error::ShardMissing`], [`Error::TooManyShards`] and those of a JSON
    /// file for a broken index; [`Error::TensorMissing`], [`Error::TensorShape`] and
    /// [`Error::TensorDtype`] for tensors that do not fit `config`; [`Error::WeightsChanged`] for a
    /// file that changes meanwhile.
    ///
    /// [`Error::WeightsMissing`]: crate::Error::WeightsMissing
    /// [`Error::Io`]: crate::Error::Io
    /// [`Error::NotAFile`]: crate::Error::NotAFile
    /// [`Error::TooManyMappings`]: crate::Error::TooManyMappings
    /// [`Error::WeightsTruncated`]: crate::Error::WeightsTruncated
    /// [`Error::WeightsHeader`]: crate::Error::WeightsHeader
    /// [`Error::ShardName`]: crate::Error::ShardName
    /// [`Error::ShardMissing`]: crate::Error::ShardMissing
    /// [`Error::TooManyShards`]: crate::Error::TooManyShards
    /// [`Error::TensorMissing`]: crate::Error::TensorMissing
    /// [`Error::TensorShape`]: crate::Error::TensorShape
    /// [`Error::TensorDtype`]: crate::Error::TensorDtype
    /// [`Error::WeightsChanged`]: crate::Error::WeightsChanged
    pub fn open(dir: &Path, config: &ModelConfig) -> Result<Self> {
        Self::new(Checkpoint::open(dir)?, config)
    }

    /// The weights in a safetensors file that is part of the program; `origin` is the path that
    /// errors name. The bytes need not be aligned, but unaligned tensors are copied.
    ///
    /// # Errors
    /// As [`Weights::open`], without those of files and shards.
    pub fn from_static(
        safetensors: &'static [u8],
        origin: &Path,
        config: &ModelConfig,
    ) -> Result<Self> {
        Self::new(Checkpoint::from_static(safetensors, origin)?, config)
    }

    fn new(checkpoint: Checkpoint, config: &ModelConfig) -> Result<Self> {
        let mut loader = Loader {
            checkpoint: &checkpoint,
            config,
            tensors: Vec::new(),
        };
        let embed = loader.tensor(
            "model.embed_tokens.weight",
            &[config.vocab_size, config.hidden_size],
            "",
        )?;
        let layers = (0..config.num_layers)
            .map(|layer| loader.layer(layer))
            .collect::<Result<_>>()?;
        let norm = loader.vector("model.norm.weight", config.hidden_size)?;
        let lm_head = if config.tie_word_embeddings {
            None
        } else {
            Some(loader.tensor(
                "lm_head.weight",
                &[config.vocab_size, config.hidden_size],
                " (config.json says that tie_word_embeddings is false)",
            )?)
        };
        let tensors = loader.tensors;
        // What was converted above must have been the file's.
        checkpoint.check()?;
        Ok(Weights {
            embed,
            layers,
            norm,
            lm_head,
            tensors,
            checkpoint,
        })
    }

    /// The output projection, `[vocab_size, hidden_size]`: the embedding where they are tied.
    pub fn lm_head(&self) -> &Tensor {
        self.lm_head.as_ref().unwrap_or(&self.embed)
    }

    /// Whether all that was read since opening was really the files'. Cheap (one `fstat` per file);
    /// a runner calls it before it trusts what it computed.
    ///
    /// # Errors
    /// [`Error::WeightsChanged`](crate::Error::WeightsChanged) if a file was truncated, could not be
    /// read, or was modified.
    pub fn check(&self) -> Result<()> {
        self.checkpoint.check()
    }

    /// Name, dtype and shape of every tensor that the model uses, in the order of computation.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The memory of all weights in bytes once every page has been touched: matrices as the file has
    /// them, norms and biases in f32 besides. A tied embedding counts once.
    pub fn total_bytes(&self) -> u64 {
        let elements = |info: &TensorInfo| info.shape.iter().product::<usize>() as u64;
        let stored = |info: &TensorInfo| elements(info) * info.dtype.size() as u64;
        let vectors = self.tensors.iter().filter(|info| info.shape.len() == 1);
        self.tensors.iter().map(stored).sum::<u64>() + vectors.map(|v| 4 * elements(v)).sum::<u64>()
    }
}

/// Takes tensors out of a checkpoint by name and remembers what it took.
struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a ModelConfig,
    tensors: Vec<TensorInfo>,
}

impl Loader<'_> {
    fn tensor(&mut self, name: &str, shape: &[usize], hint: &'static str) -> Result<Tensor> {
        let tensor = self.checkpoint.tensor(name, shape, hint)?;
        self.tensors.push(TensorInfo {
            name: name.to_owned(),
            dtype: tensor.dtype(),
            shape: shape.to_vec(),
        });
        Ok(tensor)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>> {
        Ok(self.tensor(name, &[len], "")?.to_f32())
    }

    fn linear(&mut self, name: &str, rows: usize, columns: usize, bias: bool) -> Result<Linear> {
        let weight = self.tensor(&format!("{name}.weight"), &[rows, columns], "")?;
        let bias = bias.then(|| self.vector(&format!("{name}.bias"), rows));
        Ok(Linear {
            weight,
            bias: bias.transpose()?,
        })
    }

    fn layer(&mut self, layer: usize) -> Result<LayerWeights> {
        let c = self.config;
        let (hidden, inner) = (c.hidden_size, c.intermediate_size);
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        Ok(LayerWeights {
            input_norm: self.vector(&name("input_layernorm.weight"), hidden)?,
            q: self.linear(&name("self_attn.q_proj"), c.q_size(), hidden, c.qkv_bias)?,
            k: self.linear(&name("self_attn.k_proj"), c.kv_size(), hidden, c.qkv_bias)?,
            v: self.linear(&name("self_attn.v_proj"), c.kv_size(), hidden, c.qkv_bias)?,
            o: self.linear(&name("self_attn.o_proj"), hidden, c.q_size(), c.o_bias)?,
            post_norm: self.vector(&name("post_attention_layernorm.weight"), hidden)?,
            gate: self.linear(&name("mlp.gate_proj"), inner, hidden, c.mlp_bias)?,
            up: self.linear(&name("mlp.up_proj"), inner, hidden, c.mlp_bias)?,
            down: self.linear(&name("mlp.down_proj"), hidden, inner, c.mlp_bias)?,
        })
    }
}

#[cfg(test)]
mod tests;
