//! `windowkv inspect` from its arguments to the page.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use windowkv_model::testing::{TestCheckpoint, byte_tokenizer};
use windowkv_model::weights::DType;

const MARK: &str = "<!doctype html>\n<!-- Made by windowkv inspect -->\n";

/// Runs the command in `dir` with `stdin` on standard input.
fn run(dir: &Path, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_windowkv"))
        .arg("inspect")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // The program may end before it has read all.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin);
    let output = child.wait_with_output().expect("an end");
    assert!(!stderr(&output).contains("panicked"), "{output:?}");
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn succeeds(dir: &Path, args: &[&str], stdin: &[u8]) -> String {
    let output = run(dir, args, stdin);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{args:?}: {}",
        stderr(&output)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Asserts exit code 1, nothing on standard output, and one error that holds every part.
#[track_caller]
fn fails(dir: &Path, args: &[&str], stdin: &[u8], parts: &[&str]) {
    let output = run(dir, args, stdin);
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(1), 0),
        "{args:?}: {output:?}"
    );
    let all = stderr(&output);
    let errors: Vec<&str> = all
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{all}");
    for part in parts {
        assert!(
            errors[0].contains(part),
            "{part:?} is not in {:?}",
            errors[0]
        );
    }
}

/// A Llama of 4 layers whose tokens are bytes.
fn model() -> TempDir {
    let dir = tempdir().unwrap();
    let mut config = TestCheckpoint::llama_config();
    config["num_hidden_layers"] = json!(4);
    config["vocab_size"] = json!(260);
    TestCheckpoint::new(config, DType::Bf16)
        .write(dir.path())
        .unwrap();
    let tokenizer = byte_tokenizer(&["<|begin|>", "<|end|>"]).to_string();
    fs::write(dir.path().join("tokenizer.json"), tokenizer).unwrap();
    dir
}

fn json_of(stdout: &str) -> Value {
    assert_eq!(stdout.lines().count(), 1);
    serde_json::from_str(stdout).expect("one JSON object")
}

#[test]
fn the_demo_prompt_is_shown_by_default() {
    let dir = tempdir().unwrap();
    let summary = succeeds(dir.path(), &[], b"");
    for part in [
        "a prompt of the demo of 2,048 tokens",
        "WindowKV",
        "PyramidKV",
        "windowkv-inspect.html",
    ] {
        assert!(summary.contains(part), "{part:?} is not in {summary}");
    }
    let page = fs::read_to_string(dir.path().join("windowkv-inspect.html")).unwrap();
    assert!(page.starts_with(MARK));
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing else is left"
    );
    // Again, over the same file; the same input gives the same bytes, on standard output as well.
    succeeds(dir.path(), &["--threads", "1"], b"");
    assert_eq!(
        fs::read_to_string(dir.path().join("windowkv-inspect.html")).unwrap(),
        page
    );
    assert_eq!(succeeds(dir.path(), &["-o", "-"], b""), page);
    let report = json_of(&succeeds(dir.path(), &["--json"], b""));
    let marked = &report["prompt"]["marked"];
    let (from, to) = (
        marked[0][0].as_u64().unwrap() as usize,
        marked[0][1].as_u64().unwrap() as usize,
    );
    let pieces = report["prompt"]["pieces"].as_array().unwrap();
    let fact: String = pieces[from..to]
        .iter()
        .map(|piece| piece.as_str().unwrap())
        .collect();
    assert!(
        fact.trim_start().starts_with("The secret words of Miami:") && fact.ends_with('.'),
        "{fact:?}"
    );
    assert_eq!(report["model"]["name"], "the demo model");
}

#[test]
fn prompts_come_from_files_and_standard_input() {
    let (dir, model) = (tempdir().unwrap(), model());
    let text = "Grüße, 世界 🦀 </script>\r\n\u{1}\u{202e}".repeat(8);
    fs::write(dir.path().join("a prompt.txt"), &text).unwrap();
    let model_dir = model.path().to_str().unwrap();
    let options = [
        "--json",
        "--model-dir",
        model_dir,
        "--shared-layers",
        "2",
        "--max-capacity-prompt",
        "30%",
    ];
    let from_file = json_of(&succeeds(
        dir.path(),
        &[&["a prompt.txt"], &options[..]].concat(),
        b"",
    ));
    let from_stdin = json_of(&succeeds(
        dir.path(),
        &[&["-"], &options[..]].concat(),
        text.as_bytes(),
    ));
    assert_eq!(from_file["prompt"]["source"], "a prompt.txt");
    assert_eq!(from_stdin["prompt"]["source"], "standard input");
    assert_eq!(from_file["methods"], from_stdin["methods"]);
    let pieces = from_file["prompt"]["pieces"].as_array().unwrap();
    let whole: String = pieces.iter().map(|piece| piece.as_str().unwrap()).collect();
    assert_eq!((whole.as_str(), pieces.len()), (text.as_str(), text.len()));

    // Cut in the middle, where a character is torn: what stays is shown, and where the rest was.
    let cut = json_of(&succeeds(
        dir.path(),
        &[&["-", "--max-input-len", "15"], &options[..]].concat(),
        text.as_bytes(),
    ));
    assert_eq!(
        cut["prompt"]["cut"],
        json!({"before": 7, "tokens": text.len() - 14})
    );
    assert_eq!(cut["prompt"]["pieces"].as_array().unwrap().len(), 14);
    assert!(
        cut["notes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|note| note.as_str().unwrap().contains("were cut"))
    );
}

#[test]
fn methods_are_chosen_by_name_or_all_that_fit() {
    let (dir, model) = (tempdir().unwrap(), model());
    let base = ["-", "--json", "--model-dir", model.path().to_str().unwrap()];
    let shown = |more: &[&str], prompt: &[u8]| {
        let report = json_of(&succeeds(dir.path(), &[&base[..], more].concat(), prompt));
        let methods = report["methods"].as_array().unwrap();
        let names: Vec<String> = methods
            .iter()
            .map(|m| m["method"].as_str().unwrap().to_owned())
            .collect();
        (names.join(","), report["notes"].to_string())
    };
    let prompt = "0123456789".repeat(10);
    let all = "windowkv,fullkv,streamingllm,h2o,snapkv,pyramidkv";
    assert_eq!(shown(&[], prompt.as_bytes()).0, all);
    assert_eq!(
        shown(&["--methods", "snapkv,windowkv,snapkv"], prompt.as_bytes()).0,
        "snapkv,windowkv"
    );
    assert_eq!(shown(&["--method", "h2o"], prompt.as_bytes()).0, "h2o");
    assert_eq!(
        shown(
            &["--model_type", "llama3_windowkv", "--model_half"],
            prompt.as_bytes()
        )
        .0,
        all
    );
    // A capacity that leaves some methods nothing to choose: told, unless they were asked for.
    let small = ["--max-capacity-prompt", "8"];
    let (names, notes) = shown(&small, prompt.as_bytes());
    assert_eq!(names, "windowkv,fullkv,streamingllm");
    assert!(
        notes.contains("SnapKV is not shown") && notes.contains("choose a capacity above 8"),
        "{notes}"
    );
    let asked = [&base[..], &small, &["--methods", "windowkv,snapkv"]].concat();
    fails(
        dir.path(),
        &asked,
        prompt.as_bytes(),
        &["SnapKV", "choose a capacity above 8"],
    );
    // The shortest prompts.
    for prompt in ["a", "0123456789abcdef", "0123456789abcdefg"] {
        assert!(
            shown(&["--max-capacity-prompt", "50%"], prompt.as_bytes())
                .0
                .starts_with("windowkv,fullkv")
        );
    }
}

#[test]
fn what_cannot_be_is_told() {
    let (dir, model) = (tempdir().unwrap(), model());
    let here = dir.path();
    let model_dir = model.path().to_str().unwrap();
    fails(here, &["-"], b" \n", &["the prompt is empty"]);
    fails(here, &["-"], b"", &["the prompt is empty"]);
    fails(
        here,
        &["-"],
        b"\xff\xfe\0binary",
        &["standard input", "not valid UTF-8"],
    );
    fails(
        here,
        &["no-such-file"],
        b"",
        &["no-such-file", "cannot open"],
    );
    fails(here, &["."], b"", &["not a regular file"]);
    fails(
        here,
        &["-", "--model-dir", model_dir, "--shared-layers", "3"],
        b"a",
        &["4 layers", "groups of 3"],
    );
    fails(
        here,
        &["--max-input-len", "1"],
        b"",
        &["max-input-len is 1"],
    );
    fails(
        here,
        &["-o", "no/such/folder/page.html"],
        b"",
        &["no/such/folder/page.html", "cannot write"],
    );
    // Nothing that is no page of ours is written over.
    fs::write(
        here.join("thesis.html"),
        "<!doctype html>\n<p>years of work",
    )
    .unwrap();
    fails(
        here,
        &["-o", "thesis.html"],
        b"",
        &["thesis.html", "--output"],
    );
    assert!(
        fs::read_to_string(here.join("thesis.html"))
            .unwrap()
            .ends_with("years of work")
    );
    fails(here, &["-o", "."], b"", &["exists and is no page"]);
    let output = run(here, &["--json", "-o", "page.html"], b"");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = run(here, &["--methods", "lru"], b"");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(
        fs::read_dir(here).unwrap().count(),
        1,
        "no page is left of a failure"
    );
}

#[test]
fn a_page_that_no_browser_opens_is_refused_before_anything_is_computed() {
    let (dir, model) = (tempdir().unwrap(), model());
    let path = model.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = json!(1 << 20);
    fs::write(&path, config.to_string()).unwrap();
    let prompt = "a long prompt ".repeat(1 << 16);
    let args = ["-", "--model-dir", model.path().to_str().unwrap()];
    let parts = ["over the limit of 67108864", "--methods", "--max-input-len"];
    fails(dir.path(), &args, prompt.as_bytes(), &parts);
}

#[test]
fn help_teaches_by_example() {
    let dir = tempdir().unwrap();
    let help = succeeds(dir.path(), &["--help"], b"");
    for part in [
        "Examples:",
        "windowkv inspect report.txt",
        "--methods",
        "--json",
    ] {
        assert!(help.contains(part), "{part:?} is not in {help}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_older_page() {
    let dir = tempdir().unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_windowkv"))
        .args(["inspect", "--json"])
        .current_dir(dir.path())
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(status.status.code(), Some(1));
    assert!(stderr(&status).contains("cannot write to standard output"));
    // A file that may not grow beyond some KiB, as on a full disk.
    let page = dir.path().join("windowkv-inspect.html");
    fs::write(&page, format!("{MARK}older")).unwrap();
    let limited = Command::new("sh")
        .args(["-c", "ulimit -f 16; trap '' XFSZ; exec \"$0\" inspect"])
        .arg(env!("CARGO_BIN_EXE_windowkv"))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(limited.status.code(), Some(1), "{limited:?}");
    assert!(
        stderr(&limited).contains("cannot write windowkv-inspect.html"),
        "{limited:?}"
    );
    assert_eq!(fs::read_to_string(&page).unwrap(), format!("{MARK}older"));
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no part is left"
    );
}
