//! The form of GPU records, what is made of them, and README.md's section.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use windowkv_benches::record::compare::{Verdict, compare, markdown};
use windowkv_benches::record::{
    Needed, REQUIRED_STEPS, Record, Status, Step, readme, roofline, table,
};

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
    let shown = std::fs::read_to_string(path.with_extension("md")).expect("its table beside it");
    assert_eq!(shown, table::whole(&synthetic()));
}

/// Valid is earned: each of these takes it away, and says why.
#[test]
fn a_record_is_valid_only_with_every_check() {
    let without = |change: &dyn Fn(&mut Record), why: &str| {
        let mut record = synthetic();
        change(&mut record);
        let shortcoming = record.shortcoming().expect(why);
        assert!(shortcoming.contains(why), "{shortcoming}");
        let error = record.check().expect_err(why);
        assert!(
            error.contains("valid, but") && error.contains(why),
            "{error}"
        );
        record.valid = false;
        let rest = record.check().err().unwrap_or_default();
        assert!(!rest.contains("valid, but"), "{rest}");
    };
    assert_eq!(synthetic().shortcoming(), None);
    for name in REQUIRED_STEPS {
        without(&|r| r.steps.retain(|step| step.name != name), name);
        for status in [Status::Failed, Status::TimedOut, Status::Skipped] {
            let step = |r: &mut Record| {
                let step = r.steps.iter_mut().find(|step| step.name == name);
                let step = step.expect("it is there");
                // Whatever the step says of itself.
                (step.status, step.needed) = (status, Needed::No);
            };
            without(&step, name);
        }
    }
    let step = |needed, status| Step {
        name: "another".to_owned(),
        status,
        needed,
        seconds: 1.0,
        said: String::new(),
    };
    without(
        &|r| r.steps.push(step(Needed::ToPass, Status::TimedOut)),
        "another",
    );
    without(
        &|r| r.steps.push(step(Needed::NotToFail, Status::Failed)),
        "another",
    );
    without(&|r| r.ceilings.retain(|c| c.when == "begin"), "the end");
    without(&|r| r.ceilings.retain(|c| c.when == "end"), "the begin");
    without(&|r| r.steps.clear(), "kernels-tests");
    without(&|r| r.lines.clear(), "no kernel was timed");
    // These take nothing away.
    let mut record = synthetic();
    record.steps.push(step(Needed::NotToFail, Status::TimedOut));
    record.steps.push(Step {
        name: "a bench".to_owned(),
        ..step(Needed::No, Status::Failed)
    });
    assert_eq!(record.shortcoming(), None);
    assert_eq!(record.check(), Ok(()));
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
    wrong(
        &|v| v["lines"][0]["floor_seconds"] = json!(1e-3),
        "floor_seconds",
    );
    wrong(
        &|v| v["lines"][0]["floor_seconds"] = Value::Null,
        "floor_seconds",
    );
    // Without a rate of products there is no floor of a product.
    wrong(
        &|v| v["ceilings"][0]["product_operations_per_second"] = Value::Null,
        "floor_seconds",
    );
    wrong(&|v| v["lines"][0]["copies"] = json!(99), "copies");
    wrong(&|v| v["lines"][1] = v["lines"][0].clone(), "two lines");
    let twice = |v: &mut Value| {
        let step = v["steps"][0].clone();
        v["steps"].as_array_mut().expect("a list").push(step);
    };
    wrong(&twice, "two steps");
    wrong(&|v| v["ceilings"][1] = v["ceilings"][0].clone(), "the end");
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
        text.contains("| sanitizer-memcheck | skipped: compute-sanitizer: not found |"),
        "{text}"
    );
    assert!(!text.contains("NOT VALID"), "{text}");
    assert!(text.contains("SM 1755 to 1755 MHz"), "{text}");
    // A launch of nothing takes longer than its bytes; and its inputs never left the cache.
    assert!(
        text.contains("| 1 x 16384 | 3.10 us (L2-warm) |") && text.contains("| 0.00 TB/s | - |"),
        "{text}"
    );
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
    let compared = compare(&old, &new).expect("one device");
    let found = &compared.changes;
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
    let text = markdown(&compared);
    assert!(text.contains("2 of 4 lines are the same"), "{text}");
    assert!(
        !text.contains("Only in") && !text.contains("not valid"),
        "{text}"
    );

    // What cannot be compared is told, and so is a record that proves nothing.
    let mut less = new.clone();
    less.lines.remove(0);
    less.valid = false;
    less.steps.clear();
    let text = markdown(&compare(&old, &less).expect("one device"));
    assert!(
        text.contains("Only in the old record:\n\n- prefill Llama-3-8B 1x16384 bf16"),
        "{text}"
    );
    assert!(
        text.contains("The new record is not valid: there is no step kernels-tests."),
        "{text}"
    );
    let text = markdown(&compare(&less, &new).expect("one device"));
    assert!(
        text.contains("Only in the new record") && text.contains("The old record is not"),
        "{text}"
    );

    let other = Record {
        device: "another".into(),
        ..new
    };
    assert!(compare(&old, &other).is_err());
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
    // The newest of each topic.
    let mut newer = measured.clone();
    newer.date = "2026-01-02T00:00:00Z".to_owned();
    let mut other = measured.clone();
    other.topic = "decode".to_owned();
    let named = |name: &str, record: &Record| (PathBuf::from(name), record.clone());
    let three = [
        named("a", &measured),
        named("b", &newer),
        named("c", &other),
    ];
    let text = readme::section(&three);
    assert!(
        !text.contains("(a, ") && text.contains("(b, ") && text.contains("(c, "),
        "{text}"
    );
    measured.valid = false;
    assert!(readme::section(&[(path, measured)]).starts_with("No kernel"));
}

/// Each kernel that multiplies is a point, and another beside its name; what the record is stands below the title.
#[test]
fn a_roofline_is_drawn_from_a_record() {
    let mut record = synthetic();
    let svg = roofline::chart(&record).expect("it has ceilings").svg();
    assert_eq!(svg.matches("<circle").count(), 2 * 3);
    for part in [
        "Kernels on SYNTHETIC GPU",
        "SYNTHETIC, nobody measured it",
        "prefill, Llama-3-8B",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(!svg.contains("NOT VALID"));
    record.valid = false;
    let svg = roofline::chart(&record).expect("it has ceilings").svg();
    assert!(svg.contains("NOT VALID"));
    record.ceilings.clear();
    assert!(roofline::chart(&record).is_err());
}
