//! The data of an inspection, as `windowkv inspect --json` prints it.

use serde::Serialize;
use windowkv_ref::methods::{MethodKind, TokenConfig};
use windowkv_ref::policy::{Task, WindowKvConfig};

use crate::runner::Model;

/// What each method keeps of one prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Version of this program.
    pub version: &'static str,
    /// The model that read the prompt.
    pub model: ModelInfo,
    /// The prompt.
    pub prompt: Prompt,
    /// The task that the prompt was taken for; absent where no method depends on it.
    pub task: Option<Task>,
    /// How sure that is, 0.5 to 1; 1 where the user gave the task.
    pub task_score: Option<f32>,
    /// What each method keeps.
    pub methods: Vec<MethodView>,
    /// What a reader should know about how this was made.
    pub notes: Vec<String>,
}

/// The model, for a caption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// Its folder's name, or that of the demo model.
    pub name: String,
    /// Transformer layers.
    pub num_layers: usize,
    /// Query heads of a layer.
    pub num_heads_q: usize,
    /// KV heads of a layer.
    pub num_heads_kv: usize,
    /// Numbers in one head's key.
    pub head_dim: usize,
}

impl ModelInfo {
    /// Describes a model; its folder's name is not known here.
    pub(super) fn new(model: &Model) -> Self {
        let shape = model.llama.shape();
        Self {
            name: match model.preset.name {
                crate::demo::NAME => "the demo model".to_owned(),
                preset => format!("a model of the {preset} family"),
            },
            num_layers: shape.num_layers,
            num_heads_q: shape.num_heads_q,
            num_heads_kv: shape.num_heads_kv,
            head_dim: shape.head_dim,
        }
    }
}

/// The prompt as the model read it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Prompt {
    /// Where it comes from, such as a file's name.
    pub source: String,
    /// The text of each token; empty for one that only continues a character.
    pub pieces: Vec<String>,
    /// Indices of the tokens that the tokenizer added, whose text is their name.
    pub added: Vec<usize>,
    /// Where tokens were cut from the middle, if any were.
    pub cut: Option<Cut>,
    /// Tokens that a reader may look for, with what they are.
    pub marked: Option<(Span, String)>,
}

/// Tokens that were left out of the prompt's middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The token before which they stood.
    pub before: usize,
    /// How many they were.
    pub tokens: usize,
}

/// The indices from the first to before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span(pub usize, pub usize);

/// What a method chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Whole windows of tokens, the same for all heads and for all layers of a group.
    Window,
    /// Single tokens, for each cache head of each layer.
    Token,
}

/// What one method keeps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MethodView {
    /// The method.
    pub method: MethodKind,
    /// Its name in papers.
    pub title: &'static str,
    /// What it chooses.
    pub unit: Unit,
    /// How the prompt is cut into windows, for [`Unit::Window`].
    pub windows: Option<WindowGeometry>,
    /// Last tokens of the prompt that always stay (WindowKV's suffix).
    pub always_kept: usize,
    /// WindowKV's settings.
    pub window_config: Option<WindowKvConfig>,
    /// The settings of the others but FullKV.
    pub token_config: Option<TokenConfig>,
    /// Layers that share one choice.
    pub groups: Vec<Group>,
    /// What each layer keeps.
    pub layers: Vec<Layer>,
    /// How much alike the layers' own choices are. For WindowKV twice: with the budget of the layer's group, and with
    /// the same budget for every layer. Empty for a method that does not look at the prompt, or had nothing to drop.
    pub similarity: Vec<Similarity>,
}

/// Windows of the prompt: the i-th has the tokens from `i * window_len`, the last up to what is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WindowGeometry {
    /// Tokens of a window; the last may have fewer.
    pub window_len: usize,
    /// How many there are.
    pub count: usize,
}

/// Neighbouring layers that share one choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The first of them, whose scores choose.
    pub first_layer: usize,
    /// How many they are.
    pub layers: usize,
    /// Tokens that each of them may keep: for WindowKV what the budget rule grants beside the suffix, for the others
    /// all that stays of this prompt.
    pub kv_budget: usize,
}

/// What one layer keeps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// Tokens that each cache head keeps, always-kept ones counted.
    pub kept_tokens: usize,
    /// Kept windows (beside the suffix) or tokens (all), as runs: one list for each cache head, or one for all heads.
    pub kept: Vec<Vec<Span>>,
    /// WindowKV: windows that the layer would keep by its own scores, with its group's budget.
    pub own: Option<Vec<Span>>,
    /// One score for each window or token that could be chosen, of this layer itself (mean over cache heads); `None`
    /// where nothing was scored.
    pub scores: Option<Vec<f32>>,
}

/// With which budgets layers were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Budgets {
    /// Each layer with its own (its group's): layers with different budgets cannot be wholly alike.
    Layer,
    /// Every layer with the mean budget.
    Equal,
}

/// Jaccard similarity of what the layers choose by their own scores; what always stays is left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Similarity {
    /// With which budgets.
    pub budgets: Budgets,
    /// Mean over the pairs of different layers of one group.
    pub mean_inside: Option<f64>,
    /// Mean over the pairs of layers of different groups.
    pub mean_across: Option<f64>,
    /// Layers by layers; for [`Unit::Token`] the mean over cache heads. `None` where neither layer chose any.
    pub matrix: Vec<Vec<Option<f32>>>,
}
