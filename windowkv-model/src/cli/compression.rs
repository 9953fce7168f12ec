//! The options that choose and shape a compression method, with the released script's names beside ours.

use std::collections::HashSet;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use windowkv_ref::methods::{Granularity, MethodKind, Pooling, TokenConfig};
use windowkv_ref::policy::{BudgetRule, ModelPreset, Strategy, Task, TaskMapping, WindowKvConfig};

use super::task::{TaskArgs, depends_on_task};
use super::terminal::say;
use crate::Result;
use crate::evaluation::Variant;
use crate::settings::{Capacity, Compression, window_config};

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
    #[command(flatten)]
    pub(super) tuning: TuningArgs,
    /// The released script's model names: choose the method and the longest input
    #[arg(long, alias = "model_type", value_enum)]
    pub(super) model_type: Option<ModelType>,
    #[command(flatten)]
    released: ReleasedArgs,
}

/// The options of [`TuningArgs`] and of what it contains, which a command that runs nothing has no use for.
pub(super) const TUNING: [&str; 18] = [
    "task",
    "bert_model_dir",
    "classifier_dir",
    "localization",
    "aggregation",
    "task_mapping",
    "window_select_strategy",
    "review_window_size",
    "shared_layers",
    "suffix_max",
    "suffix_avg",
    "beta",
    "budget_rule",
    "score_pooling",
    "window_size",
    "kernel_size",
    "pooling",
    "granularity",
];

/// What shapes each method; the options go by their names with underscores as well
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Compression (names with underscores work as well)")]
pub(super) struct TuningArgs {
    #[command(flatten)]
    pub(super) task: TaskArgs,
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
    /// Other methods: last tokens that always stay [default: 8, in evaluations of the demo model 16; StreamingLLM all
    /// but 4]
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
        /// Let a classifier decide by the prompt
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
    /// The method that was asked for, if one was.
    pub(super) fn method(&self) -> Option<MethodName> {
        self.method
    }

    /// The same options with another method.
    pub(super) fn with_method(&self, method: MethodName) -> Self {
        let method = Some(method);
        Self {
            method,
            ..self.clone()
        }
    }

    /// The method, by its own option or the released script's.
    pub(super) fn kind(&self) -> MethodKind {
        let from_type = self.model_type.map(MethodKind::from);
        let given = self.method.map(MethodKind::from);
        given.or(from_type).unwrap_or(MethodKind::WindowKv)
    }

    /// The compression for a model where there is no prompt to classify, and what the user should know about how
    /// it was chosen.
    ///
    /// # Errors
    /// As [`CompressionArgs::resolve_for`].
    pub(super) fn resolve(
        &self,
        preset: &ModelPreset,
        num_layers: usize,
    ) -> Result<(Compression, Vec<String>)> {
        let given = self.tuning.task.given();
        let task = given.unwrap_or(Task::Localization);
        let (compression, mut notes) = self.resolve_for(preset, num_layers, task)?;
        let windowkv = compression.kind == MethodKind::WindowKv;
        notes.extend(self.tuning.task.notes(windowkv));
        if given.is_none() && windowkv {
            notes.push(
                "--task auto follows the prompt, and there is none: shown is localization, --task aggregation shows \
                 the other"
                    .to_owned(),
            );
        }
        Ok((compression, notes))
    }

    /// The compression for a model and a task, and what the user should know about how it was chosen.
    ///
    /// # Errors
    /// Settings that cannot be, such as groups that do not divide the layers.
    pub(super) fn resolve_for(
        &self,
        preset: &ModelPreset,
        num_layers: usize,
        task: Task,
    ) -> Result<(Compression, Vec<String>)> {
        let mut notes = self.released_notes();
        let kind = self.kind();
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
        let overrides = self.task.overrides(task);
        let mut window = window_config(preset, mapping, task);
        if let Some(strategy) = self.window_select_strategy {
            window.strategy = strategy.into();
        }
        // The suffix follows the strategy that is used in the end.
        let strategy = overrides.strategy.unwrap_or(window.strategy);
        let suffix = match strategy {
            Strategy::Max => self.suffix_max,
            Strategy::Average => self.suffix_avg,
        };
        if kind == MethodKind::WindowKv {
            notes.extend(self.strategy_notes(strategy));
        }
        window.window_len = self.review_window_size.unwrap_or(window.window_len);
        window.suffix_len = suffix.unwrap_or(window.suffix_len);
        window.shared_layers = self.shared_layers.unwrap_or(window.shared_layers);
        window.beta = self.beta.unwrap_or(window.beta);
        window.budget_rule = self.budget_rule.into();
        window.score_pooling = self.score_pooling;
        overrides.apply(&mut window);
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

    /// As [`resolve`](Self::resolve), for an evaluation that compares methods, whatever task its prompts get. What is
    /// of no use to one task may be of use to the other: a note must hold for every task that a prompt can get.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    fn variant(
        &self,
        method: MethodSpec,
        capacity: Capacity,
        preset: &ModelPreset,
        num_layers: usize,
    ) -> Result<(Variant, Vec<String>)> {
        let resolve = |task| -> Result<_> {
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
        };
        let (localization, of_localization) = resolve(Task::Localization)?;
        let (aggregation, of_aggregation) = resolve(Task::Aggregation)?;
        let notes = match self.task.given() {
            Some(Task::Localization) => of_localization,
            Some(Task::Aggregation) => of_aggregation,
            None => {
                let both = of_localization.into_iter();
                both.filter(|note| of_aggregation.contains(note)).collect()
            }
        };
        Ok((Variant::new(localization, aggregation), notes))
    }

    /// The variants of an evaluation, and what the user should know about how they were chosen, each note once.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub(super) fn variants(
        &self,
        methods: impl Iterator<Item = (MethodSpec, Capacity)>,
        preset: &ModelPreset,
        num_layers: usize,
    ) -> Result<(Vec<Variant>, Vec<String>)> {
        let mut variants = Vec::new();
        let mut notes = Vec::new();
        for (method, capacity) in methods {
            let (variant, more) = self.variant(method, capacity, preset, num_layers)?;
            variants.push(variant);
            notes.extend(more);
        }
        let windowkv = depends_on_task(&variants);
        notes.extend(self.task.notes(windowkv));
        let mut told = HashSet::new();
        notes.retain(|note| told.insert(note.clone()));
        Ok((variants, notes))
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
