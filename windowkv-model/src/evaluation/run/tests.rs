//! Runs, interruptions and merges on cases that cost nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::Error;

const CASES: usize = 12;

#[derive(Debug)]
struct Number(usize);

impl Case for Number {
    fn id(&self) -> String {
        format!("number {}", self.0)
    }
    fn unit(&self) -> String {
        (self.0 / 2).to_string()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Third {
    third: f64,
}

fn plan() -> Plan<Number> {
    Plan::new((0..CASES).map(Number).collect()).unwrap()
}

fn start(shard: &str, resume: bool) -> Start<'static> {
    Start {
        command: "thirds",
        settings: json!({"divisor": 3}),
        labels: serde_json::Map::new(),
        shard: shard.parse().unwrap(),
        resume,
    }
}

fn work(cases: &[&Number]) -> crate::Result<Vec<Third>> {
    let third = |case: &&Number| Third {
        third: case.0 as f64 / 3.0,
    };
    Ok(cases.iter().map(third).collect())
}

/// Works on a folder until `most` cases were done in this go, then fails.
fn go(dir: &Path, start: Start<'_>, most: usize) -> crate::Result<usize> {
    let mut run = Run::open(dir, start, &plan())?;
    let mut left = most;
    let done = run.work(
        &plan(),
        &mut |cases| {
            left = left.checked_sub(cases.len()).ok_or(Error::EmptyPrompt)?;
            work(cases)
        },
        &mut |_| (),
    );
    match done {
        Ok(()) | Err(Error::EmptyPrompt) => Ok(run.done()),
        Err(error) => Err(error),
    }
}

fn whole(dir: &Path) -> String {
    assert_eq!(go(dir, start("1/1", false), CASES).unwrap(), CASES);
    fs::read_to_string(dir.join(RECORDS)).unwrap()
}

#[track_caller]
fn refuses<T: std::fmt::Debug>(result: crate::Result<T>, parts: &[&str]) {
    let error = result.unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

/// The folders of `count` finished shards.
fn shards(parent: &Path, count: usize) -> Vec<PathBuf> {
    let dirs = (1..=count).map(|index| {
        let dir = parent.join(format!("part {index} of {count}"));
        go(&dir, start(&format!("{index}/{count}"), false), CASES).unwrap();
        dir
    });
    dirs.collect()
}

#[test]
fn an_interrupted_run_goes_on_and_repeats_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let expected = whole(&parent.path().join("whole"));
    let dir = parent.path().join("parts");
    for done in [2, 4, 6, 8, 10, 12, 12] {
        assert_eq!(go(&dir, start("1/1", true), 2).unwrap(), done);
    }
    assert_eq!(fs::read_to_string(dir.join(RECORDS)).unwrap(), expected);
    let finished = Finished::<Third>::read(&dir, "thirds").unwrap();
    let thirds: Vec<f64> = finished.records.iter().map(|r| r.record.third).collect();
    assert_eq!(
        thirds,
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(|n| f64::from(n) / 3.0)
    );
}

/// Half of a unit can be on the disk when a machine stops between two lines.
#[test]
fn the_rest_of_a_unit_is_done_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    let expected = whole(&dir);
    let first_three: String = expected.split_inclusive('\n').take(3).collect();
    fs::write(dir.join(RECORDS), first_three).unwrap();
    let mut run = Run::<Third>::open(&dir, start("1/1", true), &plan()).unwrap();
    let mut sizes = Vec::new();
    let mut recorded = |cases: &[&Number]| {
        sizes.push(cases.len());
        work(cases)
    };
    run.work(&plan(), &mut recorded, &mut |_| ()).unwrap();
    assert_eq!(sizes, [1, 2, 2, 2, 2]);
    assert_eq!(fs::read_to_string(dir.join(RECORDS)).unwrap(), expected);
}

#[test]
fn other_settings_are_refused_and_nothing_is_touched() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    let expected = whole(&dir);
    refuses(
        go(&dir, start("1/1", false), CASES),
        &["not empty", "--resume"],
    );
    refuses(
        go(&dir, start("1/2", true), CASES),
        &["other settings", "shard is 1/1 there and 1/2 here"],
    );
    let settings = json!({"divisor": 4});
    let other = Start {
        settings,
        ..start("1/1", true)
    };
    refuses(go(&dir, other, CASES), &["divisor is 3 there and 4 here"]);
    let other = Start {
        command: "fourths",
        ..start("1/1", true)
    };
    refuses(go(&dir, other, CASES), &["command is \"thirds\" there"]);
    let fewer = Plan::new((0..CASES - 2).map(Number).collect()).unwrap();
    refuses(
        Run::<Third>::open(&dir, start("1/1", true), &fewer),
        &["cases is 12 there and 10 here"],
    );
    assert_eq!(fs::read_to_string(dir.join(RECORDS)).unwrap(), expected);
}

#[test]
fn records_that_do_not_belong_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    let expected = whole(&dir);
    let resume = || Run::<Third>::open(&dir, start("1/1", true), &plan());
    let first = expected.lines().next().unwrap();
    for (line, parts) in [
        (
            first.to_owned(),
            ["line 13", "case 0 (number 0) was recorded before"],
        ),
        (
            first.replace("\"case\":0", "\"case\":99"),
            ["line 13", "case 99"],
        ),
        (
            first.replace("number 0", "number 1"),
            ["line 13", "not one of this run's"],
        ),
        ("{}".to_owned(), ["line 13", "missing field"]),
    ] {
        fs::write(dir.join(RECORDS), format!("{expected}{line}\n")).unwrap();
        refuses(resume(), &parts);
    }
    refuses(
        Finished::<Third>::read(&dir, "halves"),
        &["`thirds`, not of `halves`"],
    );
    fs::remove_file(dir.join(MANIFEST)).unwrap();
    refuses(resume(), &["no manifest.json"]);
    refuses(
        Finished::<Third>::read(&dir, "thirds"),
        &["not the folder of a run"],
    );
}

#[test]
fn merged_shards_are_the_whole() {
    let parent = tempfile::tempdir().unwrap();
    let expected = whole(&parent.path().join("whole"));
    for count in [1, 2, 3, 8] {
        let mut dirs = shards(parent.path(), count);
        dirs.reverse();
        let out = parent.path().join(format!("merged {count}"));
        let manifest = merge(&out, &dirs).unwrap();
        assert_eq!(
            (manifest.shard, manifest.shard_cases),
            (Shard::WHOLE, CASES)
        );
        assert_eq!(fs::read_to_string(out.join(RECORDS)).unwrap(), expected);
        assert_eq!(
            go(&out, start("1/1", true), 0).unwrap(),
            CASES,
            "nothing is left"
        );
    }
}

#[test]
fn gaps_and_overlaps_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("merged");
    let dirs = shards(parent.path(), 3);
    let merged = |dirs: &[&PathBuf]| {
        let dirs: Vec<PathBuf> = dirs.iter().map(|&dir| dir.clone()).collect();
        merge(&out, &dirs)
    };
    let [a, b, c] = [&dirs[0], &dirs[1], &dirs[2]];
    refuses(merged(&[a, c]), &["of 3 shards", "missing: 2"]);
    refuses(merged(&[a, b, c, b]), &["both shard 2/3"]);
    let none = parent.path().join("none");
    refuses(merged(&[a, b, &none]), &["none", "not the folder of a run"]);
    let fourth = shards(parent.path(), 4);
    refuses(
        merged(&[a, &fourth[1]]),
        &["shard is 1/3 there and 2/4 here"],
    );

    let path = b.join(RECORDS);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (changed, parts) in [
        (
            lines[..3].concat(),
            ["3 of the 4 cases of shard 2/3", "--resume"],
        ),
        (text[..text.len() - 1].to_owned(), ["line 4", "torn"]),
        (
            [text.as_str(), lines[0]].concat(),
            ["line 5", "was recorded before"],
        ),
        (
            text.replace("\"case\":2,", "\"case\":0,"),
            ["line 1", "case 0"],
        ),
        (
            text.replace("number 2", "number 0"),
            ["not of the cases", "manifest"],
        ),
    ] {
        fs::write(&path, changed).unwrap();
        refuses(merged(&[a, b, c]), &parts);
        assert!(!out.exists(), "nothing is written");
    }
    fs::write(&path, text).unwrap();
    merged(&[a, b, c]).unwrap();
    refuses(merged(&[a, b, c]), &["not empty"]);
}
