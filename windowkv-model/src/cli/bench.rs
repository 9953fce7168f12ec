//! `windowkv bench`

use std::path::{Path, PathBuf};

use clap::Args;
use half::{bf16, f16};
use serde_json::json;
use windowkv_kernels::HalfPrecision;
use windowkv_ref::policy::ModelPreset;

use super::compression::{CompressionArgs, MethodName, say_notes};
use super::device::{DeviceArgs, DtypeName, OnDevice};
use super::output::{bytes, duration, grouped};
use super::terminal::{print, progress, say};
use crate::config::{MAX_POSITIONS, ModelConfig};
use crate::device::{
    DeviceModel, DevicePlan, Load, Measurement, PromptShape, free_memory, measure,
};
use crate::evaluation::picture::{self, Growth, Series};
use crate::runner::Llama;
use crate::weights::{DType, Weights};
use crate::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windowkv bench --device emulated --prompt-tokens 64,128 --batches 1,4     the demo model, without a GPU\n  \
    windowkv bench --device cuda --model-dir Llama-3.2-1B-Instruct --out bench\n  \
    windowkv bench --device cuda --random-weights Llama-3-8B/config.json --batches 1,8,32,64 \\\n    \
    --prompt-tokens 4096,32768 --methods fullkv,windowkv,snapkv --json\n\n\
    On the emulated GPU times say nothing of a GPU; bytes and launches are a GPU's.")]
pub(super) struct Bench {
    /// Folder of the model as Hugging Face writes it [default: the embedded demo model]
    #[arg(long, alias = "model_dir", value_name = "DIR")]
    model_dir: Option<PathBuf>,
    /// Random weights in the shapes of this config.json: no checkpoint is needed
    #[arg(long, value_name = "CONFIG", conflicts_with = "model_dir")]
    random_weights: Option<PathBuf>,
    /// Methods to measure
    #[arg(long, value_enum, value_name = "NAME,NAME,...", value_delimiter = ',', conflicts_with = "method",
          default_values = ["fullkv", "windowkv"])]
    methods: Vec<MethodName>,
    /// Lengths of prompts, in tokens
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_values_t = [128, 256], value_parser = tokens)]
    prompt_tokens: Vec<usize>,
    /// Sequences that are decoded together
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_values_t = [1], value_parser = batch)]
    batches: Vec<usize>,
    /// Decode steps that are timed, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = steps)]
    steps: usize,
    /// Folder for bench.json and a chart of speed and memory, bench.svg and bench.png
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    compression: CompressionArgs,
}

fn tokens(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 1..=MAX_POSITIONS)
}

fn batch(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 1..=4096)
}

fn steps(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 1..=100_000)
}

/// Where the weights come from.
enum Source {
    Checkpoint(Box<Llama>),
    Random(Box<ModelConfig>),
}

impl Source {
    fn config(&self) -> &ModelConfig {
        match self {
            Self::Checkpoint(llama) => llama.config(),
            Self::Random(config) => config,
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Self::Checkpoint(llama) => llama.weights().embed.dtype(),
            Self::Random(_) => DType::Bf16,
        }
    }
}

impl Bench {
    pub(super) fn run(&self) -> Result<()> {
        let (source, name, preset) = self.source()?;
        let (device, chosen) = self.device.choose_gpu(source.dtype())?;
        say_notes(chosen.as_slice());
        let points = match device.dtype {
            DtypeName::Bf16 => self.points::<bf16>(&device, &source, &preset)?,
            DtypeName::F16 => self.points::<f16>(&device, &source, &preset)?,
        };
        let report = json!({
            "model": name, "device": device.device.name(), "dtype": device.dtype,
            "compute_capability": device.device.capability(), "steps": self.steps, "points": points,
        });
        if let Some(dir) = &self.out {
            self.write(
                dir,
                &report.to_string(),
                &chart(&points, &name, device.device.name()),
            )?;
        }
        match self.json {
            true => print(&format!("{report}\n")),
            false => print(&table(&points)),
        }
    }

    fn source(&self) -> Result<(Source, String, ModelPreset)> {
        if let Some(path) = &self.random_weights {
            let bytes = crate::files::read_bounded(path, crate::files::MAX_CONFIG_BYTES)?;
            let config = ModelConfig::from_json(&bytes, path)?;
            let preset = crate::runner::preset(&config);
            let name = format!("random weights of {}", path.display());
            return Ok((Source::Random(Box::new(config)), name, preset));
        }
        let Some(dir) = &self.model_dir else {
            let model = crate::runner::Model::demo()?;
            let preset = model.preset;
            return Ok((
                Source::Checkpoint(Box::new(model.llama)),
                "the demo model".to_owned(),
                preset,
            ));
        };
        // A folder without a tokenizer can be measured although it cannot be asked.
        let config = ModelConfig::load(dir)?;
        let weights = Weights::open(dir, &config)?;
        let preset = crate::runner::preset(&config);
        let llama = Llama::new(config, weights)?;
        Ok((
            Source::Checkpoint(Box::new(llama)),
            dir.display().to_string(),
            preset,
        ))
    }

    fn points<T: HalfPrecision>(
        &self,
        device: &OnDevice,
        source: &Source,
        preset: &ModelPreset,
    ) -> Result<Vec<Measurement>> {
        let config = source.config();
        let names = match self.compression.method() {
            Some(name) => vec![name],
            None => self.methods.clone(),
        };
        let mut compressions = Vec::new();
        for name in names {
            let args = self.compression.with_method(name);
            compressions.push(args.resolve(preset, config.num_layers)?.0);
        }
        let mut loads = Vec::new();
        for &prompt_tokens in &self.prompt_tokens {
            for &batch in &self.batches {
                for compression in &compressions {
                    loads.push((prompt_tokens, batch, compression.method(prompt_tokens)));
                }
            }
        }
        // Everything is planned before anything is made.
        for (seqlen, batch, method) in &loads {
            let shape = || PromptShape {
                seqlen: *seqlen,
                method: &**method,
                new_tokens: self.steps + 2,
            };
            let shapes: Vec<_> = (0..*batch).map(|_| shape()).collect();
            let plan = DevicePlan::new(&device.device, config, &shapes, device.prefill_chunk)?;
            plan.check(free_memory(&device.device))?;
        }
        let bar = progress("weights", 1000);
        let mut told = |done: f64| bar.set_position((done * 1000.0) as u64);
        let model = match source {
            Source::Checkpoint(llama) => DeviceModel::<T>::load(&device.device, llama, &mut told),
            Source::Random(config) => DeviceModel::<T>::random(&device.device, config, &mut told),
        };
        bar.finish_and_clear();
        let model = model?;
        let bar = progress("bench", loads.len() as u64);
        let mut points = Vec::with_capacity(loads.len());
        for (prompt_tokens, batch, method) in &loads {
            let load = Load {
                batch: *batch,
                prompt_tokens: *prompt_tokens,
                steps: self.steps,
                method: &**method,
                prefill_chunk: device.prefill_chunk,
            };
            points.push(measure(&model, &load)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(points)
    }

    fn write(&self, dir: &Path, report: &str, chart: &Growth) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|source| Error::io(dir, "create", source))?;
        let path = dir.join("bench.json");
        std::fs::write(&path, format!("{report}\n"))
            .map_err(|source| Error::io(&path, "write", source))?;
        picture::write(dir, "bench", &chart.svg())?;
        say(&format!(
            "{}: bench.json, bench.svg, bench.png",
            dir.display()
        ));
        Ok(())
    }
}

fn table(points: &[Measurement]) -> String {
    let mut text = format!(
        "{:<14}{:>8}{:>7}{:>15}{:>14}{:>13}{:>14}{:>15}{:>12}{:>12}\n",
        "method",
        "prompt",
        "batch",
        "prefill tok/s",
        "first token",
        "compression",
        "decode step",
        "decode tok/s",
        "KV",
        "peak",
    );
    for point in points {
        text += &format!(
            "{:<14}{:>8}{:>7}{:>15}{:>14}{:>13}{:>14}{:>15}{:>12}{:>12}\n",
            point.method,
            grouped(point.prompt_tokens as u64),
            point.batch,
            grouped(point.prefill_tokens_per_second as u64),
            duration(point.time_to_first_token),
            format!("{:.1} %", 100.0 * point.compression_share),
            duration(point.step_seconds),
            grouped(point.decode_tokens_per_second as u64),
            bytes(point.kv_bytes),
            bytes(point.peak_bytes),
        );
    }
    text
}

fn chart(points: &[Measurement], model: &str, device: &str) -> Growth {
    let mut series: Vec<Series> = Vec::new();
    for point in points {
        let name = format!("{}, batch {}", point.method, point.batch);
        let mib = point.peak_bytes as f64 / f64::from(1 << 20);
        let place = (
            point.prompt_tokens as f64,
            point.decode_tokens_per_second,
            mib,
        );
        match series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(place),
            None => series.push(Series {
                name,
                points: vec![place],
            }),
        }
    }
    for series in &mut series {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Growth {
        title: "Decode speed and memory as prompts grow".to_owned(),
        subtitle: match device {
            "emulated" => format!("{model}, on the emulated GPU: speeds are not a GPU's"),
            _ => format!("{model}, {device}"),
        },
        axes: [
            "decoded tokens a second".to_owned(),
            "peak memory of the device (MiB)".to_owned(),
        ],
        series,
    }
}
