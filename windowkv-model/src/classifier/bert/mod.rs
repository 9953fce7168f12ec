//! The released design's classifier: a BERT encoder, its pooler, and a linear head of two labels.
//!
//! ```text
//! ids [seqlen] -> encoder (candle) -> h [seqlen, hidden]
//! pooled = tanh(W_pool h[0] + b_pool)            the pooler, which candle's BERT leaves out
//! logits = W_head pooled + b_head                [2]
//! label  = argmax(max(logits, 0)), ties to 0     0 is localization, 1 is aggregation
//! ```

mod config;
mod tokens;
mod weights;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use candle_nn::{Linear, Module, VarBuilder};
use candle_transformers::models::bert::{BertModel, Config, DTYPE};
use windowkv_ref::policy::Task;

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use weights::Files;

pub use config::MAX_PARAMETERS;

/// What the head says of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct BertOutput {
    /// The pooler's output, `[hidden_size]`.
    pub pooled: Vec<f32>,
    /// The head's output before ReLU: localization, aggregation.
    pub logits: [f32; 2],
    /// Softmax over the logits after ReLU, from which the label comes.
    pub softmax: [f32; 2],
    /// The label's task.
    pub task: Task,
}

/// A BERT classifier, ready to use.
pub struct BertClassifier {
    tokenizer: Tokenizer,
    encoder: BertModel,
    pooler: Linear,
    head: Linear,
    max_positions: usize,
}

impl std::fmt::Debug for BertClassifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BertClassifier")
            .field("max_positions", &self.max_positions)
            .finish_non_exhaustive()
    }
}

impl BertClassifier {
    /// Loads config.json and tokenizer.json or vocab.txt from `dir`, and the weights from `classifier`: a
    /// PyTorch state dict (.pth) or safetensors, with `bert.*`, `linear.weight` and `linear.bias`. What it
    /// lacks of `bert.*` comes from `dir` (model.safetensors or pytorch_model.bin).
    ///
    /// # Errors
    /// What is missing, broken or does not fit together, with the file's path.
    pub fn load(dir: &Path, classifier: &Path) -> Result<Self> {
        let config = config::load(dir)?;
        let tokenizer = tokens::load(dir, config.vocab_size)?;
        let mut files = Files::open(classifier, dir)?;
        let hidden = config.hidden_size;
        let pooler = linear(
            files.encoder("pooler.dense.weight", &[hidden, hidden])?,
            files.encoder("pooler.dense.bias", &[hidden])?,
            [hidden, hidden],
        )?;
        let head = linear(
            files.head("linear.weight", &[2, hidden])?,
            files.head("linear.bias", &[2])?,
            [2, hidden],
        )?;
        Ok(Self {
            encoder: encoder(&mut files, &config)?,
            tokenizer,
            pooler,
            head,
            max_positions: config.max_position_embeddings,
        })
    }

    /// The ids that the encoder reads of a text: all of at most 511, or the first and the last 256.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        Ok(tokens::cut(self.tokenizer.encode(text, true)?))
    }

    /// Classifies a text.
    ///
    /// # Errors
    /// Those of the tokenizer; a text that the encoder has no positions for; an output that is not a number.
    pub fn classify(&self, text: &str) -> Result<BertOutput> {
        self.classify_ids(&self.ids(text)?)
    }

    /// Classifies the ids of a text, `[seqlen]`, \[CLS\] first.
    ///
    /// # Errors
    /// As [`BertClassifier::classify`].
    pub fn classify_ids(&self, ids: &[u32]) -> Result<BertOutput> {
        if ids.is_empty() || ids.len() > self.max_positions {
            return Err(Error::Classifier {
                reason: format!(
                    "the text has {} tokens and the encoder has positions for 1 to {}; use a BERT of 512 positions",
                    ids.len(),
                    self.max_positions
                ),
            });
        }
        let (pooled, logits) = self.forward(ids).map_err(candle)?;
        let &[localization, aggregation] = &logits[..] else {
            unreachable!("the head has two rows");
        };
        if !(localization.is_finite() && aggregation.is_finite()) {
            return Err(Error::Classifier {
                reason: format!(
                    "its logits are {localization} and {aggregation}; the weights are broken, download them again"
                ),
            });
        }
        let logits = [localization, aggregation];
        let (softmax, task) = decide(logits);
        Ok(BertOutput {
            pooled,
            logits,
            softmax,
            task,
        })
    }

    fn forward(&self, ids: &[u32]) -> candle_core::Result<(Vec<f32>, Vec<f32>)> {
        let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        let hidden = self.encoder.forward(&ids, &ids.zeros_like()?, None)?;
        let first = hidden.narrow(1, 0, 1)?.squeeze(1)?;
        let pooled = self.pooler.forward(&first)?.tanh()?;
        let logits = self.head.forward(&pooled)?;
        Ok((pooled.squeeze(0)?.to_vec1()?, logits.squeeze(0)?.to_vec1()?))
    }
}

/// The softmax after ReLU, and the task of the larger one; a tie, as of two negative logits, is localization.
fn decide(logits: [f32; 2]) -> ([f32; 2], Task) {
    let relu = logits.map(|logit| logit.max(0.0));
    let exp = relu.map(|x| (x - relu[0].max(relu[1])).exp());
    let softmax = exp.map(|x| x / (exp[0] + exp[1]));
    let task = if relu[1] > relu[0] {
        Task::Aggregation
    } else {
        Task::Localization
    };
    (softmax, task)
}

fn candle(error: candle_core::Error) -> Error {
    Error::Classifier {
        reason: error.to_string(),
    }
}

fn linear(weight: Vec<f32>, bias: Vec<f32>, shape: [usize; 2]) -> Result<Linear> {
    let bias = Tensor::from_vec(bias, shape[0], &Device::Cpu).map_err(candle)?;
    let weight = Tensor::from_vec(weight, &shape, &Device::Cpu).map_err(candle)?;
    Ok(Linear::new(weight, Some(bias)))
}

/// candle's encoder, with every tensor checked against the config.
fn encoder(files: &mut Files, config: &Config) -> Result<BertModel> {
    let mut tensors = HashMap::new();
    for (name, shape) in encoder_tensors(config) {
        let values = files.encoder(&name, &shape)?;
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).map_err(candle)?;
        tensors.insert(name, tensor);
    }
    let tensors = VarBuilder::from_tensors(tensors, DTYPE, &Device::Cpu);
    BertModel::load(tensors, config).map_err(candle)
}

/// Names and shapes of the encoder's tensors.
fn encoder_tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let mut tensors = Vec::new();
    let mut matrix = |name: String, rows: usize, columns: usize| {
        tensors.push((format!("{name}.weight"), vec![rows, columns]));
    };
    let table = |name| format!("embeddings.{name}_embeddings");
    matrix(table("word"), config.vocab_size, hidden);
    matrix(table("position"), config.max_position_embeddings, hidden);
    matrix(table("token_type"), config.type_vocab_size, hidden);
    let mut biases = Vec::new();
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..config.num_hidden_layers {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for (part, rows, columns) in [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ] {
            matrix(name(part), rows, columns);
            biases.push((format!("{}.bias", name(part)), vec![rows]));
        }
        norms.extend([name("attention.output.LayerNorm"), name("output.LayerNorm")]);
    }
    tensors.extend(biases);
    for norm in norms {
        tensors.push((format!("{norm}.weight"), vec![hidden]));
        tensors.push((format!("{norm}.bias"), vec![hidden]));
    }
    tensors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relu_comes_before_the_choice_and_ties_are_localization() {
        for (logits, task) in [
            ([1.0, 2.0], Task::Aggregation),
            ([2.0, 1.0], Task::Localization),
            ([1.0, 1.0], Task::Localization),
            // ReLU makes a tie of these, whatever the larger one was.
            ([-2.0, -1.0], Task::Localization),
            ([-1.0, 0.0], Task::Localization),
            ([-1.0, 0.1], Task::Aggregation),
        ] {
            assert_eq!(decide(logits).1, task, "{logits:?}");
        }
        assert_eq!(decide([-3.0, -1.0]).0, [0.5, 0.5]);
        let [localization, aggregation] = decide([0.0, 3.0_f32.ln()]).0;
        assert!((localization - 0.25).abs() < 1e-6 && (aggregation - 0.75).abs() < 1e-6);
        assert_eq!(decide([1e30, 0.0]).0, [1.0, 0.0]);
    }
}
