//! `windowkv info`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use windowkv_ref::methods::{Method, MethodKind};

use super::compression::{CompressionArgs, say_notes};
use super::device::{Choice, DeviceArgs, OnDevice};
use super::output::{bytes, grouped};
use super::terminal::print;
use crate::Result;
use crate::config::ModelConfig;
use crate::device::{DevicePlan, PromptShape};
use crate::runner::MemoryPlan;
use crate::settings::{Capacity, Compression};
use crate::weights::{DType, Weights};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windowkv info                                     the embedded demo model\n  \
    windowkv info Llama-3.2-1B-Instruct --max-capacity-prompt 1024\n  \
    windowkv info Llama-3.2-1B-Instruct --prompt-tokens 8192,131072 --json\n  \
    windowkv info Llama-3.2-1B-Instruct --device emulated --batch 8    what a GPU would need, on a machine without one")]
pub(super) struct Info {
    /// Folder of the model [default: the embedded demo model]
    #[arg(value_name = "MODEL_DIR")]
    model_dir: Option<PathBuf>,
    /// Prompt lengths to predict memory for, in tokens
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_values_t = [1024, 2048, 4096, 8192, 32_768, 131_072],
          value_parser = prompt_tokens)]
    prompt_tokens: Vec<usize>,
    /// Prompts of that length in a batch, for the memory of a device
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = batch)]
    batch: usize,
    /// New tokens that the cache has room for
    #[arg(long, alias = "max_new_tokens", value_name = "N", default_value_t = 128, value_parser = new_tokens)]
    max_new_tokens: usize,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    compression: CompressionArgs,
}

// Lengths that some model could have, so that no product of lengths overflows.
fn prompt_tokens(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 1..=crate::config::MAX_POSITIONS)
}

fn new_tokens(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 0..=crate::config::MAX_POSITIONS)
}

fn batch(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 1..=4096)
}

struct Described {
    config: ModelConfig,
    weights: u64,
    dtype: DType,
    tokenizer: u64,
    preset: windowkv_ref::policy::ModelPreset,
}

impl Info {
    pub(super) fn run(&self) -> Result<()> {
        let model = self.describe()?;
        let (compression, mut notes) = self
            .compression
            .resolve(&model.preset, model.config.num_layers)?;
        let (choice, chosen_device) = self.device.choose_for(model.dtype)?;
        notes.extend(chosen_device);
        let device = match &choice {
            Choice::Cpu => None,
            Choice::Device(device) => Some(&**device),
        };
        say_notes(&notes);
        let budgets = match (compression.kind, compression.capacity) {
            (MethodKind::WindowKv, Capacity::Tokens(capacity)) => {
                let mut window = compression.window.clone();
                window.capacity = capacity;
                Some(window.layer_budgets(model.config.num_layers)?)
            }
            _ => None,
        };
        let rows = self
            .prompt_tokens
            .iter()
            .map(|&tokens| self.memory(&model, &compression, device, tokens))
            .collect::<Result<Vec<_>>>()?;
        if self.json {
            let memory: Vec<_> = rows
                .iter()
                .map(|row| {
                    json!({
                        "prompt_tokens": row.tokens, "kept_per_layer": row.kept, "kv_bytes": row.plan.kv_cache, "full_kv_bytes": row.full.kv_cache,
                        "peak_bytes": row.plan.total(), "full_peak_bytes": row.full.total(), "parts": row.plan,
                        "device_bytes": row.device.map(|plan| plan.total()), "device_parts": row.device,
                    })
                })
                .collect();
            let c = &model.config;
            let report = json!({
                "family": c.family.model_type(), "parameters": c.parameters(), "layers": c.num_layers,
                "hidden_size": c.hidden_size, "intermediate_size": c.intermediate_size, "num_heads_q": c.num_heads_q,
                "num_heads_kv": c.num_heads_kv, "head_dim": c.head_dim, "vocab_size": c.vocab_size,
                "max_position_embeddings": c.max_position_embeddings, "weights_bytes": model.weights,
                "batch": self.batch, "compression": compression, "layer_budgets": budgets, "memory": memory, "notes": notes,
            });
            return print(&format!("{report}\n"));
        }
        let mut text = self.tables(&model, &compression, budgets.as_deref(), &rows);
        if let Some(device) = device {
            let name = device.device.name();
            text += &device_table(name, self.batch, self.max_new_tokens, &rows);
        }
        print(&text)
    }

    fn describe(&self) -> Result<Described> {
        let Some(dir) = &self.model_dir else {
            let model = crate::runner::Model::demo()?;
            return Ok(Described {
                config: model.llama.config().clone(),
                weights: model.llama.weights().total_bytes(),
                dtype: model.llama.weights().embed.dtype(),
                tokenizer: model.tokenizer_bytes,
                preset: model.preset,
            });
        };
        let config = ModelConfig::load(dir)?;
        let weights = Weights::open(dir, &config)?;
        // A folder without a tokenizer can be described although it cannot be asked.
        let tokenizer = std::fs::metadata(dir.join("tokenizer.json")).map_or(0, |file| file.len());
        let preset = crate::runner::preset(&config);
        Ok(Described {
            config,
            weights: weights.total_bytes(),
            dtype: weights.embed.dtype(),
            tokenizer,
            preset,
        })
    }

    fn memory(
        &self,
        model: &Described,
        compression: &Compression,
        device: Option<&OnDevice>,
        tokens: usize,
    ) -> Result<Row> {
        let plan = |method: &dyn Method<f32>| {
            MemoryPlan::new(
                &model.config,
                model.weights,
                model.tokenizer,
                method,
                tokens,
                self.max_new_tokens,
            )
        };
        let method = compression.method(tokens);
        let selector = method.start(model.config.shape(), tokens)?;
        Ok(Row {
            tokens,
            kept: (0..model.config.num_layers)
                .map(|layer| selector.max_kept(layer))
                .collect(),
            device: device
                .map(|device| {
                    let prompt = || PromptShape {
                        seqlen: tokens,
                        method: &*method,
                        new_tokens: self.max_new_tokens,
                    };
                    let prompts: Vec<_> = (0..self.batch).map(|_| prompt()).collect();
                    device.plan(&model.config, &prompts)
                })
                .transpose()?,
            plan: plan(&*method)?,
            full: plan(&windowkv_ref::methods::FullKv)?,
        })
    }

    fn tables(
        &self,
        model: &Described,
        compression: &Compression,
        budgets: Option<&[usize]>,
        rows: &[Row],
    ) -> String {
        let c = &model.config;
        let mut text = format!(
            "{} with {} parameters, {} of weights\n  {} layers, hidden {}, MLP {}, {} query heads over {} KV heads \
             of {}\n  vocabulary {}, context {} tokens\n",
            c.family.model_type(),
            grouped(c.parameters()),
            bytes(model.weights),
            c.num_layers,
            c.hidden_size,
            c.intermediate_size,
            c.num_heads_q,
            c.num_heads_kv,
            c.head_dim,
            grouped(c.vocab_size as u64),
            grouped(c.max_position_embeddings as u64),
        );
        if let Some(budgets) = budgets {
            let window = &compression.window;
            text += &format!(
                "\nbudgets of review tokens by group (windows of {}; the suffix of {} comes on top)\n",
                window.window_len, window.suffix_len
            );
            for (group, budget) in budgets.iter().step_by(window.shared_layers).enumerate() {
                let first = group * window.shared_layers;
                text += &format!(
                    "  layers {:<10}{:>8}\n",
                    format!("{}-{}", first, first + window.shared_layers - 1),
                    grouped(*budget as u64)
                );
            }
        }
        if budgets.is_none() && compression.kind != MethodKind::FullKv {
            text += "\ntokens that a layer keeps at most, by prompt\n";
            for row in rows {
                text += &format!("{:>10}  {}\n", grouped(row.tokens as u64), runs(&row.kept));
            }
        }
        text += &format!(
            "\nmemory on the CPU with {} new tokens\n{:>10}{:>14}{:>14}{:>14}{:>14}\n",
            self.max_new_tokens,
            "prompt",
            format!("KV {}", compression.kind.name()),
            "KV full",
            "peak",
            "peak full",
        );
        for row in rows {
            let beyond = if row.tokens > c.max_position_embeddings {
                "  beyond the model's context"
            } else {
                ""
            };
            text += &format!(
                "{:>10}{:>14}{:>14}{:>14}{:>14}{beyond}\n",
                grouped(row.tokens as u64),
                bytes(row.plan.kv_cache),
                bytes(row.full.kv_cache),
                bytes(row.plan.total()),
                bytes(row.full.total()),
            );
        }
        text
    }
}

struct Row {
    tokens: usize,
    /// Tokens that each layer keeps at most.
    kept: Vec<usize>,
    plan: MemoryPlan,
    full: MemoryPlan,
    device: Option<DevicePlan>,
}

/// What a batch takes on a device, by purpose.
fn device_table(name: &str, batch: usize, new_tokens: usize, rows: &[Row]) -> String {
    let mut text = format!(
        "\nmemory on the device ({name}) for a batch of {batch} with {new_tokens} new tokens\n{:>10}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}\n",
        "prompt", "weights", "KV cache", "prompt", "chunk", "selection", "decode", "total",
    );
    for row in rows {
        let Some(plan) = row.device else { continue };
        let parts = [
            plan.weights,
            plan.kv_cache,
            plan.prompt,
            plan.chunk,
            plan.selection,
            plan.decode,
            plan.total(),
        ];
        text += &format!("{:>10}", grouped(row.tokens as u64));
        for part in parts {
            text += &format!("{:>12}", bytes(part));
        }
        text += "\n";
    }
    text
}

/// Equal neighbours together: `layers 0-1 440, layers 2-3 312`.
fn runs(kept: &[usize]) -> String {
    let mut first = 0;
    let runs = kept.chunk_by(|a, b| a == b).map(|run| {
        let layers = match run.len() {
            1 => format!("layer {first}"),
            len => format!("layers {first}-{}", first + len - 1),
        };
        first += run.len();
        format!("{layers} {}", grouped(run[0] as u64))
    });
    runs.collect::<Vec<_>>().join(", ")
}
