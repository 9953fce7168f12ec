//! The WindowKV method (arXiv 2503.17922) in plain ndarray.
//!
//! Every function is generic over [`Real`]: with `f64` it is the oracle that the project's tests hold
//! everything else to, with `f32` it is the CPU backend of the runner. Readable first: a function is a
//! page that a person can check against the paper, and its docs give the shapes.
//!
//! | module | what it computes |
//! |---|---|
//! | [`policy`] | budgets of the groups, window geometry, presets, which windows are kept |
//! | [`attention`] | causal GQA prefill with its log-sum-exp, in blocks; decode over a compressed cache |
//! | [`scoring`] | column scores from the log-sum-exp in one pass over K; pooling; window scores |
//! | [`methods`] | WindowKV and the methods it is compared with, behind one trait |
//! | [`cache`] | gathering the kept tokens of one layer into the compact cache |
//! | [`layer`] | RMS norm, rotary embedding, SiLU gate: what a Llama layer needs beside matrix products |
//! | [`linalg`] | matrix products on ndarray views |
//!
//! # Shapes
//! One sequence at a time, tokens outermost: `q [seqlen_q, num_heads_q, head_dim]`,
//! `k v [seqlen_kv, num_heads_kv, head_dim]`, any strides. Query head `h` reads KV head
//! `h / (num_heads_q / num_heads_kv)`. A batch is several sequences: nothing here keeps state
//! between calls, so a sequence gets the same bits alone and in any batch.
//!
//! # Example
//! ```
//! use ndarray::Array3;
//! use windowkv_ref::methods::{LayerInput, Method, WindowKv};
//! use windowkv_ref::policy::{ModelShape, WindowKvConfig};
//! use windowkv_ref::{attention, softmax_scale};
//!
//! let shape = ModelShape { num_layers: 2, num_heads_q: 4, num_heads_kv: 2, head_dim: 8 };
//! let (q, k) = (Array3::<f32>::zeros((104, 4, 8)), Array3::<f32>::zeros((104, 2, 8)));
//! let scale = softmax_scale(8);
//! let prefill = attention::prefill(q.view(), k.view(), k.view(), scale).unwrap();
//!
//! let config = WindowKvConfig { capacity: 24, shared_layers: 2, ..WindowKvConfig::default() };
//! let mut sequence = WindowKv::new(config).start(shape, 104).unwrap();
//! let selection = sequence
//!     .select(0, &LayerInput { q: q.view(), k: k.view(), lse: prefill.lse.view(), softmax_scale: scale })
//!     .unwrap();
//! // 88 review tokens, a budget of 24: three windows of 8 stay, and the suffix of 16.
//! assert_eq!(selection.kept.len(104), 24 + 16);
//! ```

pub mod attention;
pub mod cache;
mod error;
pub mod layer;
pub mod linalg;
pub mod methods;
pub mod policy;
mod real;
pub mod scoring;

pub use error::Error;
pub use real::{Real, softmax_scale};
