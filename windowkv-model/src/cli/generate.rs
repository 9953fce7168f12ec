//! `windowkv generate`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use windowkv_ref::methods::MethodKind;
use windowkv_ref::policy::Task;

use super::compression::{CompressionArgs, say_notes};
use super::device::{Choice, DeviceArgs};
use super::terminal::{print, progress, say};
use super::{input, output, prompt, task};
use crate::runner::{Model, Request, Sampling, check_memory, generate, peak_memory};
use crate::settings::cut_middle;
use crate::{Error, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windowkv generate --prompt-file prompt.txt --model-dir Qwen2.5-1.5B-Instruct --max-capacity-prompt 1024\n  \
    windowkv demo prompt | windowkv generate --max-capacity-prompt 12% --json\n  \
    windowkv generate --prompt-file prompt.txt --method snapkv --window-size 16 --temperature 0.7 --top-p 0.9\n  \
    windowkv generate --prompt-file prompt.txt --device auto --prefill-chunk 1024\n  \
    windowkv generate --prompt-file prompt.txt --task aggregation --aggregation window=32,suffix=16,p=8\n\n\
    The released script's options work as they are:\n  \
    windowkv generate --model_type llama3_windowkv --model_half --use_cache --attn_implementation sdpa \\\n    \
    --max_capacity_prompt 2048 --review_window_size 8 --shared_layers 8 --suffix_max 32 --suffix_avg 16 \\\n    \
    --beta 14 --layer_decay_strategy arithmetic --seed 42 --model_dir Meta-Llama-3-8B-Instruct < prompt.txt")]
pub(super) struct Generate {
    /// Folder of the model as Hugging Face writes it [default: the embedded demo model]
    #[arg(long, alias = "model_dir", value_name = "DIR")]
    model_dir: Option<PathBuf>,
    /// The prompt [default: standard input]
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// File with the prompt; - is standard input
    #[arg(long, alias = "prompt_file", value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Message of the system in the model's chat form
    #[arg(long, value_name = "TEXT", conflicts_with = "no_chat_template")]
    system: Option<String>,
    /// Give the prompt to the model as it is, without its chat form
    #[arg(long)]
    no_chat_template: bool,
    /// Longest prompt in tokens; a longer one is cut in the middle [default: what the model has room for]
    #[arg(long, alias = "max_input_len", value_name = "TOKENS")]
    max_input_len: Option<usize>,
    /// New tokens at most
    #[arg(
        long,
        alias = "max_new_tokens",
        value_name = "N",
        default_value_t = 128
    )]
    max_new_tokens: usize,
    /// End the answer before this text (may be given several times)
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
    /// Go on past the model's end-of-text token
    #[arg(long)]
    ignore_eos: bool,
    /// One JSON object instead of the text
    #[arg(long)]
    json: bool,

    /// 0 takes the most probable token
    #[arg(
        long,
        value_name = "T",
        default_value_t = 0.0,
        help_heading = "Sampling"
    )]
    temperature: f32,
    /// Only the most probable K tokens; 0 is all
    #[arg(
        long,
        alias = "top_k",
        value_name = "K",
        default_value_t = 0,
        help_heading = "Sampling"
    )]
    top_k: usize,
    /// Only the most probable tokens up to this probability
    #[arg(
        long,
        alias = "top_p",
        value_name = "P",
        default_value_t = 1.0,
        help_heading = "Sampling"
    )]
    top_p: f32,
    /// Same seed, same text
    #[arg(long, default_value_t = 42, help_heading = "Sampling")]
    seed: u64,

    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    compression: CompressionArgs,
}

impl Generate {
    pub(super) fn run(&self) -> Result<()> {
        let prompt = prompt::read(self.prompt.as_deref(), self.prompt_file.as_deref())?;
        if prompt.trim().is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let model = match &self.model_dir {
            Some(dir) => Model::load(dir)?,
            None => Model::demo()?,
        };
        let config = model.llama.config();
        // The other methods do not depend on the task.
        let task_args = &self.compression.tuning.task;
        let windowkv = self.compression.kind() == MethodKind::WindowKv;
        let chosen = windowkv.then(|| task_args.choose(&prompt)).transpose()?;
        let decision = chosen.as_ref().map(|chosen| &chosen.decision);
        let task = decision.map_or(Task::Localization, |decision| decision.task);
        let (compression, mut notes) =
            self.compression
                .resolve_for(&model.preset, config.num_layers, task)?;
        notes.extend(task_args.notes(windowkv));
        notes.extend(decision.and_then(task::doubt));

        let system = self.system.as_deref();
        let (text, add_special_tokens) =
            input::form(&model, &prompt, system, self.no_chat_template)?;
        let ids = model.tokenizer.encode(&text, add_special_tokens)?;
        let given = ids.len();
        let model_type = self.compression.model_type;
        let limit = input::limit(
            &model,
            given,
            self.max_new_tokens,
            self.max_input_len,
            model_type,
        )?;
        let (ids, cut) = cut_middle(ids, limit);
        notes.extend(input::cut_note(given, limit, cut));
        if self.model_dir.is_none() {
            notes.extend(input::demo_notes(&model, &ids));
        }
        let (device, chosen_device) = self.device.choose(model.llama.weights())?;
        notes.extend(chosen_device);
        say_notes(&notes);

        tracing::info!(?compression, prompt_tokens = ids.len(), "compression");
        let method = compression.method(ids.len());
        let request = Request {
            ids: &ids,
            method: &*method,
            max_new_tokens: self.max_new_tokens,
            sampling: Sampling {
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                seed: self.seed,
            },
            stop_strings: &self.stop,
            ignore_stop_tokens: self.ignore_eos,
        };
        let bar = progress("prefill", 1000);
        let mut written = Ok(());
        let mut prefilled = |done: f64| bar.set_position((done * 1000.0) as u64);
        let mut on_text = |text: &str| {
            bar.finish_and_clear();
            if !self.json && written.is_ok() {
                written = print(text);
            }
        };
        let (answer, device) = match &device {
            Choice::Cpu => {
                check_memory(&model, &[&*method], ids.len(), self.max_new_tokens)?;
                let answer = generate(&model, &request, &mut prefilled, &mut on_text)?;
                (answer, None)
            }
            Choice::Device(device) => {
                let (answer, report) =
                    device.generate(&model, &request, &mut prefilled, &mut on_text)?;
                (answer, Some(report))
            }
        };
        bar.finish_and_clear();
        written?;
        if self.json {
            let report = json!({
                "text": answer.text, "ids": answer.ids, "finish": answer.finish,
                "prompt_tokens": ids.len(), "prompt_tokens_cut": cut, "new_tokens": answer.ids.len(),
                "kv": answer.kv, "timing": answer.timing, "peak_memory_bytes": peak_memory(),
                "compression": compression, "sampling": request.sampling, "notes": notes,
                "device": device,
                "task": chosen.as_ref().map(|chosen| chosen.report(&answer.timing)),
            });
            print(&format!("{report}\n"))
        } else {
            print("\n")?;
            say(&output::table(&answer));
            if let Some(chosen) = &chosen {
                say(&chosen.line(&answer.timing));
            }
            Ok(())
        }
    }
}
