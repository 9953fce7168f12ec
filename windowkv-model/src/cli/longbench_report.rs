//! The tables of `windowkv longbench`: of a run's folder, and of predictions that were made elsewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::compression::say_notes;
use super::task::say_uncertain;
use super::terminal::print;
use crate::evaluation::longbench::{
    self, Prediction, Published, SCORES, Scored, Scores, Skipped, Table, csv, markdown,
    prediction_files, score_file,
};
use crate::evaluation::run::{Finished, MANIFEST, Manifest, Shard};
use crate::{Error, Result, files};

/// How standard output gets tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Markdown,
    /// For spreadsheets.
    Csv,
    /// For programs.
    Json,
}

/// Scores the records of a run's folder, writes the tables and scores into it and prints the tables.
///
/// # Errors
/// As [`Finished::read`]; files that cannot be written.
pub(super) fn of_run(dir: &Path, form: Form) -> Result<()> {
    let run = Finished::<Prediction>::read(dir, super::longbench::COMMAND)?;
    let about = About::new(&run.manifest);
    let mut scores = Scores::default();
    let mut lines = String::new();
    for record in &run.records {
        let scored = record.record.scored();
        scores.add(&scored);
        let place = json!({"case": record.case, "id": record.id});
        push_line(&mut lines, place, &scored);
    }
    let uncertain = run.records.iter().map(|record| &record.record);
    let uncertain = uncertain.filter(|prediction| prediction.task_uncertain);
    let samples: BTreeSet<_> = uncertain.map(|it| (it.dataset, it.line)).collect();
    say_uncertain(samples.len());
    let published = about.known_as.and_then(Published::named);
    let tables = Table::of(&scores, about.longbench_e, published);
    let (done, all) = (run.records.len(), run.manifest.cases);
    let mut unfinished = Vec::new();
    if done < all {
        let part = match run.manifest.shard {
            Shard::WHOLE => "This run".to_owned(),
            shard => format!("Shard {shard}"),
        };
        unfinished.push((part, done, all));
    }
    report(
        &tables,
        about.skipped,
        &unfinished,
        Some((dir, &lines)),
        form,
    )
}

/// Scores predictions: files, folders of them, or those of runs. The tables and scores go into `out`, where it is
/// given.
///
/// # Errors
/// Files that cannot be read or written, or in which there is no prediction.
pub(super) fn of_predictions(
    paths: &[PathBuf],
    longbench_e: bool,
    out: Option<&Path>,
    form: Form,
) -> Result<()> {
    let mut scores = Scores::default();
    let mut skipped = Skipped::default();
    let mut lines = String::new();
    let mut extended = longbench_e;
    let mut published = BTreeSet::new();
    let mut unfinished = Vec::new();
    // Lines of the data that runs have left out.
    let mut before = 0;
    for path in paths {
        let manifest = if path.join(MANIFEST).is_file() {
            Manifest::read(path)?
        } else {
            None
        };
        let about = manifest.as_ref().map(About::new).unwrap_or_default();
        if let Some(run) = manifest
            .as_ref()
            .filter(|run| run.command != super::longbench::COMMAND)
        {
            return Err(run.other_command(path, super::longbench::COMMAND));
        }
        extended |= about.longbench_e;
        before += about.skipped;
        published.insert(about.known_as.map(str::to_owned));
        let mut used = 0;
        for file in prediction_files(path)? {
            let mut each = |line: usize, scored: &Scored| {
                used += 1;
                push_line(&mut lines, json!({"file": file, "line": line}), scored);
            };
            skipped.extend(score_file(&file, extended, &mut scores, &mut each)?);
        }
        if let Some(run) = manifest.filter(|run| used < run.cases) {
            unfinished.push((path.display().to_string(), used, run.cases));
        }
    }
    say_notes(&skipped.notes());
    // The paper's figures stand beside predictions of their own model alone.
    let published = match published.into_iter().collect::<Vec<_>>().as_slice() {
        [Some(model)] => Published::named(model),
        _ => None,
    };
    let tables = Table::of(&scores, extended, published);
    let folder = out.map(|dir| (dir, lines.as_str()));
    report(&tables, skipped.count + before, &unfinished, folder, form)
}

/// What a run's manifest says that its table depends on.
#[derive(Debug, Default)]
struct About<'a> {
    longbench_e: bool,
    known_as: Option<&'a str>,
    /// Lines of the data that could not be used.
    skipped: usize,
}

impl<'a> About<'a> {
    fn new(manifest: &'a Manifest) -> Self {
        let of = |name: &str| manifest.settings.get(name);
        let files = of("files").and_then(Value::as_object).into_iter();
        let counts = files.flat_map(Map::values).map(|file| &file["skipped"]);
        Self {
            longbench_e: of("longbench_e") == Some(&Value::Bool(true)),
            known_as: of("known_as").and_then(Value::as_str),
            skipped: counts.filter_map(Value::as_u64).sum::<u64>() as usize,
        }
    }
}

/// Prints the tables, and writes them and the score of each case into a folder. `unfinished`: parts of a run of which
/// there are fewer cases than it has.
fn report(
    tables: &[Table],
    skipped: usize,
    unfinished: &[(String, usize, usize)],
    folder: Option<(&Path, &str)>,
    form: Form,
) -> Result<()> {
    let mut text = markdown(tables) + &skipped_note(skipped);
    for (part, done, all) in unfinished {
        text += &format!(
            "\n{part}: {done} of the run's {all} cases; --resume finishes a part, `windowkv merge` joins them.\n"
        );
    }
    let values = csv(tables);
    if let Some((dir, scores)) = folder {
        std::fs::create_dir_all(dir)
            .map_err(|source| Error::io(dir, "create the folder", source))?;
        for (name, content) in [
            ("table.md", &*text),
            ("table.csv", &values),
            (SCORES, scores),
        ] {
            files::write_whole(&dir.join(name), content.as_bytes())?;
        }
    }
    match form {
        Form::Markdown => print(&text),
        Form::Csv => print(&values),
        Form::Json => {
            let unfinished: Vec<Value> = unfinished
                .iter()
                .map(|(part, done, all)| json!({"part": part, "done": done, "cases": all}))
                .collect();
            let object = json!({
                "tables": longbench::json(tables), "skipped_lines": skipped, "unfinished": unfinished,
            });
            print(&format!("{object:#}\n"))
        }
    }
}

/// Says that lines of data or predictions were left out.
pub(super) fn skipped_note(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => "\n1 line that could not be used was skipped.\n".to_owned(),
        count => format!("\n{count} lines that could not be used were skipped.\n"),
    }
}

/// Adds a line with a score, and with what `place` says of where it comes from.
fn push_line(lines: &mut String, mut place: Value, scored: &Scored) {
    let scored = serde_json::to_value(scored).expect("a score has text keys");
    if let (Value::Object(line), Value::Object(scored)) = (&mut place, scored) {
        line.extend(scored);
    }
    *lines += &format!("{place}\n");
}
