//! The options that choose and shape a compression method, with the released script's names beside ours.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use windowkv_ref::methods::{Granularity, MethodKind, Pooling, TokenConfig};
use windowkv_ref::policy::{BudgetRule, ModelPreset, Strategy, Task, TaskMapping, WindowKvConfig};

use super::terminal::say;
use crate::Result;
use crate::settings::{Capacity, Compression};

/// Compression; each option also goes by its name with underscores, as in the released script
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Compression (names with underscores work as well)")]
pub(super) struct CompressionArgs {
    /// How the cache is compressed [default: windowkv]
    #[arg(long, value_enum)]
    method: Option<MethodName>,
    /// Tokens that a layer may keep on average, or a share of the prompt such as 12% [default: 2048; demo
    /// model 12%]
    #[arg(long, alias = "max_capacity_prompt", value_name = "TOKENS")]
    max_capacity_prompt: Option<Capacity>,
    /// The kind of task, from which strategy, window and suffix follow
    #[arg(long, value_enum, default_value = "auto")]
    task: TaskName,
    #[command(flatten)]
    tuning: TuningArgs,
    /// The released script's model names: choose the method and the longest input
    #[arg(long, alias = "model_type", value_enum)]
    pub(super) model_type: Option<ModelType>,
    #[command(flatten)]
    released: ReleasedArgs,
}

/// What shapes each method; the options go by their names with underscores as well
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Compression (names with underscores work as well)")]
pub(super) struct TuningArgs {
    /// Which strategy a task gets: the paper and its released code say opposite things [default: paper]
    #[arg(long, alias = "task_mapping", value_enum)]
    task_mapping: Option<MappingName>,
    /// WindowKV: how a window is scored, whatever the task
    #[arg(long, alias = "window_select_strategy", value_enum)]
    window_select_strategy: Option<StrategyName>,
    /// WindowKV: tokens of a window [default: by model and task]
    #[arg(long, alias = "review_window_size", value_name = "TOKENS")]
    review_window_size: Option<usize>,
    /// WindowKV: layers that share one choice of windows [default: by model]
    #[arg(long, alias = "shared_layers", value_name = "LAYERS")]
    shared_layers: Option<usize>,
    /// WindowKV: tokens of the suffix with the strategy `max` [default: by model and task]
    #[arg(long, alias = "suffix_max", value_name = "TOKENS")]
    suffix_max: Option<usize>,
    /// WindowKV: tokens of the suffix with the strategy `average` [default: by model and task]
    #[arg(long, alias = "suffix_avg", value_name = "TOKENS")]
    suffix_avg: Option<usize>,
    /// WindowKV, PyramidKV: ratio of the pyramid of budgets [default: 14, PyramidKV 20]
    #[arg(long, value_name = "N")]
    beta: Option<usize>,
    /// WindowKV: how the budget is spread over the groups
    #[arg(long, alias = "budget_rule", value_enum, default_value = "released")]
    budget_rule: BudgetName,
    /// WindowKV: average column scores over this many tokens before windows are scored (odd; 1 is the paper)
    #[arg(
        long,
        alias = "score_pooling",
        value_name = "TOKENS",
        default_value_t = 1
    )]
    score_pooling: usize,
    /// Other methods: last tokens that always stay [default: 8; StreamingLLM all but 4]
    #[arg(long, alias = "window_size", value_name = "TOKENS")]
    window_size: Option<usize>,
    /// SnapKV, PyramidKV: odd width of the pooling
    #[arg(
        long,
        alias = "kernel_size",
        value_name = "TOKENS",
        default_value_t = 7
    )]
    kernel_size: usize,
    /// SnapKV, PyramidKV: how neighbouring scores are pooled
    #[arg(long, value_enum, default_value = "max")]
    pooling: PoolingName,
    /// Other methods: who chooses tokens
    #[arg(long, value_enum, default_value = "kv_head")]
    granularity: GranularityName,
}

/// Options of the released script that have no meaning here: accepted, and explained once
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Accepted from the released script")]
struct ReleasedArgs {
    /// Weights keep the precision of their file
    #[arg(long, alias = "model_half", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL",
          value_parser = clap::builder::BoolishValueParser::new())]
    model_half: Option<bool>,
    /// The cache is always used
    #[arg(long, alias = "use_cache", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL",
          value_parser = clap::builder::BoolishValueParser::new())]
    use_cache: Option<bool>,
    /// The program has its own, exact attention
    #[arg(long, alias = "attn_implementation", value_enum)]
    attn_implementation: Option<AttentionName>,
    /// Budgets fall arithmetically
    #[arg(long, alias = "layer_decay_strategy", value_enum)]
    layer_decay_strategy: Option<DecayName>,
    /// The task is given with --task
    #[arg(long, alias = "bert_model_dir", value_name = "DIR")]
    bert_model_dir: Option<std::path::PathBuf>,
    /// The task is given with --task
    #[arg(long, alias = "classifier_dir", value_name = "FILE")]
    classifier_dir: Option<std::path::PathBuf>,
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident => $target:ty { $($(#[$value:meta])* $variant:ident = $text:literal => $to:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub(super) enum $name {
            $($(#[$value])* #[value(name = $text)] $variant,)+
        }

        impl From<$name> for $target {
            fn from(name: $name) -> Self {
                match name {
                    $($name::$variant => $to,)+
                }
            }
        }
    };
}

names! {
    /// Methods as the command line names them.
    MethodName => MethodKind {
        /// Whole windows, chosen by the first layer of each group
        WindowKv = "windowkv" => MethodKind::WindowKv,
        /// Everything
        FullKv = "fullkv" => MethodKind::FullKv,
        /// The first tokens and the last
        StreamingLlm = "streamingllm" => MethodKind::StreamingLlm,
        /// The tokens that the whole prompt attends to most
        H2o = "h2o" => MethodKind::H2o,
        /// The tokens that the last rows attend to most
        SnapKv = "snapkv" => MethodKind::SnapKv,
        /// As SnapKV, with budgets that fall from layer to layer
        PyramidKv = "pyramidkv" => MethodKind::PyramidKv,
    }
}

names! {
    /// Tasks; `None` lets the program decide.
    TaskName => Option<Task> {
        /// Let the program decide (at present: localization)
        Auto = "auto" => None,
        /// The answer stands in one place of the prompt
        Localization = "localization" => Some(Task::Localization),
        /// The answer comes from all over the prompt
        Aggregation = "aggregation" => Some(Task::Aggregation),
    }
}

names! {
    /// Task mappings.
    MappingName => TaskMapping {
        /// Localization averages whole windows
        Paper = "paper" => TaskMapping::Paper,
        /// Localization takes the most attended half
        Released = "released" => TaskMapping::Released,
    }
}

names! {
    /// Strategies.
    StrategyName => Strategy {
        /// The mean of the whole window
        Average = "average" => Strategy::Average,
        /// The mean of its most attended half
        Max = "max" => Strategy::Max,
    }
}

names! {
    /// Budget rules.
    BudgetName => BudgetRule {
        /// As the released code computes it
        Released = "released" => BudgetRule::Released,
        /// As the paper writes it
        Paper = "paper" => BudgetRule::Paper,
        /// Every group the mean
        Uniform = "uniform" => BudgetRule::Uniform,
    }
}

names! {
    /// Poolings.
    PoolingName => Pooling {
        /// The mean of the neighbours
        Average = "average" => Pooling::Average,
        /// The largest of them
        Max = "max" => Pooling::Max,
    }
}

names! {
    /// Granularities.
    GranularityName => Granularity {
        /// Each KV head, by the mean of its query heads
        KvHead = "kv_head" => Granularity::KvHead,
        /// Each query head keeps its own copy
        QueryHead = "query_head" => Granularity::QueryHead,
    }
}

names! {
    /// The released script's model names.
    ModelType => MethodKind {
        /// Llama 3 with WindowKV
        Llama3WindowKv = "llama3_windowkv" => MethodKind::WindowKv,
        /// Llama 3 with the full cache
        Llama3FullKv = "llama3_fullkv" => MethodKind::FullKv,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AttentionName {
    #[value(name = "eager")]
    Eager,
    #[value(name = "sdpa")]
    Sdpa,
    #[value(name = "flash_attention_2")]
    FlashAttention2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DecayName {
    #[value(name = "arithmetic")]
    Arithmetic,
}

impl CompressionArgs {
    /// The compression for a model, and what the user should know about how it was chosen.
    ///
    /// # Errors
    /// Settings that cannot be, such as groups that do not divide the layers.
    pub(super) fn resolve(
        &self,
        preset: &ModelPreset,
        num_layers: usize,
    ) -> Result<(Compression, Vec<String>)> {
        let mut notes = self.released_notes();
        let from_type = self.model_type.map(MethodKind::from);
        let kind = self
            .method
            .map(MethodKind::from)
            .or(from_type)
            .unwrap_or(MethodKind::WindowKv);
        let task = Option::<Task>::from(self.task).unwrap_or_else(|| {
            if kind == MethodKind::WindowKv && self.tuning.window_select_strategy.is_none() {
                notes.push(
                    "--task auto: no classifier in this version, taken as localization".to_owned(),
                );
            }
            Task::Localization
        });
        if kind == MethodKind::WindowKv
            && self.model_type.is_some()
            && self.tuning.task_mapping.is_none()
        {
            notes.push(
                "strategies follow the paper; the released script does the opposite, which \
                 --task-mapping released follows"
                    .to_owned(),
            );
        }
        let capacity = self
            .max_capacity_prompt
            .unwrap_or_else(|| default_capacity(preset));
        let (compression, more) = self
            .tuning
            .resolve(kind, capacity, task, preset, num_layers)?;
        notes.extend(more);
        Ok((compression, notes))
    }
}

impl TuningArgs {
    /// A method for a task at a capacity, and what the user should know about how it was chosen.
    ///
    /// # Errors
    /// Settings that cannot be, such as groups that do not divide the layers.
    pub(super) fn resolve(
        &self,
        kind: MethodKind,
        capacity: Capacity,
        task: Task,
        preset: &ModelPreset,
        num_layers: usize,
    ) -> Result<(Compression, Vec<String>)> {
        let mut notes = Vec::new();
        let mapping = self
            .task_mapping
            .map_or(preset.task_mapping, TaskMapping::from);
        let strategy = self
            .window_select_strategy
            .map_or(mapping.strategy(task), Strategy::from);
        // The released script has its own windows and suffixes; they are known for Llama alone.
        let by_task = match mapping {
            TaskMapping::Released if preset.name != ModelPreset::QWEN2_5.name => {
                ModelPreset::RELEASED_LLAMA3.task(task)
            }
            _ => preset.task(task),
        };
        let suffix = match strategy {
            Strategy::Max => self.suffix_max,
            Strategy::Average => self.suffix_avg,
        };
        if kind == MethodKind::WindowKv {
            notes.extend(self.strategy_notes(strategy));
        }
        let window = WindowKvConfig {
            window_len: self.review_window_size.unwrap_or(by_task.window_len),
            suffix_len: suffix.unwrap_or(by_task.suffix_len),
            shared_layers: self.shared_layers.unwrap_or(preset.shared_layers),
            beta: self.beta.unwrap_or(preset.beta),
            budget_rule: self.budget_rule.into(),
            strategy,
            score_pooling: self.score_pooling,
            ..WindowKvConfig::default()
        };
        let defaults = TokenConfig::default();
        let tokens = TokenConfig {
            recent_len: self.window_size.unwrap_or(defaults.recent_len),
            granularity: self.granularity.into(),
            pooling: self.pooling.into(),
            kernel_size: self.kernel_size,
            beta: self.beta.unwrap_or(defaults.beta),
            ..defaults
        };
        if kind == MethodKind::WindowKv {
            // Wrong settings are told before a prompt is worked through.
            window.layer_budgets(num_layers)?;
            if window.pyramid_is_inverted(num_layers) {
                notes.push(format!(
                    "shared_layers {} is not below beta {}: later groups get larger budgets than earlier ones",
                    window.shared_layers, window.beta
                ));
            }
        }
        let recent_given = self.window_size.is_some();
        Ok((
            Compression {
                kind,
                capacity,
                window,
                tokens,
                recent_given,
            },
            notes,
        ))
    }

    /// As [`resolve`](Self::resolve), for an evaluation that compares methods.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub(super) fn variant(
        &self,
        method: MethodSpec,
        capacity: Capacity,
        task: Task,
        preset: &ModelPreset,
        num_layers: usize,
    ) -> Result<(Compression, Vec<String>)> {
        let (mut compression, notes) =
            self.resolve(method.kind, capacity, task, preset, num_layers)?;
        if let Some(width) = method.score_pooling {
            compression.window.score_pooling = width;
        }
        // The demo's question is longer than the others' default window; all observe as much of it.
        let demo = preset.name == crate::demo::NAME;
        if demo && !compression.recent_given && method.kind != MethodKind::StreamingLlm {
            compression.tokens.recent_len = preset.localization.suffix_len;
            compression.recent_given = true;
        }
        Ok((compression, notes))
    }

    /// What of the options does not take part in a run with this strategy.
    fn strategy_notes(&self, strategy: Strategy) -> Vec<String> {
        let mut notes = Vec::new();
        let unused = match strategy {
            Strategy::Average => self
                .suffix_max
                .map(|suffix| ("--suffix-max", suffix, "max")),
            Strategy::Max => self
                .suffix_avg
                .map(|suffix| ("--suffix-avg", suffix, "average")),
        };
        if let Some((option, suffix, strategy)) = unused {
            notes.push(format!(
                "{option} {suffix}: used with the strategy {strategy} alone, not in this run"
            ));
        }
        notes
    }
}

impl CompressionArgs {
    fn released_notes(&self) -> Vec<String> {
        let released = &self.released;
        let note = |given: bool, text: &str| given.then(|| text.to_owned());
        let explained = [
            note(
                self.model_type.is_some(),
                "--model-type: stands for --method (which wins if it is given too) and --max-input-len 7950; the architecture comes from config.json",
            ),
            note(
                released.model_half.is_some(),
                "--model-half: weights keep the precision of their file",
            ),
            note(
                released.use_cache == Some(true),
                "--use-cache: the cache is always used",
            ),
            note(
                released.use_cache == Some(false),
                "--use-cache false: the program cannot run without a cache; it is used",
            ),
            note(
                released.attn_implementation.is_some(),
                "--attn-implementation: the program has one attention, its own; results do not depend on it",
            ),
            note(
                released.layer_decay_strategy.is_some(),
                "--layer-decay-strategy arithmetic: what --budget-rule released and paper do",
            ),
            note(
                released.bert_model_dir.is_some() || released.classifier_dir.is_some(),
                "--bert-model-dir, --classifier-dir: no classifier in this version; give the task with --task",
            ),
        ];
        explained.into_iter().flatten().collect()
    }
}

/// A method, and how wide WindowKV pools its scores.
#[derive(Debug, Clone, Copy)]
pub(super) struct MethodSpec {
    /// The method.
    pub(super) kind: MethodKind,
    /// Width of the pooling, where the method's name brings one.
    pub(super) score_pooling: Option<usize>,
}

impl FromStr for MethodSpec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, pooling) = match text.split_once(':') {
            Some((name, width)) => (name, Some(width)),
            None => (text, None),
        };
        let kind: MethodKind = name.parse().map_err(|error| format!("{error}"))?;
        let score_pooling = pooling.map(|width| {
            let width = width.parse().ok().filter(|width| width % 2 == 1);
            width
                .filter(|_| kind == MethodKind::WindowKv)
                .ok_or_else(|| {
                    format!(
                        "{text}: only windowkv takes a width, and it must be odd, as in windowkv:9"
                    )
                })
        });
        Ok(Self {
            kind,
            score_pooling: score_pooling.transpose()?,
        })
    }
}

/// What a layer may keep where the user does not say: the demo's prompts are shorter than the usual capacity, which
/// would keep them whole.
pub(super) fn default_capacity(preset: &ModelPreset) -> Capacity {
    match preset.name {
        crate::demo::NAME => Capacity::Share(0.12),
        _ => Capacity::Tokens(WindowKvConfig::default().capacity),
    }
}

/// Prints notes on standard error.
pub(super) fn say_notes(notes: &[String]) {
    for note in notes {
        say(&format!("note: {note}"));
    }
}
