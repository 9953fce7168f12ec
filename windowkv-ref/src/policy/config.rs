use serde::{Deserialize, Serialize};

use super::{BudgetRule, Strategy, layer_budgets};
use crate::Error;

/// What a method must know of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Transformer layers.
    pub num_layers: usize,
    /// Query heads of a layer; a multiple of `num_heads_kv`.
    pub num_heads_q: usize,
    /// KV heads of a layer.
    pub num_heads_kv: usize,
    /// Numbers in one head's key.
    pub head_dim: usize,
}

/// WindowKV's parameters for one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowKvConfig {
    /// Mean budget of a layer in review tokens (`max_capacity_prompt`); the suffix comes on top.
    pub capacity: usize,
    /// Tokens of a window (`review_window_size`).
    pub window_len: usize,
    /// Last tokens of the prompt: always kept, and their attention scores the windows.
    pub suffix_len: usize,
    /// Layers of a group; its first layer chooses the windows for all (`shared_layers`).
    pub shared_layers: usize,
    /// Ratio of the pyramid of budgets.
    pub beta: usize,
    /// How the budgets are spread over the groups.
    pub budget_rule: BudgetRule,
    /// How a window's score comes from its tokens' scores.
    pub strategy: Strategy,
    /// How many of a window's largest column scores are averaged (p); `None` leaves it to the strategy.
    #[serde(default)]
    pub top_tokens: Option<usize>,
    /// Width of the average pooling of column scores before windows are scored; odd, 1 is off (the paper).
    pub score_pooling: usize,
}

impl Default for WindowKvConfig {
    /// The paper's settings for Llama-3-8B-Instruct and information localization, at a capacity of 2,048.
    fn default() -> Self {
        Self {
            capacity: 2048,
            window_len: 8,
            suffix_len: 16,
            shared_layers: 8,
            beta: 14,
            budget_rule: BudgetRule::Released,
            strategy: Strategy::Average,
            top_tokens: None,
            score_pooling: 1,
        }
    }
}

impl WindowKvConfig {
    /// Budgets of the layers of a model with `num_layers`.
    ///
    /// # Errors
    /// As [`layer_budgets`], and for a window, suffix or pooling width that cannot be.
    pub fn layer_budgets(&self, num_layers: usize) -> Result<Vec<usize>, Error> {
        Error::nonzero("review_window_size", self.window_len)?;
        Error::nonzero("suffix", self.suffix_len)?;
        Error::nonzero("p", self.top_tokens.unwrap_or(1))?;
        if self.score_pooling.is_multiple_of(2) {
            return Err(Error::PoolingWidth {
                name: "score_pooling",
                width: self.score_pooling,
            });
        }
        layer_budgets(
            self.budget_rule,
            num_layers,
            self.shared_layers,
            self.capacity,
            self.beta,
        )
    }

    /// How many of a window's largest column scores are averaged (p); a shorter window has all averaged.
    pub fn top_tokens(&self) -> usize {
        self.top_tokens
            .unwrap_or_else(|| self.strategy.top_tokens(self.window_len))
    }

    /// Whether the pyramid stands on its head: groups so large that later ones get the larger budget.
    /// Allowed, but seldom meant; a program should warn.
    pub fn pyramid_is_inverted(&self, num_layers: usize) -> bool {
        self.budget_rule == BudgetRule::Released
            && self.shared_layers >= self.beta
            && self.shared_layers < num_layers
    }
}
