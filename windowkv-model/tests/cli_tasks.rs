//! The program's task classification, from its arguments to its exit code.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use windowkv_model::demo::prompts::{PromptSettings, prompt};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bert-fixture");
const CLASSIFIER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/bert-fixture/classifier.pth"
);

#[derive(Debug)]
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn run(args: &[&str], stdin: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_windowkv"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    let run = Run {
        code: output.status.code().expect("no signal ends the program"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!run.stderr.contains("panicked"), "{run:?}");
    run
}

#[track_caller]
fn succeeds(args: &[&str], stdin: &str) -> Run {
    let run = run(args, stdin.as_bytes());
    assert_eq!(run.code, 0, "{args:?}: {run:?}");
    run
}

#[track_caller]
fn ends(code: i32, args: &[&str], stdin: &[u8], part: &str) {
    let run = run(args, stdin);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (code, ""),
        "{args:?}: {run:?}"
    );
    assert!(
        run.stderr.contains(part),
        "{part:?} is not in {}",
        run.stderr
    );
}

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

fn question() -> String {
    let settings = PromptSettings {
        tokens: 500,
        facts: 4,
        answer_tokens: 3,
        depth: None,
    };
    prompt(&settings, 11, 0).unwrap().text
}

fn summary() -> String {
    let question = question();
    let text = question.split("Question:").next().unwrap();
    format!("Summarize the text below in a paragraph.\n\n{text}\n\nSummary:")
}

#[test]
fn classify_says_the_task_of_one_prompt() {
    let text = succeeds(&["classify"], &summary()).stdout;
    assert!(
        text.starts_with("aggregation  score ") && text.contains("margin +"),
        "{text}"
    );
    let (_dir, path) = file("prompt.txt", question().as_bytes());
    let report = succeeds(&["classify", "--prompt-file", &path, "--json"], "").json();
    assert_eq!(report["task"], "localization");
    assert_eq!(report["source"], "embedded");
    assert!(report["margin"].as_f64().unwrap() < 0.0, "{report}");
    let unclear = succeeds(&["classify", "--prompt", "xyzzy qwrt"], "");
    assert!(unclear.stdout.starts_with("localization"), "{unclear:?}");
    assert!(unclear.stderr.contains("margin is small"), "{unclear:?}");
}

#[test]
fn classify_reads_json_lines() {
    let lines =
        [summary(), question()].map(|prompt| json!({"prompt": prompt, "text": "hm"}).to_string());
    let (_dir, path) = file(
        "p.jsonl",
        format!("{}\n\n{}", lines[0], lines[1]).as_bytes(),
    );
    let table = succeeds(&["classify", "--jsonl", &path], "").stdout;
    let rows: Vec<_> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows[1].contains("     1  aggregation"), "{table}");
    assert!(rows[2].contains("     3  localization"), "{table}");
    let out = succeeds(&["classify", "--jsonl", "-", "--json"], &lines.join("\n")).stdout;
    let tasks: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&tasks[0]["task"], &tasks[1]["task"]),
        (&json!("aggregation"), &json!("localization"))
    );
    assert_eq!(
        (&tasks[0]["line"], &tasks[1]["line"]),
        (&json!(1), &json!(2))
    );
    succeeds(&["classify", "--jsonl", &path, "--field", "text"], "");
}

#[test]
fn classify_asks_bert_where_it_is_given() {
    let bert = ["--bert_model_dir", FIXTURE, "--classifier_dir", CLASSIFIER];
    let text = "Summarize the meeting: who was in Paris?";
    let report = succeeds(&[&["classify", "--json"][..], &bert].concat(), text).json();
    assert_eq!(
        (&report["source"], &report["task"]),
        (&json!("bert"), &json!("aggregation"))
    );
    assert_eq!(report["logits"].as_array().unwrap().len(), 2);
    assert_eq!(report["softmax"].as_array().unwrap().len(), 2);
    let text = succeeds(&[&["classify"][..], &bert].concat(), text).stdout;
    assert!(
        text.contains("logits") && text.contains("softmax"),
        "{text}"
    );
}

#[test]
fn accuracy_is_shown_with_a_confusion_matrix() {
    let table = succeeds(&["classify", "accuracy", "--variants", "2"], "").stdout;
    for part in [
        "kind of instruction",
        "document_qa",
        "confusion: true task",
        "accuracy 9",
    ] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let lines = [
        json!({"prompt": summary(), "task": "aggregation"}),
        json!({"prompt": question(), "task": "aggregation"}),
    ];
    let (_dir, path) = file(
        "l.jsonl",
        format!("{}\n{}\n", lines[0], lines[1]).as_bytes(),
    );
    let report = succeeds(&["classify", "accuracy", "--jsonl", &path, "--json"], "").json();
    assert_eq!(report["confusion"]["matrix"], json!([[0, 0], [1, 1]]));
    assert_eq!(report["accuracy"], 0.5);
}

#[test]
fn odd_input_is_told() {
    ends(1, &["classify"], b"", "the prompt is empty");
    ends(1, &["classify"], b" \n", "the prompt is empty");
    ends(1, &["classify"], b"\xff\xfe\x00", "not valid UTF-8");
    ends(
        1,
        &["classify", "--prompt-file", "absent.txt"],
        b"",
        "absent.txt",
    );
    ends(
        1,
        &["classify", "--jsonl", FIXTURE],
        b"",
        "not a regular file",
    );
    let json = ["classify", "--jsonl", "-", "--json"];
    ends(1, &json, b"{\"prompt\": \"a", "line 1, column 13: EOF");
    ends(1, &json, b"{\"prompt\": 3}\n", "not a string");
    ends(1, &json, b"{\"text\": \"a\"}\n", "no field `prompt`");
    ends(
        1,
        &json,
        b"{\"prompt\": \"\"}\n",
        "line 1: its field `prompt` is empty",
    );
    ends(
        1,
        &["classify", "accuracy", "--jsonl", "-"],
        b"{\"prompt\": \"a\", \"task\": \"qa\"}\n",
        "\"qa\"",
    );
    for command in [
        &["classify", "--jsonl", "-"][..],
        &["classify", "accuracy", "--jsonl", "-"],
    ] {
        ends(1, command, b"", "standard input has no prompt");
    }
    ends(2, &["classify", "--field", "text"], b"a", "--jsonl");
    ends(
        2,
        &["classify", "--prompt", "a", "--jsonl", "b"],
        b"",
        "cannot be used with",
    );
    ends(
        2,
        &["classify", "--bert-model-dir", FIXTURE],
        b"a",
        "--classifier-dir",
    );
    ends(
        2,
        &["generate", "--classifier-dir", CLASSIFIER],
        b"a",
        "--bert-model-dir",
    );
    ends(
        2,
        &["generate", "--aggregation", "window=0"],
        b"a",
        "window is 0",
    );
    ends(
        2,
        &["generate", "--localization", "p"],
        b"a",
        "\"p\" is not",
    );
    let swapped = [
        "classify",
        "--bert-model-dir",
        CLASSIFIER,
        "--classifier-dir",
        FIXTURE,
    ];
    ends(1, &swapped, b"a", "config.json");
}

/// 10 MB, in one line without spaces and in words.
#[test]
fn a_long_prompt_is_no_trouble() {
    for text in ["x".repeat(10_000_000), "so many words ".repeat(714_000)] {
        let report = succeeds(&["classify", "--json"], &text).json();
        assert!(report["seconds"].as_f64().unwrap() < 1.0, "{report}");
    }
    ends(1, &["classify"], &vec![b'x'; (1 << 24) + 1], "16777216");
}

#[test]
fn generate_follows_the_task_and_reports_it() {
    let common = [
        "generate",
        "--max-new-tokens",
        "2",
        "--max-capacity-prompt",
        "64",
    ];
    let with = |more: &[&str], prompt: &str| succeeds(&[&common[..], more].concat(), prompt);
    let window = |run: &Run| run.json()["compression"]["window"].clone();

    let local = with(&["--json"], &question());
    let global = with(&["--json"], &summary());
    assert_eq!(local.json()["task"]["task"], "localization");
    assert_eq!(global.json()["task"]["task"], "aggregation");
    for report in [local.json(), global.json()] {
        let task = &report["task"];
        assert_eq!(task["source"], "embedded");
        assert!(task["score"].as_f64().unwrap() > 0.5, "{report}");
        // How fast it is another test asks: here other tests run beside it.
        let seconds = task["seconds"].as_f64().unwrap();
        let timing = ["prefill_seconds", "decode_seconds"]
            .map(|part| report["timing"][part].as_f64().unwrap());
        let share = seconds / (seconds + timing[0] + timing[1]);
        assert!(seconds > 0.0, "{report}");
        assert!(
            (task["share_of_run"].as_f64().unwrap() - share).abs() < 1e-9,
            "{report}"
        );
        assert!(task["load_seconds"].as_f64().is_some(), "{report}");
    }
    let settings = |window: &Value| {
        (
            window["window_len"].clone(),
            window["suffix_len"].clone(),
            window["strategy"].clone(),
        )
    };
    assert_eq!(
        settings(&window(&local)),
        (json!(8), json!(16), json!("average"))
    );
    assert_eq!(
        settings(&window(&global)),
        (json!(16), json!(32), json!("max"))
    );
    let released = with(&["--json", "--task-mapping", "released"], &summary());
    assert_eq!(
        settings(&window(&released)),
        (json!(8), json!(16), json!("average"))
    );

    // --task always wins, and an override is of its own task alone.
    let given = with(&["--json", "--task", "localization"], &summary());
    assert_eq!(settings(&window(&given)), settings(&window(&local)));
    assert_eq!(given.json()["task"]["source"], "given");
    let overridden = [
        "--json",
        "--aggregation",
        "window=4,suffix=9,p=3,strategy=average",
    ];
    let global = window(&with(&overridden, &summary()));
    assert_eq!(settings(&global), (json!(4), json!(9), json!("average")));
    assert_eq!(global["top_tokens"], 3);
    assert_eq!(window(&with(&overridden, &question())), window(&local));

    let table = with(&[], &summary()).stderr;
    assert!(
        table.contains("task: aggregation, by the embedded classifier, score "),
        "{table}"
    );
    assert!(table.contains("% of the run)"), "{table}");
    let unclear = with(&[], "xyzzy qwrt");
    assert!(
        unclear.stderr.contains("taken as localization"),
        "{unclear:?}"
    );
    // The other methods have no strategy to choose.
    assert_eq!(
        with(&["--json", "--method", "snapkv"], &summary()).json()["task"],
        Value::Null
    );
}

#[test]
fn generate_asks_bert_where_it_is_given() {
    let bert = [
        "generate",
        "--max-new-tokens",
        "2",
        "--bert-model-dir",
        FIXTURE,
        "--classifier-dir",
        CLASSIFIER,
    ];
    let run = succeeds(&[&bert[..], &["--json"]].concat(), &summary());
    assert_eq!(run.json()["task"]["source"], "bert");
    let given = succeeds(
        &[&bert[..], &["--task", "aggregation"]].concat(),
        &summary(),
    );
    assert!(
        given.stderr.contains("not used, the task is given"),
        "{given:?}"
    );
    let hostile = ["generate", "--bert-model-dir", FIXTURE, "--classifier-dir"];
    let (_dir, path) = file("c.pth", b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.");
    ends(
        1,
        &[&hostile[..], &[&path]].concat(),
        summary().as_bytes(),
        "before 2020",
    );
}

fn records(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("records.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn manifest(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn niah_classifies_each_prompt_once() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    let grid = [
        "niah",
        "--lengths=128",
        "--depths=0,100",
        "--prompts=2",
        "--methods=windowkv,windowkv:9,snapkv",
        "--capacities=40",
        "--out",
        dir.to_str().unwrap(),
    ];
    let run = succeeds(&[&grid[..], &["-v"]].concat(), "");
    let decisions = run.stderr.matches("decision=TaskDecision").count();
    assert_eq!(decisions, 4, "{}", run.stderr);
    let found = records(&dir);
    assert_eq!(found.len(), 12);
    for record in found {
        assert_eq!(record["task"], "localization");
        assert!(record["task_score"].as_f64().unwrap() > 0.55, "{record}");
    }
    let settings = manifest(&dir)["settings"].clone();
    assert_eq!(settings["task"]["auto"]["classifier"], "embedded");
    let methods = &settings["grid"]["variants"];
    let strategy = |task: &str| methods[0][task]["window"]["strategy"].clone();
    assert_eq!(
        (strategy("localization"), strategy("aggregation")),
        (json!("average"), json!("max"))
    );
    // Another task or classifier is another run.
    let bert = ["--bert-model-dir", FIXTURE, "--classifier-dir", CLASSIFIER];
    for (other, part) in [
        (&["--task=aggregation"][..], "mix: task is "),
        (
            &bert[..],
            "task.auto.classifier is \"embedded\" there and \"bert\" here",
        ),
    ] {
        let args = [&grid[..], &["--resume"], other].concat();
        ends(1, &args, b"", part);
    }
}

#[test]
fn evaluations_follow_a_given_task_and_leave_methods_without_one_alone() {
    let parent = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let dir = parent.path().join(name);
        let grid = ["niah", "--lengths=128", "--depths=50", "--prompts=1"];
        let out = ["--capacities=64", "--out", dir.to_str().unwrap()];
        let said = succeeds(&[&grid[..], &out, more].concat(), "").stderr;
        (records(&dir), said)
    };
    let (auto, _) = run("auto", &["--methods=windowkv"]);
    let (global, _) = run("global", &["--methods=windowkv", "--task=aggregation"]);
    assert_eq!(
        (&global[0]["task"], &global[0]["task_score"]),
        (&json!("aggregation"), &json!(1.0))
    );
    assert_ne!(auto[0]["kv_bytes"], global[0]["kv_bytes"]);
    let bert = ["--bert-model-dir", FIXTURE, "--classifier-dir", CLASSIFIER];
    let (other, said) = run("other", &[&["--methods=snapkv"][..], &bert].concat());
    assert_eq!(other[0]["task"], Value::Null);
    assert!(
        said.contains("not used, the method does not depend"),
        "{said}"
    );
}

#[test]
fn longbench_classifies_each_sample() {
    const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/longbench");
    let parent = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let dir = parent.path().join(name);
        let args = [
            "longbench",
            DATA,
            "--samples=1",
            "--datasets=qasper,gov_report",
        ];
        let out = ["--methods=windowkv,snapkv", "--out", dir.to_str().unwrap()];
        let run = succeeds(&[&args[..], &out, more].concat(), "");
        let decisions = run.stderr.matches("decision=TaskDecision").count();
        let records = records(&dir);
        let tasks: Vec<_> = records
            .iter()
            .map(|record| {
                let text = |field| record[field].as_str().unwrap().to_owned();
                (text("dataset"), text("task"))
            })
            .collect();
        (tasks, decisions)
    };
    let pairs = |tasks: [(&str, &str); 4]| tasks.map(|(a, b)| (a.to_owned(), b.to_owned()));
    let (tasks, decisions) = run("auto", &["-v"]);
    let expected = pairs([
        ("qasper", "localization"),
        ("qasper", "localization"),
        ("gov_report", "aggregation"),
        ("gov_report", "aggregation"),
    ]);
    assert_eq!((tasks.as_slice(), decisions), (&expected[..], 2));
    let (tasks, decisions) = run("given", &["-v", "--task=localization"]);
    let given = expected.map(|(dataset, _)| (dataset, "localization".to_owned()));
    assert_eq!((tasks.as_slice(), decisions), (&given[..], 0));
}

#[test]
fn inspect_and_info_say_which_task_they_show() {
    let local = succeeds(&["inspect", "-", "--json"], &question()).json();
    let global = succeeds(&["inspect", "-", "--json"], &summary()).json();
    for (report, task, window) in [(&local, "localization", 8), (&global, "aggregation", 16)] {
        assert_eq!(report["task"], task);
        assert!(report["task_score"].as_f64().unwrap() > 0.55);
        let methods = report["methods"].as_array().unwrap();
        let windowkv = methods.iter().find(|method| method["method"] == "windowkv");
        assert_eq!(windowkv.unwrap()["windows"]["window_len"], window);
    }
    let other = ["inspect", "-", "--json", "--method", "snapkv"];
    assert_eq!(succeeds(&other, &summary()).json()["task"], Value::Null);
    let info = succeeds(&["info", "--json"], "").json();
    let note = info["notes"][0].as_str().unwrap();
    assert!(
        note.contains("there is none: shown is localization"),
        "{note}"
    );
}
