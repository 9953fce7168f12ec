//! The section of README.md that shows what was measured on a GPU: written by a command, so that it never holds a
//! number that is in no record.

use std::path::{Path, PathBuf};

use super::{Record, SCHEMA, table};

/// Where the section begins and ends.
const BEGIN: &str = "<!-- gpu-bench readme: begin -->";
const END: &str = "<!-- gpu-bench readme: end -->";

/// The records of GPUs below `benches/record`, by path.
///
/// # Errors
/// A record that does not hold together, or files that cannot be read.
pub fn records(dir: &Path) -> Result<Vec<(PathBuf, Record)>, String> {
    let list = |dir: &Path| -> Result<Vec<PathBuf>, String> {
        let wrong = |error: std::io::Error| format!("{}: {error}", dir.display());
        let entries = std::fs::read_dir(dir).map_err(wrong)?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| Ok(entry.map_err(wrong)?.path()))
            .collect::<Result<_, String>>()?;
        paths.sort();
        Ok(paths)
    };
    let mut records = Vec::new();
    for device in list(dir)?.into_iter().filter(|path| path.is_dir()) {
        for path in list(&device)? {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if path.extension().is_some_and(|end| end == "json") && text.contains(SCHEMA) {
                records.push((path.clone(), Record::read(&path)?));
            }
        }
    }
    Ok(records)
}

/// The section for these records: the newest valid one of each device and topic.
pub fn section(records: &[(PathBuf, Record)]) -> String {
    let mut text = String::new();
    let shown = records.iter().filter(|(_, r)| r.valid && !r.synthetic);
    let mut newest: Vec<&(PathBuf, Record)> = Vec::new();
    for pair in shown {
        match newest
            .iter_mut()
            .find(|other| (&other.1.device, &other.1.topic) == (&pair.1.device, &pair.1.topic))
        {
            Some(other) if other.1.date < pair.1.date => *other = pair,
            Some(_) => {}
            None => newest.push(pair),
        }
    }
    for (path, record) in newest {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        text += &format!(
            "{}, {} ({name}, commit {}):\n\n{}\n",
            record.device,
            &record.date[..10],
            record.commit,
            table::lines(record)
        );
    }
    if text.is_empty() {
        text = "No kernel has been timed on a GPU yet, so no figure stands here. The command above makes the record that \
                would.\n"
            .to_owned();
    }
    text
}

/// The text of README.md with the section of these records.
///
/// # Errors
/// A README without the section's marks.
pub fn updated(readme: &str, records: &[(PathBuf, Record)]) -> Result<String, String> {
    let parts = readme
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("no {BEGIN} ... {END} in README.md"))?;
    Ok(format!("{before}{BEGIN}\n{}{END}{after}", section(records)))
}
