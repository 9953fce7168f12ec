//! A small Llama-3 and Qwen2.5 runner.
