//! `windowkv info` predicts within 10 % what `windowkv generate` takes.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use windowkv_model::runner::peak_memory;
use windowkv_model::testing::{TestCheckpoint, word_tokenizer};
use windowkv_model::weights::DType;

const VOCAB_SIZE: usize = 8000;
const NEW_TOKENS: usize = 4;

/// A Llama of 15 million parameters with its tokenizer: token `i` is the word `ti`.
fn checkpoint(dtype: DType, tied: bool) -> TempDir {
    let mut config = TestCheckpoint::llama_config();
    for (name, value) in [
        ("hidden_size", 384),
        ("intermediate_size", 1024),
        ("num_hidden_layers", 6),
        ("num_attention_heads", 6),
        ("vocab_size", VOCAB_SIZE),
        ("max_position_embeddings", 8192),
    ] {
        config[name] = json!(value);
    }
    config["tie_word_embeddings"] = json!(tied);
    let folder = TempDir::new().unwrap();
    TestCheckpoint::new(config, dtype)
        .write(folder.path())
        .unwrap();
    let words: Vec<String> = (0..VOCAB_SIZE).map(|id| format!("t{id}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let tokenizer = word_tokenizer(&words).to_string();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer).unwrap();
    folder
}

fn windowkv(arguments: &[&str]) -> Value {
    let program = env!("CARGO_BIN_EXE_windowkv");
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs `generate` and compares its peak with `info`'s prediction.
fn check(model: &Path, tokens: usize, method: &str, threads: &str) {
    let words: Vec<String> = (0..tokens)
        .map(|i| format!("t{}", i * 7919 % VOCAB_SIZE))
        .collect();
    let prompt = model.join("prompt.txt");
    std::fs::write(&prompt, words.join(" ")).unwrap();
    let (model, prompt) = (model.to_str().unwrap(), prompt.to_str().unwrap());
    let (tokens, new_tokens) = (tokens.to_string(), NEW_TOKENS.to_string());
    let common = ["--json", "--threads", threads, "--method", method];
    let common = [&common[..], &["--max-capacity-prompt", "256"]].concat();
    let common = [&common[..], &["--max-new-tokens", &new_tokens]].concat();

    let info = ["info", model, "--prompt-tokens", &tokens];
    let info = windowkv(&[&info[..], &common].concat());
    let generate = ["generate", "--model-dir", model, "--prompt-file", prompt];
    let generate = [&generate[..], &["--ignore-eos"], &common].concat();
    let generate = windowkv(&generate);

    assert_eq!(generate["prompt_tokens"].to_string(), tokens);
    let taken = generate["peak_memory_bytes"].as_f64().unwrap();
    let predicted = info["memory"][0]["peak_bytes"].as_f64().unwrap();
    let error = predicted / taken - 1.0;
    println!(
        "{method}, {tokens} tokens, {threads} threads: {:+.1} %",
        100.0 * error
    );
    assert!(
        error.abs() <= 0.1,
        "{method}, {tokens} tokens, {threads} threads: predicted {predicted}, taken {taken} ({:+.1} %): {}",
        100.0 * error,
        info["memory"][0]["parts"]
    );
}

#[test]
fn info_predicts_the_peak_of_generate() {
    if peak_memory().is_none() {
        eprintln!("skipped: this system does not tell a process its peak memory");
        return;
    }
    if cfg!(debug_assertions) {
        eprintln!("skipped: the program's own size was measured in release form");
        return;
    }
    for (dtype, tied) in [
        (DType::F32, false),
        (DType::Bf16, false),
        (DType::Bf16, true),
    ] {
        let model = checkpoint(dtype, tied);
        for tokens in [512, 2048] {
            for method in ["fullkv", "windowkv", "snapkv", "h2o"] {
                for threads in ["1", "2"] {
                    check(model.path(), tokens, method, threads);
                }
            }
        }
    }
}
