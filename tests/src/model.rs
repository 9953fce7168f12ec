//! Tiny models with random weights, and their forward pass written out in f64.

use half::{bf16, f16};
use ndarray::{Array2, Array3, ArrayView1, Axis, s};
use serde_json::{Value, json};
use tempfile::TempDir;
use windowkv_model::config::ModelConfig;
use windowkv_model::runner::Model;
use windowkv_model::testing::{TestCheckpoint, byte_tokenizer};
use windowkv_model::weights::{DType, LayerWeights, Linear, Weights};
use windowkv_ref::attention;
use windowkv_ref::methods::Kept;

/// A model and the folder that it was loaded from.
#[derive(Debug)]
pub struct TinyModel {
    /// The model; it reads its weights from the folder.
    pub model: Model,
    /// The folder.
    pub dir: TempDir,
}

/// `config.json` of a Llama of 4 layers: hidden 32, 4 query heads over 2 KV heads of 8, MLP 48; its tokens are the
/// 256 bytes, begin, end, and two that the tokenizer does not have.
pub fn llama_config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 260, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "bos_token_id": 256, "eos_token_id": 257,
        "tie_word_embeddings": false,
    })
}

/// The same as a Qwen2: biases on q, k and v, tied embeddings.
pub fn qwen2_config() -> Value {
    let mut config = llama_config();
    config["model_type"] = json!("qwen2");
    config["tie_word_embeddings"] = json!(true);
    config
}

/// The same as a Llama with every bias and heads of 6, which do not divide the hidden size.
pub fn biased_config() -> Value {
    let mut config = llama_config();
    config["attention_bias"] = json!(true);
    config["mlp_bias"] = json!(true);
    config["head_dim"] = json!(6);
    config
}

impl TinyModel {
    /// Random weights, larger than those of [`TestCheckpoint`], so that attention is far from uniform and a wrong
    /// position or key shows in the logits.
    ///
    /// # Panics
    /// When the config is not valid or the folder cannot be written.
    pub fn new(config: Value, dtype: DType) -> Self {
        let mut checkpoint = TestCheckpoint::new(config, DType::F32);
        for tensor in &mut checkpoint.tensors {
            let factor = match tensor.shape.len() {
                1 => 1.0,
                _ if tensor.name.contains("embed") => 10.0,
                _ => 4.0,
            };
            let words = tensor.bytes.as_chunks::<4>().0.iter().copied();
            let values = words.map(|word| f32::from_le_bytes(word) * factor);
            tensor.dtype = dtype.name().into();
            tensor.bytes = match dtype {
                DType::Bf16 => values
                    .flat_map(|x| bf16::from_f32(x).to_le_bytes())
                    .collect(),
                DType::F16 => values
                    .flat_map(|x| f16::from_f32(x).to_le_bytes())
                    .collect(),
                DType::F32 => values.flat_map(f32::to_le_bytes).collect(),
            };
        }
        let dir = tempfile::tempdir().expect("a folder for the model");
        checkpoint
            .write(dir.path())
            .expect("the folder can be written");
        let tokenizer = byte_tokenizer(&["<|begin|>", "<|end|>"]).to_string();
        std::fs::write(dir.path().join("tokenizer.json"), tokenizer)
            .expect("the folder can be written");
        let model = Model::load(dir.path()).expect("a valid model");
        Self { model, dir }
    }
}

/// The forward pass in f64, as the formulas have it.
#[derive(Debug)]
pub struct Reference<'a> {
    config: &'a ModelConfig,
    weights: &'a Weights,
    layers: Vec<ReferenceLayer>,
    position: usize,
}

/// Keys and values of all tokens so far, and which of them each cache head may see.
#[derive(Debug)]
struct ReferenceLayer {
    /// `[tokens, num_heads_kv, head_dim]`
    k: Array3<f64>,
    /// `[tokens, num_heads_kv, head_dim]`
    v: Array3<f64>,
    seen: Vec<Vec<usize>>,
}

impl<'a> Reference<'a> {
    /// A model that has seen nothing yet.
    pub fn new(model: &'a Model) -> Self {
        Self {
            config: model.llama.config(),
            weights: model.llama.weights(),
            layers: Vec::new(),
            position: 0,
        }
    }

    /// Runs the prompt; each layer then goes on with the tokens in `kept`. Returns the last token's logits.
    ///
    /// # Panics
    /// When the prompt is empty or `kept` does not fit the model.
    pub fn prefill(&mut self, ids: &[u32], kept: &[&Kept]) -> Vec<f64> {
        let mut x = self.embed(ids);
        for (layer, kept) in self.weights.layers.iter().zip(kept) {
            let (q, k, v) = self.qkv(layer, &x);
            let scale = (self.config.head_dim as f64).powf(-0.5);
            let attended =
                attention::plain(q.view(), k.view(), v.view(), scale).expect("fitting shapes");
            self.finish_layer(layer, &mut x, attended.out);
            let heads = kept.cache_heads(self.config.num_heads_kv);
            let seen = (0..heads)
                .map(|head| kept.positions(head, ids.len()).collect())
                .collect();
            self.layers.push(ReferenceLayer { k, v, seen });
        }
        self.position = ids.len();
        self.logits(x.row(ids.len() - 1))
    }

    /// Runs one more token over what was kept and all tokens since. Returns its logits.
    ///
    /// # Panics
    /// When the id is over the vocabulary.
    pub fn decode(&mut self, id: u32) -> Vec<f64> {
        let mut x = self.embed(&[id]);
        let (group, head_dim) = (self.config.queries_per_kv(), self.config.head_dim);
        for (index, layer) in self.weights.layers.iter().enumerate() {
            let (q, k, v) = self.qkv(layer, &x);
            let cache = &mut self.layers[index];
            cache.k.append(Axis(0), k.view()).expect("one token more");
            cache.v.append(Axis(0), v.view()).expect("one token more");
            let cache = &mut self.layers[index];
            for seen in &mut cache.seen {
                seen.push(self.position);
            }
            let mut attended = Array3::zeros(q.dim());
            for head in 0..self.config.num_heads_q {
                let seen = &cache.seen[head * cache.seen.len() / self.config.num_heads_q];
                let of_head = |x: &Array3<f64>| {
                    x.slice(s![.., head / group..head / group + 1, ..])
                        .select(Axis(0), seen)
                };
                let (k, v) = (of_head(&cache.k), of_head(&cache.v));
                let query = q.slice(s![.., head..head + 1, ..]);
                let scale = (head_dim as f64).powf(-0.5);
                let row =
                    attention::plain(query, k.view(), v.view(), scale).expect("fitting shapes");
                attended
                    .slice_mut(s![.., head..head + 1, ..])
                    .assign(&row.out);
            }
            self.finish_layer(layer, &mut x, attended);
        }
        self.position += 1;
        self.logits(x.row(0))
    }

    fn embed(&self, ids: &[u32]) -> Array2<f64> {
        let table = widened(&self.weights.embed.to_f32());
        let hidden = self.config.hidden_size;
        Array2::from_shape_fn((ids.len(), hidden), |(row, d)| {
            table[ids[row] as usize * hidden + d]
        })
    }

    fn qkv(
        &self,
        layer: &LayerWeights,
        x: &Array2<f64>,
    ) -> (Array3<f64>, Array3<f64>, Array3<f64>) {
        let normed = self.norm(x, &layer.input_norm);
        let heads = |linear: &Linear| {
            let y = product(&normed, linear);
            let shape = (
                y.nrows(),
                y.ncols() / self.config.head_dim,
                self.config.head_dim,
            );
            Array3::from_shape_vec(shape, y.into_iter().collect()).expect("whole heads")
        };
        (
            self.rotated(heads(&layer.q)),
            self.rotated(heads(&layer.k)),
            heads(&layer.v),
        )
    }

    /// The rotary embedding of tokens from the current position on.
    fn rotated(&self, x: Array3<f64>) -> Array3<f64> {
        let half = self.config.head_dim / 2;
        Array3::from_shape_fn(x.dim(), |(row, head, d)| {
            let pair = d % half;
            let frequency = self.config.rope_theta.powf(-(pair as f64) / half as f64);
            let (sin, cos) = ((self.position + row) as f64 * frequency).sin_cos();
            let (low, high) = (x[[row, head, pair]], x[[row, head, pair + half]]);
            if d < half {
                low * cos - high * sin
            } else {
                high * cos + low * sin
            }
        })
    }

    fn finish_layer(&self, layer: &LayerWeights, x: &mut Array2<f64>, attended: Array3<f64>) {
        let shape = (attended.dim().0, attended.dim().1 * attended.dim().2);
        let attended = Array2::from_shape_vec(shape, attended.into_iter().collect())
            .expect("the same numbers");
        *x += &product(&attended, &layer.o);
        let normed = self.norm(x, &layer.post_norm);
        let gate = product(&normed, &layer.gate).mapv(|x| x / (1.0 + (-x).exp()));
        *x += &product(&(gate * product(&normed, &layer.up)), &layer.down);
    }

    fn norm(&self, x: &Array2<f64>, weight: &[f32]) -> Array2<f64> {
        let weight = widened(weight);
        let squares = x.map_axis(Axis(1), |row| {
            row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64
        });
        Array2::from_shape_fn(x.dim(), |(row, d)| {
            x[[row, d]] / (squares[row] + self.config.rms_norm_eps).sqrt() * weight[d]
        })
    }

    fn logits(&self, x: ArrayView1<'_, f64>) -> Vec<f64> {
        let normed = self.norm(&x.insert_axis(Axis(0)).to_owned(), &self.weights.norm);
        let head = self.weights.lm_head();
        matrix(&head.to_f32(), self.config.hidden_size)
            .dot(&normed.row(0))
            .to_vec()
    }
}

fn widened(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&x| f64::from(x)).collect()
}

fn matrix(numbers: &[f32], columns: usize) -> Array2<f64> {
    Array2::from_shape_vec((numbers.len() / columns, columns), widened(numbers))
        .expect("whole rows")
}

/// `x W^T + b`
fn product(x: &Array2<f64>, linear: &Linear) -> Array2<f64> {
    let mut y = x.dot(&matrix(&linear.weight.to_f32(), x.ncols()).t());
    if let Some(bias) = &linear.bias {
        for mut row in y.rows_mut() {
            row.iter_mut()
                .zip(bias)
                .for_each(|(y, &bias)| *y += f64::from(bias));
        }
    }
    y
}
