//! `windowkv niah`, `compare` and `merge` as a user runs them: interrupted, split, on a full disk, with bad input.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tempfile::TempDir;
use windowkv_model::testing::{TestCheckpoint, byte_tokenizer};
use windowkv_model::weights::DType;

/// A grid of 48 cases that take a second together.
const GRID: [&str; 10] = [
    "niah",
    "--lengths",
    "128,160",
    "--depths",
    "0,50,100",
    "--prompts",
    "2",
    "--methods",
    "fullkv,windowkv,snapkv,streamingllm",
    "--threads=1",
];
const CASES: usize = 48;
const KILLS: usize = 60;

fn windowkv(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windowkv"));
    command.args(args).stdin(Stdio::null());
    command
}

/// The tiny grid into the folder `dir`.
fn niah(dir: &Path, more: &[&str]) -> Command {
    let mut command = windowkv(&GRID);
    command.arg("--out").arg(dir).args(more);
    command
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Exit code 1 or 2 and an error that has every part.
#[track_caller]
fn refuses(command: &mut Command, parts: &[&str]) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(
        matches!(status.code(), Some(1 | 2)),
        "{command:?}: {status} {stderr}"
    );
    assert!(
        stdout.is_empty() && !stderr.contains("panicked"),
        "{stderr}"
    );
    let error = stderr.split("error: ").nth(1).unwrap_or_default();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

fn records(dir: &Path) -> String {
    fs::read_to_string(dir.join("records.jsonl")).unwrap()
}

fn summary(dir: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(dir.join("summary.json")).unwrap()).unwrap()
}

/// The tiny grid, undisturbed.
fn whole(parent: &TempDir) -> PathBuf {
    let dir = parent.path().join("whole");
    succeeds(&mut niah(&dir, &[]));
    assert_eq!(records(&dir).lines().count(), CASES);
    dir
}

#[test]
fn killed_at_any_moment_a_run_loses_and_repeats_nothing() {
    let parent = TempDir::new().unwrap();
    let begun = Instant::now();
    let expected = records(&whole(&parent));
    let undisturbed = begun.elapsed();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    // Kills come within this time: shorter when runs end before theirs, longer when none gets anything done.
    let mut span = undisturbed;
    let (mut kills, mut runs, mut interrupted) = (0, 0, 0);
    while kills < KILLS {
        runs += 1;
        let dir = parent.path().join(format!("run {runs}"));
        let mut before = String::new();
        loop {
            let mut child = niah(&dir, &["--resume"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let kill_at = Instant::now() + span.mul_f64(rng.random::<f64>());
            while Instant::now() < kill_at && child.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            if output.status.success() {
                span = span.mul_f64(0.8);
                break;
            }
            assert_eq!(output.status.code(), None, "killed: {output:?}");
            kills += 1;
            let done = fs::read_to_string(dir.join("records.jsonl")).unwrap_or_default();
            assert!(
                done.starts_with(&before) && expected.starts_with(&done),
                "what is there is what was finished"
            );
            if done == before {
                span = span.mul_f64(1.2);
            }
            interrupted += usize::from(!done.is_empty() && done != expected);
            before = done;
        }
        assert_eq!(records(&dir), expected, "run {runs} after {kills} kills");
    }
    assert!(
        interrupted >= 10,
        "only {interrupted} of {kills} kills fell into the work"
    );
}

/// A limit on the size of files is as a disk that is full: a write ends in the middle.
#[test]
#[cfg(unix)]
fn a_full_disk_loses_nothing() {
    let parent = TempDir::new().unwrap();
    let expected = records(&whole(&parent));
    for blocks in [18, 24] {
        let dir = parent.path().join(format!("{blocks} blocks"));
        let mut limited = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        limited.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_windowkv")]);
        limited
            .args(GRID)
            .arg("--out")
            .arg(&dir)
            .stdin(Stdio::null());
        refuses(
            &mut limited,
            &["cannot write to", "records.jsonl", "are safe", "--resume"],
        );
        let done = records(&dir);
        assert!(!done.is_empty() && done.len() < expected.len() && done.ends_with('\n'));
        assert!(expected.starts_with(&done));
        succeeds(&mut niah(&dir, &["--resume"]));
        assert_eq!(records(&dir), expected);
    }
}

#[test]
fn a_torn_line_is_repaired_and_other_settings_are_refused() {
    let parent = TempDir::new().unwrap();
    let dir = whole(&parent);
    let expected = records(&dir);
    for cut in [1, 2, 100, 1000] {
        fs::write(dir.join("records.jsonl"), &expected[..expected.len() - cut]).unwrap();
        let said = succeeds(&mut niah(&dir, &["--resume"]));
        assert!(
            said.contains("torn by the interruption, repaired"),
            "{said}"
        );
        assert_eq!(records(&dir), expected);
    }
    refuses(&mut niah(&dir, &[]), &["not empty", "--resume"]);
    let other = ["--resume", "--beta", "7"];
    refuses(
        &mut niah(&dir, &other),
        &["other settings", "beta is 14 there and 7 here"],
    );
    refuses(
        &mut niah(&dir, &["--resume", "--shard", "1/2"]),
        &["shard is 1/1 there"],
    );
    let mut lines: Vec<&str> = expected.lines().collect();
    lines[3] = "{\"case\": 3";
    fs::write(dir.join("records.jsonl"), lines.join("\n") + "\n").unwrap();
    refuses(&mut niah(&dir, &["--resume"]), &["records.jsonl, line 4"]);
    assert_eq!(records(&dir), lines.join("\n") + "\n", "left as it was");
}

#[test]
fn merged_shards_are_the_whole_run() {
    let parent = TempDir::new().unwrap();
    let dir = whole(&parent);
    let parts: Vec<PathBuf> = (1..=3)
        .map(|index| {
            let part = parent.path().join(format!("part {index}"));
            let shard = format!("{index}/3");
            // The number of threads makes no difference.
            let more = ["--shard", &shard, "--out"];
            succeeds(
                windowkv(&GRID[..9])
                    .args(more)
                    .arg(&part)
                    .args(["--threads", "2"]),
            );
            part
        })
        .collect();
    let merge = |name: &str, parts: &[&PathBuf]| {
        let mut command = windowkv(&["merge"]);
        command.arg(parent.path().join(name)).args(parts);
        command
    };
    let [a, b, c] = [&parts[0], &parts[1], &parts[2]];
    refuses(
        &mut merge("gap", &[a, c]),
        &["of 3 shards, one is missing: 2"],
    );
    refuses(&mut merge("overlap", &[a, b, b, c]), &["both shard 2/3"]);
    succeeds(&mut merge("merged", &[c, a, b]));
    let merged = parent.path().join("merged");
    assert_eq!(records(&merged), records(&dir));
    assert_eq!(summary(&merged), summary(&dir));
    let heat_map = |dir: &Path| fs::read(dir.join("heatmaps.png")).unwrap();
    assert_eq!(heat_map(&merged), heat_map(&dir));
    succeeds(&mut niah(&merged, &["--resume"]));

    let rest: Vec<String> = records(b)
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(b.join("records.jsonl"), rest.concat()).unwrap();
    refuses(
        &mut merge("unfinished", &[a, b, c]),
        &["15 of the 16 cases of shard 2/3"],
    );
    assert!(!parent.path().join("unfinished").exists());
}

#[test]
fn one_process_at_a_time_has_a_folder() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("run");
    let long = ["--prompts=1000", "--out"];
    let mut first = windowkv(&GRID[..5])
        .args(long)
        .arg(&dir)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while fs::metadata(dir.join("records.jsonl")).map_or(0, |file| file.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no record comes");
        sleep(Duration::from_millis(5));
    }
    let mut second = windowkv(&GRID[..5]);
    second.args(long).arg(&dir).arg("--resume");
    refuses(&mut second, &["in use by another process"]);
    first.kill().unwrap();
    first.wait().unwrap();
}

/// A needle, a question and a haystack of one's own, in the words that the demo model knows.
#[test]
fn a_needle_of_ones_own_is_found() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("run");
    let haystack = parent.path().join("texts");
    fs::create_dir(&haystack).unwrap();
    fs::write(
        haystack.join("a.txt"),
        windowkv_model::demo::prompts::filler(2000, 3),
    )
    .unwrap();
    fs::write(haystack.join("b.md"), "skipped").unwrap();
    for source in [None, Some(&haystack)] {
        let mut command = windowkv(&["niah", "--lengths", "150,300", "--depths", "0,30,100"]);
        command.args([
            "--methods",
            "fullkv,streamingllm",
            "--capacities",
            "50",
            "--resume",
        ]);
        command.arg("--needle= The secret words of Boston: amber falcon river.");
        command.args([
            "--question",
            "What are the secret words of Boston?",
            "--answer",
            "amber falcon river.",
        ]);
        command
            .arg("--template={context}\nQuestion: {question}\nAnswer: The secret words of Boston:");
        let dir = dir.join(source.map_or("generated", |_| "folder"));
        command.arg("--out").arg(&dir);
        if let Some(source) = source {
            command.arg("--haystack").arg(source);
        }
        let said = succeeds(&mut command);
        assert_eq!(
            said.contains("skipped 1 that are not *.txt"),
            source.is_some(),
            "{said}"
        );
        let summary = summary(&dir);
        let exact = |variant: usize| summary["variants"][variant]["exact"].as_f64().unwrap();
        // The model itself does not find every needle in text that it was not trained on.
        assert!(exact(0) >= 0.9, "full cache: {summary}");
        assert!(exact(1) < 0.7, "StreamingLLM drops needles: {summary}");
        for line in records(&dir).lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["prompt_tokens"], record["length"]);
        }
    }
}

/// The released evaluation's needle and template, on a model folder; its bytes are part of the settings.
#[test]
fn a_model_folder_is_known_by_its_content() {
    let parent = TempDir::new().unwrap();
    let model = parent.path().join("model");
    fs::create_dir(&model).unwrap();
    let mut config = TestCheckpoint::llama_config();
    config["vocab_size"] = 260.into();
    config["max_position_embeddings"] = 1024.into();
    TestCheckpoint::new(config, DType::Bf16)
        .write(&model)
        .unwrap();
    fs::write(
        model.join("tokenizer.json"),
        byte_tokenizer(&["<|begin|>", "<|end|>"]).to_string(),
    )
    .unwrap();
    let dir = parent.path().join("run");
    let run = |model: &Path, dir: &Path, more: &[&str]| {
        let mut command = windowkv(&[
            "niah",
            "--lengths=400,500",
            "--depths=0,100",
            "--capacities=64",
        ]);
        command
            .arg("--out")
            .arg(dir)
            .arg("--model-dir")
            .arg(model)
            .args(more);
        command
    };
    succeeds(&mut run(&model, &dir, &[]));
    let records = records(&dir);
    assert_eq!(records.lines().count(), 2 * 2 * 6);
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["prompt_tokens"], record["length"]);
        assert_eq!(record["reference"].as_str().unwrap().len(), 95);
    }
    let moved = parent.path().join("elsewhere");
    fs::create_dir(&moved).unwrap();
    let moved = moved.join("renamed");
    fs::rename(&model, &moved).unwrap();
    succeeds(&mut run(&moved, &dir, &["--resume"]));
    let weights = moved.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    refuses(
        &mut run(&moved, &dir, &["--resume"]),
        &["other settings", "model_sha256 is"],
    );
}

#[test]
fn the_chart_and_its_table_are_made() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("run");
    let grid = [
        "--lengths=128",
        "--depths=50",
        "--prompts=1",
        "--capacities=40,25%",
    ];
    let mut command = windowkv(&["compare", "--out"]);
    let output = command.arg(&dir).args(grid).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.starts_with("| exact answers at a capacity of | 40 | 25% | full |"),
        "{table}"
    );
    assert_eq!(table, fs::read_to_string(dir.join("summary.md")).unwrap());
    for name in ["compare-exact", "compare-rouge1"] {
        let svg = fs::read_to_string(dir.join(format!("{name}.svg"))).unwrap();
        for method in [
            "full cache",
            "WindowKV, pooled 9",
            "PyramidKV",
            "SnapKV",
            "H2O",
            "StreamingLLM",
        ] {
            assert!(
                svg.contains(&format!(">{method}</text>")),
                "{method} is not in {svg}"
            );
        }
        let png = fs::read(dir.join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{name}");
    }
    let mut other = windowkv(&["compare", "--longbench"]);
    refuses(other.arg(&dir), &["a run of `compare`, not of `longbench`"]);
}

#[test]
fn bad_input_is_named_before_anything_runs() {
    let parent = TempDir::new().unwrap();
    let haystack = parent.path().join("texts");
    fs::create_dir(&haystack).unwrap();
    let refused = |args: &[&str], parts: &[&str]| {
        let dir = parent.path().join("run");
        let mut command = windowkv(&["niah", "--out"]);
        command.arg(&dir).args(args);
        refuses(&mut command, parts);
        assert!(!dir.exists(), "{args:?}: nothing is written");
    };
    let texts = haystack.to_str().unwrap();
    refused(
        &["--haystack", texts],
        &["has no text: 0 of its files are *.txt"],
    );
    fs::write(haystack.join("a.txt"), b"good\nbad \xff\n").unwrap();
    refused(
        &["--haystack", texts],
        &["a.txt, line 2: not valid UTF-8 at byte 5"],
    );
    let long = fs::File::create(haystack.join("a.txt")).unwrap();
    long.set_len(1 << 30).unwrap();
    refused(
        &["--haystack", texts],
        &["a.txt, line 1: longer than 16777216 bytes"],
    );
    refused(&["--haystack", "/none"], &["cannot list /none"]);
    let needle = "The secret words of Boston are here. ".repeat(20);
    refused(
        &["--needle", &needle, "--lengths", "128"],
        &["a prompt of 128 tokens", "the needle ("],
    );
    refused(
        &["--needle", "x", "--lengths", "20"],
        &["a prompt of 20 tokens", "at least"],
    );
    refused(
        &["--needle", "x", "--answer", "."],
        &["the answer \".\" has no word"],
    );
    refused(&["--template", "no place"], &["{context}"]);
    refused(&["--lengths", "20"], &["20 tokens are too few"]);
    refused(
        &["--lengths", "5000"],
        &["do not fit the model's context of 4608"],
    );
    refused(
        &[
            "--needle",
            "x",
            "--lengths",
            "9999999",
            "--prompts",
            "9999999",
        ],
        &["context of 4608"],
    );
    refused(&["--depths", "50,120"], &["depth 120 %"]);
    refused(&["--lengths", "256,256"], &["comes twice"]);
    refused(
        &["--capacities", "10"],
        &["capacity of 10", "choose a capacity above"],
    );
    refused(
        &["--methods", "windowkv,best"],
        &["unknown method `best`", "choose one of"],
    );
    refused(&["--methods", "windowkv:4"], &["must be odd"]);
    refused(&["--shard", "3/2"], &["i from 1 to n"]);
    refused(&["--model-dir", "/none"], &["/none"]);
}
