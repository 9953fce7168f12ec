//! The built program, from its arguments to its exit code: 0, 1 for a failure, 2 for a wrong command line.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use windowkv_model::testing::{TestCheckpoint, byte_tokenizer};
use windowkv_model::weights::DType;

const INDEX: &str = "model.safetensors.index.json";
const Q: &str = "model.layers.1.self_attn.q_proj.weight";

/// How a run of the program ended.
#[derive(Debug)]
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

fn start(args: &[&str], stdin: Stdio) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windowkv"));
    command
        .args(args)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

/// Waits for the end; a signal, another exit code or a panic fails the test.
fn end(mut child: Child) -> Run {
    let mut stdout = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut stdout).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let run = Run {
        code: output.status.code().expect("no signal ends the program"),
        stdout: String::from_utf8(stdout).expect("text on stdout"),
        stderr: String::from_utf8(output.stderr).expect("text on stderr"),
    };
    assert!((0..=2).contains(&run.code), "{run:?}");
    assert!(!run.stderr.contains("panicked"), "{run:?}");
    run
}

fn feed(child: &mut Child, stdin: &[u8]) {
    // The program may end before it has read all.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin);
}

/// Runs the program with `stdin` on standard input.
fn run(args: &[&str], stdin: impl AsRef<[u8]>) -> Run {
    let mut child = start(args, Stdio::piped());
    feed(&mut child, stdin.as_ref());
    end(child)
}

#[track_caller]
fn succeeds(args: &[&str], stdin: impl AsRef<[u8]>) -> Run {
    let run = run(args, stdin);
    assert_eq!(run.code, 0, "{args:?}: {run:?}");
    run
}

/// Asserts exit code 1, nothing on stdout, and one error that holds every part.
#[track_caller]
fn fails(args: &[&str], stdin: impl AsRef<[u8]>, parts: &[&str]) {
    let run = run(args, stdin);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (1, ""),
        "{args:?}: {run:?}"
    );
    let errors: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{args:?}: {run:?}");
    for part in parts {
        assert!(
            errors[0].contains(part),
            "{part:?} is not in {:?}",
            errors[0]
        );
    }
}

/// Asserts exit code 2, nothing on stdout, and a usage message that holds every part.
#[track_caller]
fn refuses(args: &[&str], parts: &[&str]) {
    let run = run(args, "a prompt");
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (2, ""),
        "{args:?}: {run:?}"
    );
    for part in parts {
        assert!(
            run.stderr.contains(part),
            "{part:?} is not in {:?}",
            run.stderr
        );
    }
}

/// A Llama of 8 layers whose tokens are bytes, with begin (256) and end (257).
fn config() -> Value {
    let mut config = TestCheckpoint::llama_config();
    config["num_hidden_layers"] = json!(8);
    config["vocab_size"] = json!(260);
    config["bos_token_id"] = json!(256);
    config["eos_token_id"] = json!(257);
    config
}

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(dir.join(name), content).unwrap();
}

fn write_tokenizer(dir: &Path) {
    let tokenizer = byte_tokenizer(&["<|begin|>", "<|end|>"]);
    write(dir, "tokenizer.json", tokenizer.to_string());
    let config = json!({"bos_token": "<|begin|>", "eos_token": "<|end|>"});
    write(dir, "tokenizer_config.json", config.to_string());
}

/// A whole model folder.
fn model() -> TempDir {
    spoilt_checkpoint(|_| ())
}

/// A model folder with other weights or another config than fit.
fn spoilt_checkpoint(spoil: impl FnOnce(&mut TestCheckpoint)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = TestCheckpoint::new(config(), DType::Bf16);
    spoil(&mut checkpoint);
    checkpoint.write(dir.path()).unwrap();
    write_tokenizer(dir.path());
    dir
}

fn text(dir: &TempDir) -> &str {
    dir.path().to_str().expect("a UTF-8 path")
}

/// Both `generate` and `info` refuse the folder with one error that names every part.
#[track_caller]
fn folder_fails(dir: &TempDir, parts: &[&str]) {
    fails(&["generate", "--model-dir", text(dir)], "a prompt", parts);
    fails(&["info", text(dir)], "", parts);
}

fn json_of(run: &Run) -> Value {
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    let value: Value = serde_json::from_str(&run.stdout).expect("one JSON object");
    assert!(value.is_object());
    value
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

/// A prompt of the demo model of about 300 tokens.
fn demo_prompt() -> String {
    succeeds(&["demo", "prompt", "--tokens", "300", "--facts", "2"], "").stdout
}

#[test]
fn help_version_and_completions() {
    assert!(succeeds(&["--version"], "").stdout.starts_with("windowkv "));
    for command in [
        &["--help"][..],
        &["generate", "--help"],
        &["info", "--help"],
        &["demo", "--help"],
    ] {
        let run = succeeds(command, "");
        assert!(
            run.stdout.contains("Example") && run.stderr.is_empty(),
            "{run:?}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let run = succeeds(&["completions", shell], "");
        assert!(
            run.stdout.contains("windowkv") && run.stdout.contains("max-capacity-prompt"),
            "{shell}"
        );
        assert!(run.stderr.is_empty(), "{run:?}");
    }
}

#[test]
fn a_wrong_command_line_is_code_2() {
    refuses(&[], &["Usage"]);
    refuses(&["answer"], &["answer"]);
    refuses(&["generate", "--wat"], &["--wat"]);
    refuses(
        &["generate", "--method", "lru"],
        &["lru", "windowkv", "snapkv"],
    );
    refuses(
        &["generate", "--task", "poetry"],
        &["poetry", "localization"],
    );
    refuses(
        &["generate", "--max-capacity-prompt", "0%"],
        &["0%", "such as 12%"],
    );
    refuses(&["generate", "--max-capacity-prompt", "many"], &["many"]);
    refuses(&["generate", "--max-new-tokens", "-1"], &["-1"]);
    refuses(
        &["generate", "--prompt", "a", "--prompt-file", "b"],
        &["--prompt-file"],
    );
    refuses(
        &["generate", "--layer_decay_strategy", "geometric"],
        &["geometric", "arithmetic"],
    );
    refuses(&["--threads", "0", "info"], &["0"]);
    refuses(&["info", "--prompt-tokens", "100,0"], &["from 1 to"]);
    refuses(
        &["info", "--max-new-tokens", "18446744073709551615"],
        &["18446744073709551615", "from 0 to"],
    );
    refuses(&["completions", "tcsh9"], &["tcsh9", "bash"]);
}

#[test]
fn the_prompt_comes_from_three_places() {
    let prompt = demo_prompt();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "prompt.txt", &prompt);
    let file = dir.path().join("prompt.txt");
    let file = file.to_str().unwrap();
    let common = ["generate", "--max-new-tokens", "4"];
    let with = |more: &[&str], stdin: &str| succeeds(&[&common[..], more].concat(), stdin).stdout;
    let expected = with(&[], &prompt);
    assert_eq!(with(&["--prompt", &prompt], ""), expected);
    assert_eq!(with(&["--prompt-file", file], ""), expected);
    assert_eq!(with(&["--prompt_file", "-"], &prompt), expected);
    assert_eq!(with(&["--threads", "1"], &prompt), expected);
    let drawn = ["--temperature", "2", "--seed", "7"];
    assert_eq!(
        with(&drawn, &prompt),
        with(&drawn, &prompt),
        "same seed, same text"
    );
    fails(
        &["generate", "--prompt-file", "no-such-file"],
        "",
        &["no-such-file", "cannot open"],
    );
    fails(
        &["generate", "--prompt-file", text(&dir)],
        "",
        &["not a regular file"],
    );
}

#[test]
fn stdout_holds_the_text_and_stderr_the_rest() {
    let prompt = demo_prompt();
    let args = [
        "generate",
        "--max-new-tokens",
        "5",
        "--max-capacity-prompt",
        "25%",
        "-v",
    ];
    let run = succeeds(&args, &prompt);
    let report = json_of(&succeeds(&[&args[..], &["--json"]].concat(), &prompt));
    assert_eq!(
        run.stdout,
        format!("{}\n", report["text"].as_str().unwrap())
    );
    for part in [
        "prefill",
        "decode",
        "kept by WindowKV",
        "layers 0-1",
        "KV cache of the prompt",
        "full cache",
    ] {
        assert!(
            run.stderr.contains(part),
            "{part:?} is not in {:?}",
            run.stderr
        );
    }
}

#[test]
fn json_is_one_object_with_the_documented_keys() {
    let prompt = demo_prompt();
    for method in [
        "windowkv",
        "fullkv",
        "streamingllm",
        "h2o",
        "snapkv",
        "pyramidkv",
    ] {
        let args = [
            "generate",
            "--json",
            "--max-new-tokens",
            "3",
            "--ignore-eos",
            "--method",
            method,
        ];
        let report = json_of(&succeeds(
            &[&args[..], &["--max-capacity-prompt", "20%"]].concat(),
            &prompt,
        ));
        assert_eq!(
            keys(&report),
            [
                "text",
                "ids",
                "finish",
                "prompt_tokens",
                "prompt_tokens_cut",
                "new_tokens",
                "kv",
                "timing",
                "peak_memory_bytes",
                "compression",
                "sampling",
                "notes",
                "device",
                "task",
            ]
        );
        let kv = &report["kv"];
        assert_eq!(
            keys(kv),
            [
                "method",
                "prompt_tokens",
                "kept_per_layer",
                "groups",
                "bytes",
                "full_bytes",
                "released_layout_bytes"
            ]
        );
        assert_eq!(
            keys(&report["timing"]),
            ["prefill_seconds", "decode_seconds"]
        );
        assert_eq!(
            (&kv["method"], &report["finish"]),
            (&json!(method), &json!("length"))
        );
        assert_eq!(report["ids"].as_array().unwrap().len(), 3);
        assert_eq!(report["new_tokens"], 3);
        let prompt_tokens = report["prompt_tokens"].as_u64().unwrap();
        let kept: Vec<u64> = serde_json::from_value(kv["kept_per_layer"].clone()).unwrap();
        let groups = kv["groups"].as_array().unwrap();
        let layers: u64 = groups
            .iter()
            .map(|group| group["layers"].as_u64().unwrap())
            .sum();
        assert_eq!((kept.len(), layers), (8, 8), "{method}");
        assert_eq!(groups[0]["windows"].is_array(), method == "windowkv");
        // All that is kept is at most the share, and a window for rounding.
        let mean = kept.iter().sum::<u64>() / 8;
        let share = if method == "fullkv" {
            prompt_tokens
        } else {
            prompt_tokens / 5 + 8
        };
        assert!(
            (16..=share).contains(&mean),
            "{method}: {kept:?} of {prompt_tokens}"
        );
        let (bytes, full) = (
            kv["bytes"].as_u64().unwrap(),
            kv["full_bytes"].as_u64().unwrap(),
        );
        assert_eq!(
            bytes * prompt_tokens * 8,
            full * kept.iter().sum::<u64>(),
            "{method}"
        );
        assert_eq!(kv["released_layout_bytes"], bytes * 2, "{method}");
    }
}

#[test]
fn the_released_scripts_command_line_works() {
    let dir = model();
    let args = [
        "generate",
        "--model_type",
        "llama3_windowkv",
        "--model_half",
        "--use_cache",
        "--attn_implementation",
        "flash_attention_2",
        "--max_capacity_prompt",
        "40",
        "--review_window_size",
        "8",
        "--shared_layers",
        "8",
        "--suffix_max",
        "32",
        "--suffix_avg",
        "16",
        "--beta",
        "14",
        "--layer_decay_strategy",
        "arithmetic",
        "--seed",
        "42",
        "--model_dir",
        text(&dir),
        "--bert_model_dir",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bert-fixture"),
        "--classifier_dir",
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/bert-fixture/classifier.pth"
        ),
        "--max_new_tokens",
        "3",
        "--json",
    ];
    let run = succeeds(&args, "a prompt of bytes ".repeat(10));
    for explained in [
        "--model-type",
        "--model-half",
        "--use-cache",
        "--attn-implementation",
        "--layer-decay-strategy",
    ] {
        let times = run
            .stderr
            .lines()
            .filter(|line| line.starts_with(&format!("note: {explained}")))
            .count();
        assert_eq!(times, 1, "{explained} in {}", run.stderr);
    }
    let report = json_of(&run);
    // 180 tokens: 148 of review cut to 40 by dropping 14 of 19 windows, and the suffix of the strategy `max`.
    let group = &report["kv"]["groups"][0];
    assert_eq!(
        (&group["layers"], &group["kept_windows"]),
        (&json!(8), &json!(5))
    );
    let tokens = group["kept_tokens"].as_u64().unwrap();
    assert!([32 + 5 * 8, 32 + 4 * 8 + 4].contains(&tokens), "{tokens}");
    assert_eq!(report["sampling"]["seed"], 42);
    assert_eq!(report["task"]["source"], "bert");
    assert_eq!(report["task"]["task"], "aggregation");

    let full = [
        "generate",
        "--model_type",
        "llama3_fullkv",
        "--model_dir",
        text(&dir),
        "--max_new_tokens",
        "2",
        "--json",
    ];
    let report = json_of(&succeeds(&full, "a prompt"));
    assert_eq!(report["kv"]["kept_per_layer"], json!(vec![8; 8]));
}

#[test]
fn a_long_prompt_is_cut_in_the_middle_and_told() {
    let dir = model();
    let args = [
        "generate",
        "--model-dir",
        text(&dir),
        "--max-new-tokens",
        "2",
        "--json",
    ];
    let prompt = "0123456789".repeat(60);
    let run = succeeds(&[&args[..], &["--max-input-len", "21"]].concat(), &prompt);
    assert!(
        run.stderr
            .contains("600 tokens, over the limit of 21: 580 were cut from its middle"),
        "{}",
        run.stderr
    );
    let report = json_of(&run);
    assert_eq!(
        (&report["prompt_tokens"], &report["prompt_tokens_cut"]),
        (&json!(20), &json!(580))
    );
    // Without a limit: what the context of 512 has room for.
    let report = json_of(&succeeds(&args, &prompt));
    assert_eq!(
        (&report["prompt_tokens"], &report["prompt_tokens_cut"]),
        (&json!(510), &json!(90))
    );
    let report = json_of(&succeeds(&args, "short"));
    assert_eq!(
        (&report["prompt_tokens"], &report["prompt_tokens_cut"]),
        (&json!(5), &json!(0))
    );
}

#[test]
fn prompts_that_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    for prompt in ["", " \n\t "] {
        let parts = ["the prompt is empty", "--prompt-file"];
        fails(&["generate"], prompt, &parts);
        fails(&["generate", "--prompt", prompt], "", &parts);
        write(dir.path(), "empty.txt", prompt);
        fails(
            &[
                "generate",
                "--prompt-file",
                dir.path().join("empty.txt").to_str().unwrap(),
            ],
            "",
            &parts,
        );
    }
    write(dir.path(), "latin1.txt", b"caf\xe9 au lait");
    let file = dir.path().join("latin1.txt");
    fails(
        &["generate", "--prompt-file", file.to_str().unwrap()],
        "",
        &["latin1.txt", "not valid UTF-8", "index 3"],
    );
    fails(
        &["generate"],
        b"caf\xe9 au lait",
        &["standard input", "not valid UTF-8", "index 3"],
    );

    // A file far beyond any context is refused before it is read, and standard input as soon as it is known to be
    // (its first byte is not UTF-8, so that a program that takes it for a prompt does not work through it).
    let mut file = fs::File::create(dir.path().join("large.txt")).unwrap();
    file.write_all(b"\xff").unwrap();
    file.set_len((1 << 24) + 1).unwrap();
    let path = dir.path().join("large.txt");
    let parts = ["16777217 bytes", "at most 16777216"];
    fails(
        &["generate", "--prompt-file", path.to_str().unwrap()],
        "",
        &parts,
    );
    let run = end(start(
        &["generate"],
        Stdio::from(fs::File::open(path).unwrap()),
    ));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stderr.contains("standard input") && run.stderr.contains("at most 16777216"),
        "{run:?}"
    );
}

#[test]
fn a_prompt_shorter_than_the_suffix_keeps_everything() {
    let dir = model();
    for prompt in ["x", "hello"] {
        let args = [
            "generate",
            "--model-dir",
            text(&dir),
            "--max-new-tokens",
            "2",
            "--json",
        ];
        let report = json_of(&succeeds(&args, prompt));
        assert_eq!(report["kv"]["kept_per_layer"], json!(vec![prompt.len(); 8]));
    }
}

#[test]
fn settings_that_cannot_be() {
    let dir = model();
    let prompt = "a prompt of bytes ".repeat(8);
    let with = |options: &[&str], parts: &[&str]| {
        fails(
            &[
                &[
                    "generate",
                    "--task",
                    "localization",
                    "--model-dir",
                    text(&dir),
                ],
                options,
            ]
            .concat(),
            &prompt,
            parts,
        );
    };
    with(
        &["--review-window-size", "0"],
        &["review_window_size is 0", "at least 1"],
    );
    with(&["--suffix-avg", "0"], &["suffix is 0"]);
    with(
        &["--window-select-strategy", "max", "--suffix-max", "0"],
        &["suffix is 0"],
    );
    with(
        &["--max-capacity-prompt", "0"],
        &["max_capacity_prompt is 0"],
    );
    with(&["--shared-layers", "0"], &["shared_layers is 0"]);
    with(
        &["--shared-layers", "3"],
        &[
            "8 layers cannot be divided into groups of 3",
            "divisor of 8",
        ],
    );
    with(&["--beta", "0"], &["beta is 0"]);
    with(
        &["--shared-layers", "4", "--beta", "1"],
        &["shared_layers 4", "beta 1", "larger beta"],
    );
    with(&["--score-pooling", "4"], &["score_pooling is 4", "odd"]);
    for method in ["streamingllm", "h2o", "snapkv", "pyramidkv"] {
        let with = |options: &[&str], parts: &[&str]| {
            with(&[&["--method", method], options].concat(), parts)
        };
        for (capacity, window) in [("8", "8"), ("5", "8")] {
            let of_capacity = format!("a capacity of {capacity} tokens");
            let options = ["--max-capacity-prompt", capacity, "--window-size", window];
            with(&options, &[&of_capacity, "choose a capacity above 8"]);
        }
        with(
            &["--max-capacity-prompt", "0"],
            &["max_capacity_prompt is 0"],
        );
        with(&["--window-size", "0"], &["window_size is 0"]);
    }
    for method in ["snapkv", "pyramidkv"] {
        with(
            &["--method", method, "--kernel-size", "6"],
            &["kernel_size is 6", "odd"],
        );
    }
    with(&["--method", "pyramidkv", "--beta", "0"], &["beta is 0"]);
    with(&["--temperature=-0.5"], &["temperature is -0.5"]);
    with(&["--temperature", "nan"], &["temperature is NaN"]);
    with(&["--top-p", "0"], &["top-p is 0"]);
    with(&["--top-p", "1.5"], &["top-p is 1.5"]);
    with(
        &["--max-new-tokens", "512"],
        &["512 new ones do not fit", "context of 512", "fewer"],
    );
    with(
        &["--max-new-tokens", "18446744073709551615"],
        &["18446744073709551615 new ones"],
    );
    for len in ["0", "1", "505"] {
        let given = format!("max-input-len is {len}");
        with(
            &["--max-new-tokens", "8", "--max-input-len", len],
            &[&given, "from 2 to 504", "512"],
        );
    }
}

#[test]
fn enormous_settings_are_no_failure() {
    let dir = model();
    let huge = "18446744073709551615";
    for option in [
        "--max-capacity-prompt",
        "--suffix-avg",
        "--score-pooling",
        "--kernel-size",
        "--beta",
        "--top-k",
    ] {
        for method in ["windowkv", "snapkv", "pyramidkv"] {
            let args = [
                "generate",
                "--model-dir",
                text(&dir),
                "--method",
                method,
                "--max-new-tokens",
                "2",
                "--json",
            ];
            let report = json_of(&succeeds(
                &[&args[..], &[option, huge]].concat(),
                "a prompt of bytes",
            ));
            assert_eq!(
                report["kv"]["kept_per_layer"],
                json!(vec![17; 8]),
                "{option}, {method}"
            );
        }
    }
}

#[test]
fn configs_that_cannot_be() {
    for (field, value, parts) in [
        (
            "hidden_size",
            json!(0),
            &["`hidden_size` is 0", "from 1 to 65536"][..],
        ),
        ("hidden_size", json!("16"), &["`hidden_size` is \"16\""]),
        (
            "hidden_size",
            json!(u64::MAX),
            &["`hidden_size` is 18446744073709551615"],
        ),
        ("intermediate_size", json!(0), &["`intermediate_size` is 0"]),
        (
            "num_hidden_layers",
            json!(0),
            &["`num_hidden_layers` is 0", "from 1 to 1024"],
        ),
        (
            "num_hidden_layers",
            json!(-3),
            &["`num_hidden_layers` is -3"],
        ),
        (
            "num_hidden_layers",
            json!(1_000_000),
            &["`num_hidden_layers` is 1000000"],
        ),
        (
            "num_attention_heads",
            json!(0),
            &["`num_attention_heads` is 0"],
        ),
        (
            "num_attention_heads",
            json!(6),
            &["`num_attention_heads` is 6", "hidden_size, which is 16"],
        ),
        (
            "num_key_value_heads",
            json!(3),
            &[
                "`num_key_value_heads` is 3",
                "num_attention_heads, which is 4",
            ],
        ),
        (
            "num_key_value_heads",
            json!(0),
            &["`num_key_value_heads` is 0"],
        ),
        ("head_dim", json!(5), &["`head_dim` is 5", "even"]),
        ("vocab_size", json!(0), &["`vocab_size` is 0"]),
        (
            "max_position_embeddings",
            json!(0),
            &["`max_position_embeddings` is 0"],
        ),
        ("rms_norm_eps", json!(0.0), &["`rms_norm_eps` is 0"]),
        ("rope_theta", json!(-1.0), &["`rope_theta` is -1"]),
        (
            "rope_scaling",
            json!({"rope_type": "yarn"}),
            &["rope type `yarn`", "supported are"],
        ),
        (
            "rope_scaling",
            json!(5),
            &["`rope_scaling` is 5", "an object"],
        ),
        (
            "hidden_act",
            json!("gelu"),
            &["`hidden_act` is \"gelu\"", "silu"],
        ),
        (
            "model_type",
            json!("mixtral"),
            &["model family `mixtral`", "supported are llama", "qwen2"],
        ),
        ("model_type", Value::Null, &["no field `model_type`"]),
        (
            "quantization_config",
            json!({"bits": 4}),
            &["`quantization_config`", "bfloat16"],
        ),
        (
            "use_sliding_window",
            json!(true),
            &["`use_sliding_window` is true"],
        ),
        (
            "eos_token_id",
            json!(260),
            &["token id 260", "vocab_size 260"],
        ),
    ] {
        let dir = spoilt_checkpoint(|checkpoint| checkpoint.config[field] = value);
        folder_fails(&dir, &[parts, &["config.json"]].concat());
    }
    for (content, part) in [
        (&b""[..], "not valid JSON"),
        (b"{\"model_type\": ", "not valid JSON"),
        (b"[1, 2]", "an object"),
        (b"{\"model_type\": \"\xff\"}", "not valid UTF-8"),
    ] {
        let dir = model();
        write(dir.path(), "config.json", content);
        folder_fails(&dir, &["config.json", part]);
    }
    let dir = model();
    write(dir.path(), "config.json", " ".repeat((1 << 20) + 1));
    folder_fails(&dir, &["config.json", "1048577 bytes", "at most 1048576"]);
    fs::remove_file(dir.path().join("config.json")).unwrap();
    folder_fails(&dir, &["config.json", "cannot open"]);
    fails(&["info", "no-such-folder"], "", &["no-such-folder"]);
}

#[test]
fn weights_that_do_not_fit() {
    let dir = model();
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    folder_fails(&dir, &["neither model.safetensors nor", INDEX, "download"]);

    let dir = model();
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for len in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..len]).unwrap();
        folder_fails(
            &dir,
            &[
                "model.safetensors is truncated",
                &format!("has {len} bytes"),
                "download it again",
            ],
        );
    }
    fs::write(&path, [&[0xff; 8][..], &bytes[8..]].concat()).unwrap();
    folder_fails(
        &dir,
        &["not a valid safetensors file", "18446744073709551615"],
    );

    let dir = spoilt_checkpoint(|checkpoint| checkpoint.tensor_mut(Q).dtype = "I16".into());
    folder_fails(&dir, &[Q, "dtype I16", "BF16, F16 and F32"]);
    let dir = spoilt_checkpoint(|checkpoint| checkpoint.tensor_mut(Q).shape = vec![32, 8]);
    folder_fails(&dir, &[Q, "[32, 8]", "[16, 16]"]);
    let dir = spoilt_checkpoint(|checkpoint| checkpoint.tensors.retain(|tensor| tensor.name != Q));
    folder_fails(&dir, &["no tensor", Q]);
    let dir = spoilt_checkpoint(|checkpoint| checkpoint.config["num_hidden_layers"] = json!(9));
    folder_fails(&dir, &["no tensor `model.layers.8."]);
}

#[test]
fn shards_stay_in_their_folder() {
    let sharded = || {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = TestCheckpoint::new(config(), DType::F16);
        checkpoint.write_sharded(dir.path(), 3).unwrap();
        write_tokenizer(dir.path());
        dir
    };
    let dir = sharded();
    succeeds(
        &[
            "generate",
            "--model-dir",
            text(&dir),
            "--max-new-tokens",
            "2",
        ],
        "a prompt",
    );
    let outside = model();
    let absolute = outside.path().join("model.safetensors");
    for name in [
        "../model.safetensors",
        absolute.to_str().unwrap(),
        "sub/model.safetensors",
        "..",
        "",
    ] {
        let dir = sharded();
        let path = dir.path().join(INDEX);
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        index["weight_map"][Q] = json!(name);
        fs::write(&path, index.to_string()).unwrap();
        folder_fails(&dir, &[INDEX, &format!("{name:?}"), "plain file name"]);
    }
    fs::remove_file(dir.path().join("model-00002-of-00003.safetensors")).unwrap();
    folder_fails(
        &dir,
        &[
            "model-00002-of-00003.safetensors",
            "does not exist",
            "download it",
        ],
    );
}

#[test]
fn tokenizers_that_do_not_fit() {
    let generate = |dir: &TempDir, prompt: &str, parts: &[&str]| {
        fails(&["generate", "--model-dir", text(dir)], prompt, parts);
    };
    for key in ["bos_token", "eos_token"] {
        let dir = model();
        write(
            dir.path(),
            "tokenizer_config.json",
            json!({key: "<|nowhere|>"}).to_string(),
        );
        generate(
            &dir,
            "a",
            &[
                "tokenizer_config.json",
                key,
                "<|nowhere|>",
                "does not contain",
            ],
        );
    }
    let dir = model();
    write(dir.path(), "tokenizer.json", "{\"model\": 3}");
    generate(&dir, "a", &["tokenizer.json"]);
    write(dir.path(), "tokenizer.json", b"\xff\xfe");
    generate(&dir, "a", &["tokenizer.json", "not valid UTF-8"]);
    fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    generate(&dir, "a", &["tokenizer.json", "cannot open"]);
    succeeds(&["info", text(&dir)], "");

    // The tokenizer knows more tokens than the model.
    let mut small = config();
    small["vocab_size"] = json!(200);
    small["bos_token_id"] = Value::Null;
    small["eos_token_id"] = json!(1);
    let dir = tempfile::tempdir().unwrap();
    TestCheckpoint::new(small, DType::F32)
        .write(dir.path())
        .unwrap();
    write(
        dir.path(),
        "tokenizer.json",
        byte_tokenizer(&[]).to_string(),
    );
    succeeds(
        &[
            "generate",
            "--model-dir",
            text(&dir),
            "--max-new-tokens",
            "2",
        ],
        "plain",
    );
    generate(
        &dir,
        "a crab \u{1f980}",
        &["token id 240", "vocab_size 200"],
    );
}

#[test]
fn chat_templates_are_used_unless_told_otherwise() {
    let dir = model();
    write(
        dir.path(),
        "chat_template.jinja",
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}!{% endif %}",
    );
    let args = [
        "generate",
        "--model-dir",
        text(&dir),
        "--max-new-tokens",
        "1",
        "--json",
    ];
    let tokens = |more: &[&str]| {
        json_of(&succeeds(&[&args[..], more].concat(), "prompt"))["prompt_tokens"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(tokens(&["--no-chat-template"]), 6);
    assert_eq!(tokens(&[]), 6 + 6 + 1);
    assert_eq!(tokens(&["--system", "abc"]), 6 + 6 + 1 + 8 + 3);
    write(dir.path(), "chat_template.jinja", "{% for m in messages %}");
    fails(&args, "prompt", &["chat template", "without the chat form"]);
    write(
        dir.path(),
        "chat_template.jinja",
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
    );
    fails(&args, "prompt", &["chat template", "without the chat form"]);
}

#[test]
fn info_describes_a_folder() {
    let dir = model();
    let run = succeeds(
        &[
            "info",
            text(&dir),
            "--shared-layers",
            "2",
            "--max-capacity-prompt",
            "100",
        ],
        "",
    );
    for part in [
        "llama",
        "8 layers",
        "4 query heads over 2 KV heads of 4",
        "layers 6-7",
        "context 512 tokens",
    ] {
        assert!(
            run.stdout.contains(part),
            "{part:?} is not in {}",
            run.stdout
        );
    }
    assert!(
        run.stdout.contains("beyond the model's context"),
        "1,024 tokens are"
    );
    let args = [
        "info",
        text(&dir),
        "--shared-layers",
        "2",
        "--max-capacity-prompt",
        "100",
        "--prompt-tokens",
        "56,500",
    ];
    let report = json_of(&succeeds(
        &[&args[..], &["--max-new-tokens", "0", "--json"]].concat(),
        "",
    ));
    assert_eq!(
        report["layer_budgets"],
        json!([186, 186, 129, 129, 72, 72, 14, 14])
    );
    assert_eq!(
        (&report["layers"], &report["head_dim"]),
        (&json!(8), &json!(4))
    );
    let memory = report["memory"].as_array().unwrap();
    // A token of a layer: K and V of 2 heads of 4 floats.
    assert_eq!(
        memory[0]["kv_bytes"],
        json!(64 * (56 * 6 + 24 * 2)),
        "only the last group's budget of 14 is short of 40: one window and the suffix"
    );
    assert_eq!(memory[1]["full_kv_bytes"], json!(64 * 8 * 500));
    assert!(
        memory[1]["peak_bytes"].as_u64().unwrap() < memory[1]["full_peak_bytes"].as_u64().unwrap()
    );
    // As `generate` then keeps it.
    let generate = [
        "generate",
        "--task",
        "localization",
        "--model-dir",
        text(&dir),
        "--shared-layers",
        "2",
        "--max-capacity-prompt",
        "100",
        "--json",
        "--max-new-tokens",
        "1",
    ];
    let report = json_of(&succeeds(&generate, "0123456".repeat(8)));
    assert_eq!(report["kv"]["bytes"], memory[0]["kv_bytes"]);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let dir = model();
    let args = [
        "generate",
        "--model-dir",
        text(&dir),
        "--ignore-eos",
        "--max-new-tokens",
        "20",
    ];
    for more in [&[][..], &["--json"]] {
        let mut child = start(&[&args[..], more].concat(), Stdio::piped());
        // Before the program has its prompt, so that its first word meets a closed pipe.
        drop(child.stdout.take());
        feed(&mut child, b"a prompt");
        let run = end(child);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(!run.stderr.contains("error"), "{run:?}");
    }
    let mut child = start(&["completions", "bash"], Stdio::null());
    drop(child.stdout.take());
    assert_eq!(end(child).code, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_windowkv"));
    command
        .args(["completions", "bash"])
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped());
    let run = end(command.spawn().unwrap());
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stderr
            .contains("error: cannot write to standard output"),
        "{run:?}"
    );
}

#[test]
fn a_device_answers_like_the_cpu_and_reports_its_plan() {
    let args = [
        "generate",
        "--max-new-tokens",
        "3",
        "--ignore-eos",
        "--json",
    ];
    let prompt = "The secret words of Boston: amber falcon river. The secret words of Boston:";
    let answer = |device: &[&str]| -> Value {
        let run = succeeds(&[&args, device].concat(), prompt);
        serde_json::from_str(&run.stdout).unwrap()
    };
    let on_cpu = answer(&["--device", "cpu"]);
    assert_eq!(on_cpu["device"], Value::Null);
    for dtype in ["bf16", "f16"] {
        let emulated = answer(&[
            "--device",
            "emulated",
            "--dtype",
            dtype,
            "--prefill-chunk",
            "7",
        ]);
        assert_eq!(emulated["text"], on_cpu["text"]);
        assert_eq!(emulated["device"]["name"], "emulated");
        assert_eq!(emulated["device"]["dtype"], dtype);
        let kept = emulated["kv"]["bytes"].as_u64().unwrap();
        assert_eq!(2 * kept, on_cpu["kv"]["bytes"].as_u64().unwrap());
        assert!(emulated["device"]["planned_bytes"].as_u64().unwrap() > kept);
    }
    let chosen = answer(&["--device", "auto"]);
    let notes = chosen["notes"].to_string();
    assert!(notes.contains("--device auto chose"), "{notes}");
    // It is the default, which has nothing to say where there is neither a GPU nor code for one.
    let default = answer(&[]);
    assert_eq!(default["device"], chosen["device"]);
    if cfg!(not(feature = "cuda")) && !windowkv_model::device::gpu_is_there() {
        assert!(!default["notes"].to_string().contains("--device"));
    }
    fails(
        &[
            "generate",
            "--device",
            "emulated",
            "--granularity",
            "query_head",
            "--method",
            "snapkv",
            "--max-capacity-prompt",
            "10",
        ],
        prompt,
        &["--device cpu"],
    );
}

/// What a machine that builds without nvcc gets.
#[cfg(not(feature = "cuda"))]
#[test]
fn a_build_without_gpu_code_says_how_to_build_with_it() {
    let parts = ["opening the GPU", "--features cuda", "--device cpu"];
    fails(&["generate", "--device", "cuda"], "Boston", &parts);
    let note = succeeds(&["info", "--device", "auto", "--prompt-tokens", "100"], "").stderr;
    assert!(
        note.contains("chose cpu") && note.contains("--features cuda"),
        "{note}"
    );
}

#[test]
fn info_plans_a_devices_memory() {
    let args = [
        "info",
        "--device",
        "emulated",
        "--prompt-tokens",
        "512,1024",
    ];
    let text = succeeds(&args, "").stdout;
    assert!(text.contains("memory on the device (emulated)"), "{text}");
    let json = succeeds(&[&args[..], &["--json"]].concat(), "").stdout;
    let report: Value = serde_json::from_str(&json).unwrap();
    let row = &report["memory"][1];
    let parts = row["device_parts"].as_object().unwrap().values();
    let sum: u64 = parts.map(|part| part.as_u64().unwrap()).sum();
    assert_eq!(row["device_bytes"], json!(sum));
    let smaller = &report["memory"][0]["device_bytes"];
    assert!(row["device_bytes"].as_u64() > smaller.as_u64());
    // A batch of 8 has one set of weights and eight caches.
    let json = succeeds(&[&args[..], &["--json", "--batch", "8"]].concat(), "").stdout;
    let batch: Value = serde_json::from_str(&json).unwrap();
    let (one, eight) = (&row["device_parts"], &batch["memory"][1]["device_parts"]);
    assert_eq!(one["weights"], eight["weights"]);
    assert_eq!(
        8 * one["kv_cache"].as_u64().unwrap(),
        eight["kv_cache"].as_u64().unwrap()
    );
}

#[test]
fn bench_measures_what_it_says_and_draws_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    let shape = json!({
        "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512, "tie_word_embeddings": true,
    });
    fs::write(&config, shape.to_string()).unwrap();
    let out = dir.path().join("out");
    let args = [
        "bench",
        "--device",
        "emulated",
        "--random-weights",
        config.to_str().unwrap(),
        "--prompt-tokens",
        "40,60",
        "--batches",
        "1,3",
        "--steps",
        "2",
        "--methods",
        "fullkv,snapkv",
        "--max-capacity-prompt",
        "20",
        "--out",
        out.to_str().unwrap(),
        "--json",
    ];
    let run = succeeds(&args, "");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let points = report["points"].as_array().unwrap();
    assert_eq!(points.len(), 2 * 2 * 2);
    for point in points {
        let number = |name: &str| point[name].as_f64().unwrap();
        assert!(number("time_to_first_token") > 0.0 && number("decode_tokens_per_second") > 0.0);
        // Nine launches a layer, five around them.
        assert_eq!(number("step_launches"), 9.0 * 2.0 + 5.0);
        let kept = if point["method"] == "FullKV" {
            number("prompt_tokens")
        } else {
            20.0
        };
        // Layers, keys and values, bytes, KV heads of 16 that are stored as 32.
        assert_eq!(
            number("kv_bytes"),
            number("batch") * kept * 2.0 * 2.0 * 2.0 * 2.0 * 32.0
        );
        assert!(number("peak_bytes") > number("kv_bytes"));
        assert!(number("step_bytes") > number("kv_bytes"));
        let share = number("compression_share");
        assert!(share > 0.0 && share < 1.0, "{share}");
    }
    let svg = fs::read_to_string(out.join("bench.svg")).unwrap();
    assert!(svg.contains("SnapKV, batch 3") && out.join("bench.png").exists());
    assert_eq!(
        fs::read_to_string(out.join("bench.json")).unwrap(),
        run.stdout
    );
    fails(
        &["bench", "--device", "cpu"],
        "",
        &["device is cpu", "emulated"],
    );
}
