//! Writes the folder of a Llama checkpoint with random weights: the right size and speed, no knowledge.
//!
//! Tensors are written one after another, so that a checkpoint may be larger than the memory.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use half::{bf16, f16};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use windowkv_model::config::ModelConfig;
use windowkv_model::testing::word_tokenizer;

/// Standard deviation of matrices, Llama's own `initializer_range`: the logits then spread over about
/// 0.02 sqrt(hidden), far more than the rounding errors of two programs that are compared.
const STD: f32 = 0.02;

/// Writes a random Llama checkpoint: config.json, model.safetensors, tokenizer.json and their like
///
/// Token id N is written "tN", so a prompt of known ids is "t17 t4 t99". The defaults are a model of 149.8
/// million parameters.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  \
    random-checkpoint --out llama-150m\n  \
    random-checkpoint --out llama-150m-bf16 --dtype bf16\n  \
    random-checkpoint --out small --hidden 256 --layers 8 --heads 8 --kv-heads 2 --head-dim 32 \\\n    \
    --intermediate 704 --vocab 4000 --tied --seed 7\n  \
    echo t17 t4 t99 | windowkv generate --model-dir llama-150m --ignore-eos")]
struct Args {
    /// Folder to write; made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Size of the residual stream
    #[arg(long, default_value_t = 768)]
    hidden: usize,
    /// Layers
    #[arg(long, default_value_t = 16)]
    layers: usize,
    /// Query heads
    #[arg(long, default_value_t = 12)]
    heads: usize,
    /// KV heads, a divisor of the query heads
    #[arg(long, default_value_t = 4)]
    kv_heads: usize,
    /// Size of a head
    #[arg(long, default_value_t = 64)]
    head_dim: usize,
    /// Inner size of the MLP
    #[arg(long, default_value_t = 2048)]
    intermediate: usize,
    /// Tokens
    #[arg(long, default_value_t = 32_000)]
    vocab: usize,
    /// Longest context
    #[arg(long, default_value_t = 16_384)]
    max_positions: usize,
    /// Type of the weights
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Dtype,
    /// One matrix for the embedding and the logits
    #[arg(long)]
    tied: bool,
    /// The same seed and sizes give the same numbers, rounded to the dtype
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
    F16,
}

impl Dtype {
    fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::Bf16 => "BF16",
            Dtype::F16 => "F16",
        }
    }

    fn torch_name(self) -> &'static str {
        match self {
            Dtype::F32 => "float32",
            Dtype::Bf16 => "bfloat16",
            Dtype::F16 => "float16",
        }
    }

    fn size(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::Bf16 | Dtype::F16 => 2,
        }
    }

    fn write(self, number: f32, out: &mut impl Write) -> io::Result<()> {
        match self {
            Dtype::F32 => out.write_all(&number.to_le_bytes()),
            Dtype::Bf16 => out.write_all(&bf16::from_f32(number).to_le_bytes()),
            Dtype::F16 => out.write_all(&f16::from_f32(number).to_le_bytes()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let config = args.config();
    // The runner's own check of the sizes, before anything is written.
    let path = args.out.join("config.json");
    let parsed = ModelConfig::from_json(config.to_string().as_bytes(), &path)?;

    fs::create_dir_all(&args.out)?;
    args.write_weights(&args.out.join("model.safetensors"))?;
    let words: Vec<String> = (0..args.vocab).map(|id| format!("t{id}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let files = [
        ("config.json", config),
        ("tokenizer.json", word_tokenizer(&words)),
        (
            "tokenizer_config.json",
            json!({"model_max_length": args.max_positions}),
        ),
        (
            "generation_config.json",
            json!({"bos_token_id": 0, "eos_token_id": 1}),
        ),
    ];
    for (name, value) in files {
        fs::write(args.out.join(name), format!("{value}\n"))?;
    }
    println!(
        "{}: {} parameters, {} bytes of weights",
        args.out.display(),
        parsed.parameters(),
        parsed.parameters() * args.dtype.size() as u64
    );
    Ok(())
}

impl Args {
    fn config(&self) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": self.dtype.torch_name(),
            "hidden_size": self.hidden, "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads, "head_dim": self.head_dim,
            "vocab_size": self.vocab, "max_position_embeddings": self.max_positions,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
            "initializer_range": STD, "bos_token_id": 0, "eos_token_id": 1,
            "tie_word_embeddings": self.tied,
        })
    }

    /// Names and shapes in the order of the file.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden, self.intermediate);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let embedding = vec![self.vocab, hidden];
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), embedding.clone())];
        for layer in 0..self.layers {
            let parts = [
                ("input_layernorm", vec![hidden]),
                ("self_attn.q_proj", vec![q, hidden]),
                ("self_attn.k_proj", vec![kv, hidden]),
                ("self_attn.v_proj", vec![kv, hidden]),
                ("self_attn.o_proj", vec![hidden, q]),
                ("post_attention_layernorm", vec![hidden]),
                ("mlp.gate_proj", vec![inner, hidden]),
                ("mlp.up_proj", vec![inner, hidden]),
                ("mlp.down_proj", vec![hidden, inner]),
            ];
            let name = |part| format!("model.layers.{layer}.{part}.weight");
            tensors.extend(parts.map(|(part, shape)| (name(part), shape)));
        }
        tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
        if !self.tied {
            tensors.push(("lm_head.weight".to_owned(), embedding));
        }
        tensors
    }

    fn write_weights(&self, path: &Path) -> io::Result<()> {
        let tensors = self.tensors();
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({"format": "pt"}));
        let mut start = 0;
        for (name, shape) in &tensors {
            let end = start + shape.iter().product::<usize>() * self.dtype.size();
            let entry =
                json!({"dtype": self.dtype.name(), "shape": shape, "data_offsets": [start, end]});
            header.insert(name.clone(), entry);
            start = end;
        }
        let mut header = Value::Object(header).to_string();
        // Padded, so that the numbers are aligned where the file is mapped.
        let padding = header.len().next_multiple_of(8) - header.len();
        header += &" ".repeat(padding);

        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        for (_, shape) in &tensors {
            for _ in 0..shape.iter().product() {
                // A uniform number within sqrt(3) has the standard deviation 1.
                let unit = (random.random::<f32>() - 0.5) * 12f32.sqrt();
                let number = if shape.len() == 1 {
                    1.0 + STD * unit
                } else {
                    STD * unit
                };
                self.dtype.write(number, &mut file)?;
            }
        }
        file.into_inner()?.sync_all()
    }
}
