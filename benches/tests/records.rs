//! The form of GPU records, what is made of them, and README.md's section.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use windowkv_benches::record::compare::{Verdict, changes, markdown};
use windowkv_benches::record::{Record, Status, readme, table};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn synthetic() -> Record {
    let path = root().join("benches/tests/synthetic/2026-01-01-kernels.json");
    Record::read(&path).expect("the synthetic record holds together")
}

#[test]
fn every_committed_record_of_a_gpu_holds_together() {
    let folder = root().join("benches/record");
    let records = readme::records(&folder).expect("they hold together");
    for (path, record) in &records {
        assert!(!record.synthetic, "{}: nobody measured it", path.display());
        let name = path.file_name().expect("a name").to_string_lossy();
        let expected = format!("{}-{}.json", &record.date[..10], record.topic);
        assert_eq!(name, expected, "{}", path.display());
    }
    println!("{} records of GPUs", records.len());
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("record.json");
    synthetic().write(&path).expect("it is written");
    assert_eq!(Record::read(&path), Ok(synthetic()));
}

/// Each with one thing that is wrong, and what the error has to say.
#[test]
fn what_does_not_hold_together_is_told() {
    let good = serde_json::to_value(synthetic()).expect("JSON");
    let wrong = |change: &dyn Fn(&mut Value), part: &str| {
        let mut value = good.clone();
        change(&mut value);
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("record.json");
        std::fs::write(&path, value.to_string()).expect("a file");
        let error = Record::read(&path).expect_err(part);
        assert!(error.contains(part), "{error}");
        assert!(error.contains("record.json"), "{error}");
    };
    wrong(&|v| v["schema"] = json!("other/1"), "schema");
    wrong(&|v| v["new_field"] = json!(1), "unknown field");
    wrong(&|v| v["lines"][0]["new_field"] = json!(1), "unknown field");
    wrong(&|v| v["date"] = json!("yesterday"), "date");
    wrong(
        &|v| v["steps"][0]["status"] = json!("failed"),
        "kernels-tests did not pass",
    );
    wrong(
        &|v| v["ceilings"][0]["copy_bytes_per_second"] = json!(0.0),
        "ceiling",
    );
    wrong(&|v| v["lines"][0]["ours"]["rounds"] = json!([]), "rounds");
    wrong(
        &|v| v["lines"][0]["ours"]["rounds"][1] = json!(-1.0),
        "rounds",
    );
    wrong(&|v| v["lines"][0]["ours"]["seconds"] = json!(1.0), "median");
    wrong(
        &|v| v["lines"][0]["part_of_floor"] = json!(0.99),
        "part_of_floor",
    );
    wrong(
        &|v| v["lines"][0]["peers"][0]["ratio"] = json!(2.0),
        "ratio",
    );
    wrong(&|v| v["lines"][1] = v["lines"][0].clone(), "two lines");
}

#[test]
fn the_table_has_every_line_and_says_what_a_record_is() {
    let mut record = synthetic();
    let text = table::whole(&record);
    assert!(text.contains("SYNTHETIC: nobody measured"), "{text}");
    assert!(
        text.contains("| prefill | Llama-3-8B | 1 x 16384 | 4.000 ms |"),
        "{text}"
    );
    assert!(text.contains("SDPA cuDNN | 0.85 |"), "{text}");
    assert!(
        text.contains("sanitizer-memcheck: compute-sanitizer: not found"),
        "{text}"
    );
    assert!(!text.contains("NOT VALID"), "{text}");
    record.steps[0].status = Status::Failed;
    record.valid = false;
    assert!(table::whole(&record).contains("NOT VALID"));
}

#[test]
fn a_change_is_told_from_noise() {
    let old = synthetic();
    let mut new = old.clone();
    let scale = |record: &mut Record, index: usize, factor: f64| {
        let line = &mut record.lines[index];
        line.ours
            .rounds
            .iter_mut()
            .for_each(|seconds| *seconds *= factor);
        line.ours.seconds *= factor;
    };
    // The rounds of a line lie within a hundredth of its median.
    scale(&mut new, 0, 0.9);
    scale(&mut new, 1, 1.2);
    scale(&mut new, 2, 1.015);
    let found = changes(&old, &new).expect("one device");
    let verdict = |kernel: &str| {
        let change = found.iter().find(|change| change.name.starts_with(kernel));
        change.expect("it is in both").verdict
    };
    assert_eq!(verdict("prefill"), Verdict::Faster);
    assert_eq!(verdict("decode"), Verdict::Slower);
    assert_eq!(verdict("score"), Verdict::Same);
    assert_eq!(verdict("select"), Verdict::Same);
    assert!(
        found[0].name.starts_with("decode"),
        "the greatest change first"
    );
    assert!(markdown(&found).contains("2 of 4 lines are the same"));
    let other = Record {
        device: "another".into(),
        ..new
    };
    assert!(changes(&old, &other).is_err());
}

/// The section holds what the records say, and a synthetic or invalid record is none.
#[test]
fn the_readme_shows_what_the_records_say_and_nothing_else() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let records = readme::records(&root().join("benches/record")).expect("they hold together");
    let updated = readme::updated(&text, &records).expect("it has the section");
    assert!(updated == text, "run `gpu-bench readme`");

    let path = PathBuf::from("2026-01-01-kernels.json");
    let mut measured = synthetic();
    assert!(readme::section(&[(path.clone(), measured.clone())]).starts_with("No kernel"));
    measured.synthetic = false;
    assert!(readme::section(&[(path.clone(), measured.clone())]).contains("| prefill |"));
    measured.valid = false;
    assert!(readme::section(&[(path, measured)]).starts_with("No kernel"));
}
