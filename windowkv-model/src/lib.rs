//! A small Llama-3 and Qwen2.5 runner.
#![deny(unsafe_code)]

pub mod chat;
pub mod cli;
pub mod config;
pub mod demo;
pub mod error;
mod fields;
pub mod files;
pub mod generation_config;
pub mod runner;
pub mod settings;
#[doc(hidden)]
pub mod testing;
pub mod tokenizer;
pub mod tokenizer_config;
pub mod weights;

pub use error::{Error, Result};
