//! From what a user asks for to a method with all its parameters.

use std::str::FromStr;

use serde::Serialize;
use windowkv_ref::methods::{
    FullKv, H2o, Method, MethodKind, PyramidKv, SnapKv, StreamingLlm, TokenConfig, WindowKv,
};
use windowkv_ref::policy::{ModelPreset, Task, TaskMapping, WindowKvConfig};

use crate::{Error, Result};

/// Sinks that StreamingLLM keeps by default: the first tokens of the prompt.
const STREAMING_SINKS: usize = 4;

/// How many tokens a layer may keep, on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Capacity {
    /// A number of tokens, as each method counts them: WindowKV's suffix comes on top, for the others
    /// the last tokens are within.
    Tokens(usize),
    /// A share of the prompt, all that is kept counted, so that methods can be compared: 0.12 is 12 %. Of a prompt so
    /// short that nothing could be chosen, one token beside those that always stay.
    Share(f64),
}

impl FromStr for Capacity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let error = || Error::Setting {
            name: "max-capacity-prompt",
            value: text.to_owned(),
            expected: "a number of tokens such as 2048, or a share of the prompt such as 12% (above 0%, at most 100%)",
        };
        match text.strip_suffix('%') {
            None => text.trim().parse().map(Self::Tokens).map_err(|_| error()),
            Some(percent) => {
                let percent: f64 = percent.trim().parse().map_err(|_| error())?;
                if percent > 0.0 && percent <= 100.0 {
                    Ok(Self::Share(percent / 100.0))
                } else {
                    Err(error())
                }
            }
        }
    }
}

/// A method with its parameters, before the prompt is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compression {
    /// Which method.
    pub kind: MethodKind,
    /// Tokens that a layer may keep; overrides the capacity in the configs.
    pub capacity: Capacity,
    /// WindowKV's parameters.
    pub window: WindowKvConfig,
    /// The other methods' parameters.
    pub tokens: TokenConfig,
    /// Whether `tokens.recent_len` was given; if not, StreamingLLM keeps all but its sinks recent.
    pub recent_given: bool,
}

impl Compression {
    /// WindowKV's parameters for a prompt of `seqlen` tokens: a share of it becomes a number of tokens.
    pub fn window_config(&self, seqlen: usize) -> WindowKvConfig {
        WindowKvConfig {
            capacity: match self.capacity {
                Capacity::Tokens(tokens) => tokens,
                Capacity::Share(of_prompt) => tokens_of(of_prompt, seqlen)
                    .saturating_sub(self.window.suffix_len)
                    .max(1),
            },
            ..self.window.clone()
        }
    }

    /// The other methods' parameters for a prompt of `seqlen` tokens.
    pub fn token_config(&self, seqlen: usize) -> TokenConfig {
        let capacity = match self.capacity {
            Capacity::Tokens(tokens) => tokens,
            // Of a short prompt a share may be less than the tokens that always stay.
            Capacity::Share(of_prompt) => {
                tokens_of(of_prompt, seqlen).max(self.tokens.recent_len + 1)
            }
        };
        let recent_len = match self.kind {
            MethodKind::StreamingLlm if !self.recent_given => {
                capacity.saturating_sub(STREAMING_SINKS).max(1)
            }
            _ => self.tokens.recent_len,
        };
        TokenConfig {
            capacity,
            recent_len,
            ..self.tokens
        }
    }

    /// The method for a prompt of `seqlen` tokens.
    pub fn method(&self, seqlen: usize) -> Box<dyn Method<f32>> {
        let tokens = self.token_config(seqlen);
        match self.kind {
            MethodKind::WindowKv => Box::new(WindowKv::new(self.window_config(seqlen))),
            MethodKind::FullKv => Box::new(FullKv),
            MethodKind::StreamingLlm => Box::new(StreamingLlm::new(tokens)),
            MethodKind::H2o => Box::new(H2o::new(tokens)),
            MethodKind::SnapKv => Box::new(SnapKv::new(tokens)),
            MethodKind::PyramidKv => Box::new(PyramidKv::new(tokens)),
        }
    }
}

fn tokens_of(share: f64, seqlen: usize) -> usize {
    (share * seqlen as f64).round() as usize
}

/// WindowKV's settings for a task by a model's preset: strategy, window, suffix, groups and beta.
pub fn window_config(preset: &ModelPreset, mapping: TaskMapping, task: Task) -> WindowKvConfig {
    // The released script has its own windows and suffixes; they are known for Llama alone.
    let by_task = match mapping {
        TaskMapping::Released if preset.name != ModelPreset::QWEN2_5.name => {
            ModelPreset::RELEASED_LLAMA3.task(task)
        }
        _ => preset.task(task),
    };
    WindowKvConfig {
        window_len: by_task.window_len,
        suffix_len: by_task.suffix_len,
        shared_layers: preset.shared_layers,
        beta: preset.beta,
        strategy: mapping.strategy(task),
        ..WindowKvConfig::default()
    }
}

/// Cuts a prompt that is longer than `limit` in the middle, as the paper does: its first and its last half of the
/// limit stay. Returns the tokens and how many were cut.
pub fn cut_middle<T: Clone>(ids: Vec<T>, limit: usize) -> (Vec<T>, usize) {
    if ids.len() <= limit {
        return (ids, 0);
    }
    let half = limit / 2;
    let kept = [&ids[..half], &ids[ids.len() - half..]].concat();
    let cut = ids.len() - kept.len();
    (kept, cut)
}

#[cfg(test)]
mod tests {
    use windowkv_ref::policy::ModelShape;

    use super::*;

    #[test]
    fn a_capacity_is_tokens_or_a_share() {
        assert_eq!("2048".parse::<Capacity>().unwrap(), Capacity::Tokens(2048));
        assert_eq!("12.5%".parse::<Capacity>().unwrap(), Capacity::Share(0.125));
        for wrong in ["", "x", "-3", "0%", "101%", "nan%", "1e999%", "%"] {
            let message = wrong.parse::<Capacity>().unwrap_err().to_string();
            assert!(message.contains(&format!("is {wrong};")), "{message}");
        }
    }

    /// Section 6 of the method's description, both mappings.
    #[test]
    fn a_task_gets_window_suffix_and_strategy_by_preset_and_mapping() {
        use TaskMapping::{Paper, Released};
        use windowkv_ref::policy::Strategy::{Average, Max};
        let (llama, qwen) = (ModelPreset::LLAMA3, ModelPreset::QWEN2_5);
        for (preset, mapping, localization, aggregation) in [
            (llama, Paper, (8, 16, Average, 8), (16, 32, Max, 8)),
            (llama, Released, (8, 32, Max, 4), (8, 16, Average, 8)),
            (qwen, Paper, (32, 4, Average, 32), (32, 16, Max, 16)),
            (qwen, Released, (32, 4, Max, 16), (32, 16, Average, 32)),
        ] {
            for (task, (window, suffix, strategy, p)) in [
                (Task::Localization, localization),
                (Task::Aggregation, aggregation),
            ] {
                let config = window_config(&preset, mapping, task);
                assert_eq!(
                    (config.window_len, config.suffix_len),
                    (window, suffix),
                    "{} {mapping:?} {task:?}",
                    preset.name
                );
                assert_eq!((config.strategy, config.top_tokens()), (strategy, p));
                assert_eq!(config.shared_layers, preset.shared_layers);
            }
        }
    }

    #[test]
    fn a_share_of_a_short_prompt_leaves_something_to_choose() {
        let model = ModelShape {
            num_layers: 2,
            num_heads_q: 2,
            num_heads_kv: 1,
            head_dim: 4,
        };
        for kind in MethodKind::ALL {
            let compression = Compression {
                kind,
                capacity: Capacity::Share(0.12),
                window: WindowKvConfig {
                    shared_layers: 1,
                    ..WindowKvConfig::default()
                },
                tokens: TokenConfig::default(),
                recent_given: false,
            };
            for seqlen in 1..200 {
                compression.method(seqlen).start(model, seqlen).unwrap();
            }
        }
    }

    #[test]
    fn the_first_and_the_last_half_of_the_limit_stay() {
        let ids: Vec<u32> = (0..10).collect();
        assert_eq!(cut_middle(ids.clone(), 10), (ids.clone(), 0));
        assert_eq!(cut_middle(ids.clone(), 4), (vec![0, 1, 8, 9], 6));
        assert_eq!(
            cut_middle(ids, 5),
            (vec![0, 1, 8, 9], 6),
            "an odd limit is rounded down"
        );
    }
}
