//! What `niah` and `compare` have in common: the grid, the prompts, the run and its reports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use windowkv_ref::methods::MethodKind;
use windowkv_ref::policy::Task;

use super::compression::{MethodSpec, TuningArgs, say_notes};
use super::output::{bytes, grouped};
use super::run::{RunArgs, labels, sha256};
use super::task::say_uncertain;
use super::terminal::{print, say};
use crate::classifier::TaskChooser;
use crate::evaluation::fingerprint::Fingerprint;
use crate::evaluation::needle::{
    Grid, Haystack, NeedleRecord, Prompts, Summary, TextNeedle, VariantSummary, answer,
};
use crate::evaluation::picture::{self, HeatMap, heat_map, heat_maps};
use crate::evaluation::run::{Case, Finished, Shard};
use crate::runner::{Model, check_memory};
use crate::settings::Capacity;
use crate::{Error, Result, files};

/// The grid where the user does not say.
pub(super) struct Defaults {
    /// The command's name.
    pub(super) command: &'static str,
    /// Lengths for the demo model.
    pub(super) demo_lengths: &'static [usize],
    /// Lengths for other models.
    pub(super) lengths: &'static [usize],
    /// Prompts of each length and depth for the demo model; for others one.
    pub(super) demo_prompts: usize,
    /// Capacities for the demo model.
    pub(super) demo_capacities: &'static [&'static str],
    /// Capacities for other models.
    pub(super) capacities: &'static [&'static str],
    /// The methods.
    pub(super) methods: &'static [&'static str],
}

/// Depths in percent where the user does not say.
const DEPTHS: [f64; 11] = [
    0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0,
];
/// Longest prompt and most prompts that are accepted; a model's own context is shorter.
const MAX_COUNT: usize = 10_000_000;
/// Tokens of text that prompts are cut from, but for a single prompt that is longer.
const MAX_HAYSTACK_TOKENS: usize = 1 << 19;

/// The options of [`NeedleArgs`] but for those of compression.
pub(super) const NEEDLE: [&str; 17] = [
    "model_dir",
    "lengths",
    "depths",
    "prompts",
    "methods",
    "capacities",
    "haystack",
    "needle",
    "question",
    "answer",
    "template",
    "max_new_tokens",
    "facts",
    "answer_tokens",
    "out",
    "resume",
    "shard",
];
/// Options with which the demo model's own prompts are not used.
const OF_TEXT: [&str; 4] = ["model_dir", "haystack", "needle", "template"];

/// The grid and the needle
#[derive(Debug, Args)]
pub(super) struct NeedleArgs {
    /// Folder of the model as Hugging Face writes it [default: the embedded demo model]
    #[arg(long, alias = "model_dir", value_name = "DIR")]
    model_dir: Option<PathBuf>,
    /// Prompt lengths in tokens, the question included
    #[arg(long, value_delimiter = ',', value_name = "TOKENS", value_parser = count)]
    lengths: Option<Vec<usize>>,
    /// Depths of the needle in percent: 0 is the beginning, 100 the end [default: 0,10,...,100]
    #[arg(long, value_delimiter = ',', value_name = "PERCENT")]
    depths: Option<Vec<f64>>,
    /// Prompts of each length and depth
    #[arg(long, value_name = "N", value_parser = count)]
    prompts: Option<usize>,
    /// Methods; `windowkv:9` is WindowKV whose scores are pooled over 9 tokens
    #[arg(long, alias = "method", value_delimiter = ',', value_name = "NAME")]
    methods: Option<Vec<MethodSpec>>,
    /// Tokens that a layer may keep on average, or shares of the prompt
    #[arg(long, aliases = ["max-capacity-prompt", "max_capacity_prompt"], value_delimiter = ',',
          value_name = "TOKENS|PERCENT")]
    capacities: Option<Vec<Capacity>>,

    /// Folder of *.txt files to hide the needle in [default: generated sentences]
    #[arg(long, value_name = "DIR", help_heading = "Needle")]
    haystack: Option<PathBuf>,
    /// The sentence that is hidden [default: the released evaluation's; demo model: one of several facts]
    #[arg(long, value_name = "TEXT", help_heading = "Needle")]
    needle: Option<String>,
    /// What is asked
    #[arg(
        long,
        value_name = "TEXT",
        requires = "needle",
        help_heading = "Needle"
    )]
    question: Option<String>,
    /// What a right answer says [default: the needle]
    #[arg(
        long,
        value_name = "TEXT",
        requires = "needle",
        help_heading = "Needle"
    )]
    answer: Option<String>,
    /// The prompt, with {context} for the haystack and {question} [default: the released evaluation's]
    #[arg(long, value_name = "TEXT", help_heading = "Needle")]
    template: Option<String>,
    /// New tokens at most [default: 30; demo model: by the answer]
    #[arg(long, alias = "max_new_tokens", value_name = "N", value_parser = count, help_heading = "Needle")]
    max_new_tokens: Option<usize>,
    /// Demo model: facts in each prompt, one of which is asked for
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Needle", conflicts_with_all = OF_TEXT)]
    facts: usize,
    /// Demo model: words of each answer
    #[arg(long, alias = "answer_tokens", value_name = "N", default_value_t = 4, help_heading = "Needle",
          conflicts_with_all = OF_TEXT)]
    answer_tokens: usize,

    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    tuning: TuningArgs,
}

fn count(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 1..=MAX_COUNT)
}

impl NeedleArgs {
    /// Runs the grid. The folder of a run that is whole, for its report; `None` for a shard.
    pub(super) fn execute(&self, defaults: &Defaults) -> Result<Option<PathBuf>> {
        let demo = self.model_dir.is_none();
        let model = match &self.model_dir {
            Some(dir) => Model::load(dir)?,
            None => Model::demo()?,
        };
        let grid = self.grid(&model, defaults)?;
        let longest = grid.lengths.iter().copied().max().unwrap_or(0);
        let own_needle = [&self.needle, &self.template]
            .iter()
            .any(|text| text.is_some());
        let (prompts, source) = if demo && !own_needle && self.haystack.is_none() {
            if let Some(tokens) = self.max_new_tokens {
                return Err(Error::Setting {
                    name: "--max-new-tokens",
                    value: tokens.to_string(),
                    expected: "left out with the demo's own prompts, whose answers end by themselves; it goes with \
                               --needle, --template or --haystack",
                });
            }
            let (facts, answer_tokens) = (self.facts, self.answer_tokens);
            let source =
                json!({"generator": "demo", "facts": facts, "answer_tokens": answer_tokens});
            let prompts = Prompts::Demo {
                facts,
                answer_tokens,
            };
            (prompts, source)
        } else {
            // Before a text of that length is made; prompts beyond the text begin it anew.
            let limit = model.llama.config().max_position_embeddings;
            if longest > limit {
                return Err(Error::ContextTooSmall {
                    prompt_tokens: longest,
                    max_new_tokens: self.max_new_tokens.unwrap_or(0),
                    limit,
                });
            }
            let tokens = longest.saturating_mul(grid.prompts);
            self.text_prompts(&model, tokens.min(MAX_HAYSTACK_TOKENS.max(longest)))?
        };
        if demo && longest > crate::demo::ADVERTISED_TOKENS {
            say(&format!(
                "note: the demo model answers reliably up to {} tokens; the longest prompts have {longest}",
                crate::demo::ADVERTISED_TOKENS
            ));
        }
        let tasks = &self.tuning.task;
        let chooser = tasks.chooser_of(&grid.variants)?;
        check(&model, &prompts, &grid, chooser.as_ref())?;
        let settings = json!({
            "model_sha256": sha256(&Fingerprint::of(self.model_dir.as_deref())?)?,
            "prompts": source,
            "task": tasks.settings_of(&grid.variants)?,
            "grid": grid,
        });
        let plan = grid.plan()?;
        let run = self.run.execute(
            defaults.command,
            settings,
            labels(self.model_dir.as_deref()),
            &plan,
            &mut |cases| answer(&model, &prompts, &grid, chooser.as_ref(), cases),
        )?;
        let manifest = run.manifest();
        if manifest.shard != Shard::WHOLE {
            say(&format!(
                "{}: shard {} is done, {} of {} cases; `windowkv merge` joins the shards",
                run.dir().display(),
                manifest.shard,
                manifest.shard_cases,
                manifest.cases
            ));
            return Ok(None);
        }
        Ok(Some(run.dir().to_owned()))
    }

    fn grid(&self, model: &Model, defaults: &Defaults) -> Result<Grid> {
        let demo = self.model_dir.is_none();
        let config = model.llama.config();
        let parse = |texts: &[&str]| -> Result<Vec<Capacity>> {
            texts.iter().map(|text| text.parse()).collect()
        };
        let capacities = match &self.capacities {
            Some(capacities) => capacities.clone(),
            None if demo => parse(defaults.demo_capacities)?,
            None => parse(defaults.capacities)?,
        };
        let methods = match &self.methods {
            Some(methods) => methods.clone(),
            None => defaults
                .methods
                .iter()
                .map(|name| name.parse().expect("the program's own names are known"))
                .collect(),
        };
        let pairs = methods.iter().flat_map(|&method| {
            let once = method.kind == MethodKind::FullKv;
            let capacities = capacities.iter().take(if once { 1 } else { usize::MAX });
            capacities.map(move |&capacity| (method, capacity))
        });
        let (variants, notes) = self
            .tuning
            .variants(pairs, &model.preset, config.num_layers)?;
        say_notes(&notes);
        let room = config.max_position_embeddings;
        let lengths = match &self.lengths {
            Some(lengths) => lengths.clone(),
            None if demo => defaults.demo_lengths.to_vec(),
            None => {
                let fits = |length: &usize| *length + TextNeedle::default().max_new_tokens <= room;
                defaults.lengths.iter().copied().filter(fits).collect()
            }
        };
        Ok(Grid {
            lengths,
            depths: self.depths.clone().unwrap_or_else(|| DEPTHS.to_vec()),
            prompts: self
                .prompts
                .unwrap_or(if demo { defaults.demo_prompts } else { 1 }),
            variants,
        })
    }

    /// Prompts with a needle in a text of `tokens` tokens, and how a manifest tells them.
    fn text_prompts(&self, model: &Model, tokens: usize) -> Result<(Prompts, serde_json::Value)> {
        let released = TextNeedle::default();
        let needle = self.needle.clone().unwrap_or(released.needle);
        let needle = TextNeedle {
            reference: self
                .answer
                .clone()
                .unwrap_or_else(|| needle.trim().to_owned()),
            question: self.question.clone().unwrap_or(released.question),
            template: self.template.clone().unwrap_or(released.template),
            max_new_tokens: self.max_new_tokens.unwrap_or(released.max_new_tokens),
            needle,
        };
        let haystack = match &self.haystack {
            Some(dir) => Haystack::read(dir)?,
            None => Haystack::generated(tokens, crate::demo::accuracy::HELD_OUT_SEED),
        };
        say_notes(&haystack.notes);
        let source = json!({"needle": needle, "haystack": {
            "generated": self.haystack.is_none(), "texts": haystack.texts.len(), "sha256": haystack.hash()}});
        let prompts = Prompts::text(&model.tokenizer, &needle, &haystack, tokens)?;
        Ok((prompts, source))
    }
}

/// Refuses a grid that could not be run to its end, before it begins.
fn check(
    model: &Model,
    prompts: &Prompts,
    grid: &Grid,
    chooser: Option<&TaskChooser>,
) -> Result<()> {
    let tasks = chooser.map_or(&[Task::Localization][..], TaskChooser::tasks);
    let new_tokens = prompts.max_new_tokens();
    let limit = model.llama.config().max_position_embeddings;
    for &length in &grid.lengths {
        if length.saturating_add(new_tokens) > limit {
            return Err(Error::ContextTooSmall {
                prompt_tokens: length,
                max_new_tokens: new_tokens,
                limit,
            });
        }
        for &depth in &grid.depths {
            prompts.prompt(model, length, depth, 0)?;
        }
        for &task in tasks {
            let variants = grid.variants.iter();
            let methods: Vec<_> = variants
                .map(|variant| variant.compression(task).method(length))
                .collect();
            let methods: Vec<_> = methods.iter().map(|method| &**method).collect();
            check_memory(model, &methods, length, new_tokens)?;
        }
    }
    Ok(())
}

/// Reads the records of a run that is whole.
pub(super) fn summary(dir: &Path, command: &'static str) -> Result<Summary> {
    let run = Finished::<NeedleRecord>::read(dir, command)?;
    let uncertain = run.records.iter().map(|record| &record.record);
    let uncertain = uncertain.filter(|record| record.task_uncertain);
    let prompts: BTreeSet<String> = uncertain.map(|record| record.asked.unit()).collect();
    say_uncertain(prompts.len());
    Ok(Summary::new(
        run.records.iter().map(|record| &record.record),
    ))
}

/// Writes the summary and the heat maps of a run into its folder.
pub(super) fn write_heat_maps(dir: &Path, summary: &Summary) -> Result<()> {
    let maps: Vec<HeatMap> = summary.variants.iter().map(|v| map(summary, v)).collect();
    for (variant, map) in summary.variants.iter().zip(&maps) {
        let name = format!("heatmap-{}", file_name(variant));
        picture::write(dir, &name, &heat_map(map))?;
    }
    if !maps.is_empty() {
        picture::write(dir, "heatmaps", &heat_maps(&maps))?;
    }
    Ok(())
}

fn map(summary: &Summary, variant: &VariantSummary) -> HeatMap {
    let value = |length: usize, depth: f64| {
        let cell = variant
            .cells
            .iter()
            .find(|cell| cell.length == length && cell.depth == depth);
        cell.map(|cell| cell.rouge1)
    };
    HeatMap {
        title: title(variant),
        across: summary.lengths.iter().map(|&n| grouped(n as u64)).collect(),
        down: summary.depths.iter().map(f64::to_string).collect(),
        values: summary
            .depths
            .iter()
            .map(|&depth| summary.lengths.iter().map(|&n| value(n, depth)).collect())
            .collect(),
        mean: variant.rouge1,
    }
}

fn title(variant: &VariantSummary) -> String {
    match variant.capacity.as_str() {
        "full" => variant.method.clone(),
        capacity if capacity.ends_with('%') => {
            format!("{}, {capacity} of the cache", variant.method)
        }
        capacity => format!("{}, {capacity} tokens", variant.method),
    }
}

/// The variant as part of a file's name.
fn file_name(variant: &VariantSummary) -> String {
    let name = format!(
        "{} {}",
        variant.method,
        variant.capacity.replace('%', "pct")
    );
    let name = name.to_lowercase().replace(", ", " ");
    name.replace(|c: char| !(c.is_ascii_alphanumeric() || c == '.'), "-")
}

/// One row a variant, as Markdown.
pub(super) fn table(summary: &Summary) -> String {
    let mut text = String::from(
        "| method | capacity | Rouge-1 F1 | exact | KV cache | of full | prompts |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for v in &summary.variants {
        text += &format!(
            "| {} | {} | {:.1} | {:.1} % | {} | {:.1} % | {} |\n",
            v.method,
            v.capacity,
            100.0 * v.rouge1,
            100.0 * v.exact,
            bytes(v.kv_bytes as u64),
            100.0 * v.kv_bytes / v.full_bytes.max(1.0),
            grouped(v.prompts as u64),
        );
    }
    text
}

/// Writes the summary of a run into its folder and onto standard output.
pub(super) fn write_summary(
    dir: &Path,
    summary: &Summary,
    markdown: &str,
    json: bool,
) -> Result<()> {
    let as_json = serde_json::to_string_pretty(summary).expect("a summary has text keys") + "\n";
    for (name, text) in [("summary.json", as_json.as_str()), ("summary.md", markdown)] {
        files::write_whole(&dir.join(name), text.as_bytes())?;
    }
    print(if json { &as_json } else { markdown })
}
