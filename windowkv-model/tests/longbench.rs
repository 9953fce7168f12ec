//! `windowkv longbench`, from its command line to the files that it leaves, on the project's own samples and the demo
//! model.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;
use windowkv_model::evaluation::longbench::{DataFile, Prediction, Prompts, datasets_in, score};
use windowkv_model::evaluation::run::{Case, Plan, Run, Shard, Start, merge};
use windowkv_model::testing::{TestCheckpoint, byte_tokenizer};
use windowkv_model::weights::DType;

/// Few datasets and methods, all kinds of rules among them.
const SMALL: [&str; 6] = [
    "--datasets",
    "qasper,dureader,trec,lcc",
    "--methods",
    "fullkv,snapkv,windowkv",
    "--capacities",
    "12%,64",
];

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/longbench")
}

fn windowkv(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windowkv"));
    command.args(args).stdin(Stdio::null());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

/// Runs `windowkv longbench`; a signal or a panic fails the test.
fn longbench(args: &[&str]) -> Output {
    let output = windowkv(&[&["longbench"], args].concat()).output().unwrap();
    let stderr = stderr(&output);
    assert!(
        output.status.code().is_some() && !stderr.contains("panicked"),
        "{stderr}"
    );
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a successful run prints.
#[track_caller]
fn table(args: &[&str]) -> String {
    let output = longbench(args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(args: &[&str], code: i32, parts: &[&str]) {
    let output = longbench(args);
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty());
    for part in parts {
        assert!(stderr.contains(part), "{part:?} is not in {stderr:?}");
    }
}

fn small<'a>(data: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![text(data)];
    args.extend(SMALL);
    args.extend(["--out", text(out)]);
    args.extend(more);
    args
}

/// The records: the same run gives the same bytes.
fn records(dir: &Path) -> String {
    fs::read_to_string(dir.join("records.jsonl")).unwrap()
}

/// A copy of the project's samples that may be spoilt.
fn copied_samples() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["data", "config"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        for entry in fs::read_dir(samples().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(
                &path,
                dir.path().join(folder).join(path.file_name().unwrap()),
            )
            .unwrap();
        }
    }
    dir
}

#[test]
fn every_dataset_runs_and_its_scores_are_in_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let args = [
        "--samples",
        "1",
        "--methods",
        "fullkv,windowkv",
        "--out",
        text(&out),
    ];
    let table = table(&[&[text(&samples())], &args[..]].concat());
    assert_eq!(table, fs::read_to_string(out.join("table.md")).unwrap());
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("| WindowKV | 12% |")),
        "{table}"
    );

    let records = records(&out);
    assert_eq!(records.lines().count(), 21 * 2);
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        // What LongBench's own scoring reads.
        assert!(record["pred"].is_string() && record["answers"].is_array());
        assert!(record["length"].is_u64() && record.get("all_classes").is_some());
        assert!(record["prompt_tokens"].as_u64() <= Some(2048));
    }
    let csv = fs::read_to_string(out.join("table.csv")).unwrap();
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let full: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(full[..4], ["all", "measured", "FullKV", "full"]);
    // The demo model finds these facts, so a zero would be the evaluation's fault.
    assert_eq!(full[4], "100.00", "{csv}");
    let scores = fs::read_to_string(out.join("scores.jsonl")).unwrap();
    let first: Value = serde_json::from_str(scores.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["id"], &first["score"]),
        (&json!("narrativeqa/1/FullKV/full"), &json!(1.0))
    );
}

#[test]
fn longbench_e_is_shown_by_length() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (samples(), dir.path().join("run"));
    let args = [
        text(&data),
        "--longbench-e",
        "--datasets",
        "qasper,trec",
        "--methods",
        "windowkv",
        "--out",
        text(&out),
    ];
    let printed = table(&args);
    for class in ["Length 0-4k:", "Length 4-8k:", "Length 8k+:"] {
        assert!(printed.contains(class), "{printed}");
    }
    assert_eq!(printed.matches("| *samples* | | 1 | 1 | |").count(), 3);
    assert_eq!(
        table(&["--score", text(&out)]),
        printed,
        "a run's folder says that it is LongBench-E's"
    );
    fails(
        &[text(&samples()), "--e", "--datasets", "musique"],
        1,
        &["LongBench-E has no musique"],
    );
}

#[test]
fn scoring_afterwards_gives_the_same_table() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, later) = (dir.path().join("whole"), dir.path().join("later"));
    let data = samples();
    let printed = table(&small(&data, &whole, &[]));
    let output = longbench(&small(&data, &later, &["--predict-only"]));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout.is_empty() && !later.join("table.md").exists());
    assert_eq!(records(&later), records(&whole));
    assert_eq!(table(&["--score", text(&later)]), printed);
    let elsewhere = dir.path().join("moved.jsonl");
    fs::copy(later.join("records.jsonl"), &elsewhere).unwrap();
    let scored = dir.path().join("scored");
    assert_eq!(
        table(&["--score", text(&elsewhere), "--out", text(&scored)]),
        printed
    );
    let csv = table(&["--score", text(&elsewhere), "--csv"]);
    assert_eq!(csv, fs::read_to_string(whole.join("table.csv")).unwrap());
    assert_eq!(csv, fs::read_to_string(scored.join("table.csv")).unwrap());
    // Going on with a finished run scores it.
    assert_eq!(table(&small(&data, &later, &["--resume"])), printed);
}

#[test]
fn shards_together_are_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (data, whole, merged) = (
        samples(),
        dir.path().join("whole"),
        dir.path().join("merged"),
    );
    let printed = table(&small(&data, &whole, &[]));
    let parts: Vec<PathBuf> = (1..=3)
        .map(|part| dir.path().join(part.to_string()))
        .collect();
    for (index, part) in parts.iter().enumerate() {
        let shard = format!("{}/3", index + 1);
        let printed = table(&small(&data, part, &["--shard", &shard]));
        assert!(printed.contains(&format!("Shard {shard}:")), "{printed}");
        let scored = table(&["--score", text(part)]);
        assert!(scored.contains("of the run's 40 cases"), "{scored}");
    }
    merge(&merged, &parts).unwrap();
    assert_eq!(records(&merged), records(&whole));
    assert_eq!(table(&["--score", text(&merged)]), printed);
}

#[test]
fn a_killed_run_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (data, whole, killed) = (
        samples(),
        dir.path().join("whole"),
        dir.path().join("killed"),
    );
    let begun = Instant::now();
    let printed = table(&small(&data, &whole, &[]));
    let undisturbed = begun.elapsed();
    let expected = records(&whole);
    let args = small(&data, &killed, &["--resume"]);
    let args = [&["longbench"], args.as_slice()].concat();
    const KILLS: u32 = 24;
    let mut interrupted = 0;
    for kill in 1..=KILLS {
        let mut child = windowkv(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Whatever the machine's speed, some of these moments lie within the work.
        std::thread::sleep(undisturbed * (kill % 8 + 1) / 8);
        let _ = child.kill();
        child.wait().unwrap();
        let done = std::fs::read_to_string(killed.join("records.jsonl")).unwrap_or_default();
        interrupted += usize::from(!done.is_empty() && done.len() < expected.len());
        if done.len() == expected.len() {
            std::fs::remove_dir_all(&killed).unwrap();
        }
    }
    assert!(
        interrupted >= 4,
        "{interrupted} of {KILLS} kills fell into the work"
    );
    assert_eq!(table(&small(&data, &killed, &["--resume"])), printed);
    assert_eq!(records(&killed), expected);
}

#[test]
fn a_run_goes_on_with_its_own_settings_and_data_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let data = copied_samples();
    table(&small(data.path(), &out, &[]));
    fails(
        &small(data.path(), &out, &[]),
        1,
        &["not empty", "--resume"],
    );
    let with = |more: &[&str], parts: &[&str]| {
        fails(
            &small(data.path(), &out, &[&["--resume"], more].concat()),
            1,
            parts,
        );
    };
    with(&["--samples", "1"], &["other settings", "samples"]);
    with(
        &["--score-pooling", "9"],
        &["other settings", "score_pooling"],
    );
    with(&["--max-input-len", "100"], &["max_input_len"]);
    let file = data.path().join("data/qasper.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("station", "harbour", 1)).unwrap();
    with(&[], &["files.qasper.sha256"]);
}

#[test]
fn bad_lines_are_told_with_file_and_line_and_counted() {
    let data = copied_samples();
    let file = data.path().join("data/lcc.jsonl");
    let good = fs::read(&file).unwrap();
    let lines = [
        good.as_slice(),
        b"{\"input\": \"\", \"context\": \"c\"\n",
        b"\xff\xfe\n",
        b"{\"input\": \"\", \"context\": \"c\", \"answers\": []}\n",
    ]
    .concat();
    fs::write(&file, lines).unwrap();
    let out = data.path().join("run");
    let args = [
        text(data.path()),
        "--datasets",
        "lcc",
        "--methods",
        "fullkv",
        "--out",
        text(&out),
    ];
    let output = longbench(&args);
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    for part in [
        "lcc.jsonl, line 3, column 28: EOF",
        "lcc.jsonl, line 4: not valid UTF-8",
        "lcc.jsonl, line 5: `answers` is empty",
        "3 lines that could not be used were skipped",
    ] {
        assert!(stderr.contains(part), "{part:?} is not in {stderr:?}");
    }
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("3 lines that could not be used were skipped"),
        "{table}"
    );
    assert_eq!(
        self::table(&["--score", text(&out)]),
        table,
        "a run's folder remembers"
    );
}

#[test]
fn what_is_missing_is_named() {
    let data = copied_samples();
    let (root, out) = (data.path(), data.path().join("run"));
    let with = |more: &[&str], code, parts: &[&str]| {
        fails(
            &[&[text(root), "--out", text(&out)], more].concat(),
            code,
            parts,
        );
    };
    with(
        &["--datasets", "squad"],
        2,
        &["\"squad\" is not a dataset of LongBench", "repobench-p"],
    );
    with(&["--methods", "x"], 2, &["windowkv"]);
    with(&["--samples", "0"], 2, &["samples"]);
    with(&["--score", "x.jsonl"], 2, &["--score"]);
    with(&["--capacities", "64,64"], 1, &["comes twice"]);
    fs::remove_file(root.join("data/lcc.jsonl")).unwrap();
    with(&["--datasets", "lcc"], 1, &["there is no", "lcc.jsonl"]);
    fs::remove_file(root.join("config/dataset2maxlen.json")).unwrap();
    with(&[], 1, &["there is no", "dataset2maxlen.json"]);
    fs::remove_dir_all(root.join("data")).unwrap();
    with(&[], 1, &["data has no file of a dataset", "qasper.jsonl"]);
    fails(&[], 2, &["DIR"]);
    fails(
        &["--score", text(&root.join("nowhere.jsonl"))],
        1,
        &["nowhere.jsonl"],
    );
    assert!(!out.exists(), "nothing was begun");
}

#[test]
fn predictions_of_several_models_stand_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let write = |model: &str, dataset: &str, pred: &str| {
        let line =
            json!({"pred": pred, "answers": ["北京大学"], "all_classes": null, "length": 5000});
        let path = dir.path().join(model);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(dataset), format!("{line}\n")).unwrap();
        path
    };
    let one = write("one", "multifieldqa_zh.jsonl", "北京大学");
    let other = write("other", "multifieldqa_zh.jsonl", "南京");
    let table = table(&["--score", text(&one), "--score", text(&other)]);
    assert!(
        table.contains("| one | - | **100.00** | **100.00** |"),
        "{table}"
    );
    assert!(table.contains("| other | - | 0.00 | 0.00 |"), "{table}");
}

/// A model whose tokens are bytes, and whose chat form refuses every conversation.
fn model_that_refuses_to_chat() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut config = TestCheckpoint::llama_config();
    config["vocab_size"] = json!(260);
    config["max_position_embeddings"] = json!(4096);
    let checkpoint = TestCheckpoint::new(config, DType::Bf16);
    checkpoint.write(dir.path()).unwrap();
    let tokenizer = byte_tokenizer(&["<s>", "</s>"]).to_string();
    fs::write(dir.path().join("tokenizer.json"), tokenizer).unwrap();
    let template = json!({"chat_template": "{{ raise_exception('no chat') }}"}).to_string();
    fs::write(dir.path().join("tokenizer_config.json"), template).unwrap();
    dir
}

#[test]
fn examples_and_code_do_not_take_the_chat_form() {
    let (data, model, out) = (
        samples(),
        model_that_refuses_to_chat(),
        tempfile::tempdir().unwrap(),
    );
    let mut runs = 0;
    let mut run = |datasets: &str, more: &[&str]| {
        runs += 1;
        let out = out.path().join(runs.to_string());
        let args = [
            "--model-dir",
            text(model.path()),
            "--samples",
            "1",
            "--methods",
            "windowkv",
            "--capacities",
            "64",
            "--datasets",
            datasets,
            "--out",
            text(&out),
        ];
        let output = longbench(&[&[text(&data)], &args[..], more].concat());
        (output.status.code(), stderr(&output))
    };
    let (code, stderr) = run("trec,triviaqa,samsum,lsht,lcc,repobench-p", &[]);
    assert_eq!(code, Some(0), "{stderr}");
    for dataset in ["qasper", "dureader", "gov_report", "passage_count"] {
        let (code, stderr) = run(dataset, &[]);
        assert!(
            code == Some(1) && stderr.contains("no chat"),
            "{dataset}: {stderr}"
        );
    }
    let (code, stderr) = run("qasper,gov_report", &["--no-chat-template"]);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn the_papers_figures_stand_beside_those_of_its_models() {
    struct One(Prediction);
    impl Case for One {
        fn id(&self) -> String {
            self.0.capacity.clone().unwrap_or_default()
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let case = |capacity: &str| {
        let prediction = json!({
            "dataset": "qasper", "line": 1, "_id": null, "method": "WindowKV", "capacity": capacity, "pred": "red",
            "answers": ["red"], "all_classes": null, "length": 9, "prompt_tokens": 9, "prompt_tokens_cut": 0,
            "new_tokens": 1, "finish": "length", "kept_share": 1.0, "kv_bytes": 1,
        });
        One(serde_json::from_value(prediction).unwrap())
    };
    for (model, published) in [(Some("Qwen2.5-1.5B-Instruct"), 1), (None, 0)] {
        let run = dir.path().join(published.to_string());
        let plan = Plan::new(vec![case("1024"), case("256")]).unwrap();
        let settings = json!({"known_as": model});
        let start = Start {
            command: "longbench",
            settings,
            labels: serde_json::Map::new(),
            shard: Shard::WHOLE,
            resume: false,
        };
        let mut begun = Run::<Prediction>::open(&run, start, &plan).unwrap();
        let mut work = |cases: &[&One]| Ok(cases.iter().map(|case| case.0.clone()).collect());
        begun.work(&plan, &mut work, &mut |_| ()).unwrap();
        let printed = table(&["--score", text(&run)]);
        let row = "| WindowKV *(published)* | 1024 | - | 31.58 |";
        assert_eq!(
            printed.matches("(published)").count(),
            published,
            "{printed}"
        );
        assert_eq!(printed.matches(row).count(), published, "{printed}");
    }
}

/// Real samples of LongBench lie beside the project where it is developed; they are no part of it.
#[test]
fn longbenchs_own_files_are_read() {
    let dir = std::env::var_os("WINDOWKV_LONGBENCH").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/longbench"),
        PathBuf::from,
    );
    if !dir.join("data").is_dir() {
        eprintln!(
            "skipped: no LongBench in {} (WINDOWKV_LONGBENCH)",
            dir.display()
        );
        return;
    }
    let (datasets, others) = datasets_in(&dir, false).unwrap();
    assert!(others.is_empty(), "{others:?}");
    let prompts = Prompts::load(&dir, &datasets).unwrap();
    for &dataset in &datasets {
        let file = DataFile::open(&dir, dataset, false).unwrap();
        assert_eq!(file.skipped().count, 0, "{:?}", file.skipped());
        assert!(prompts.max_new_tokens(dataset) > 0);
        for index in 0..file.len() {
            let sample = file.sample(index).unwrap();
            let prompt = prompts
                .template(dataset)
                .fill(&sample.context, &sample.input);
            assert!(prompt.contains(&sample.context) && prompt.contains(&sample.input));
            let classes = sample.all_classes.clone().unwrap_or_default();
            let right = score(dataset, &sample.answers[0], &sample.answers, &classes);
            assert!(
                (right - 1.0).abs() < 1e-6,
                "{dataset}, line {}: {right}",
                file.line(index)
            );
        }
    }
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    let args = [
        text(&dir),
        "--samples",
        "1",
        "--methods",
        "windowkv",
        "--out",
        text(&run),
    ];
    let printed = table(&args);
    for dataset in datasets {
        assert!(printed.contains(dataset.title()), "{printed}");
    }
}
