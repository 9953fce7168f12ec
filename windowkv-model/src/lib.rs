//! A small Llama-3 and Qwen2.5 runner that compresses its KV cache with WindowKV or a method it is compared with.
//!
//! ```
//! use windowkv_model::runner::{Model, Request, Sampling, generate};
//! use windowkv_ref::methods::WindowKv;
//! use windowkv_ref::policy::WindowKvConfig;
//!
//! let model = Model::demo()?; // or Model::load("Llama-3.2-1B-Instruct".as_ref())
//! let ids = model.tokenizer.encode("The secret words of Boston: amber falcon river.", true)?;
//! let method = WindowKv::new(WindowKvConfig { capacity: 256, shared_layers: 2, ..WindowKvConfig::default() });
//! let request = Request {
//!     ids: &ids, method: &method, max_new_tokens: 32, sampling: Sampling::default(),
//!     stop_strings: &[], ignore_stop_tokens: false,
//! };
//! let answer = generate(&model, &request, &mut |_| (), &mut |text| print!("{text}"))?;
//! println!("{} of {} bytes", answer.kv.bytes, answer.kv.full_bytes);
//! # Ok::<(), windowkv_model::Error>(())
//! ```
#![deny(unsafe_code)]

pub mod chat;
pub mod classifier;
pub mod cli;
pub mod config;
pub mod demo;
pub mod device;
pub mod error;
pub mod evaluation;
mod fields;
pub mod files;
pub mod generation_config;
pub mod inspect;
pub mod lines;
pub mod runner;
pub mod settings;
#[doc(hidden)]
pub mod testing;
pub mod tokenizer;
pub mod tokenizer_config;
pub mod weights;

pub use error::{Error, Result};
