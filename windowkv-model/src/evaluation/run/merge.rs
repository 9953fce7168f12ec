//! Joins the folders of a run's shards.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::plan::hash_ids;
use super::records::{self, Read};
use super::{Manifest, RECORDS, RunError};
use crate::{Error, Result, files};

/// Joins the folders of all shards of a run in the new folder `out`, which then is as if one machine had done all:
/// the records in the order of the plan, each line as its shard wrote it.
///
/// # Errors
/// [`RunError`]: folders that are not parts of one run, a shard that is given twice (overlap), is not given or not
/// finished (gap); files that cannot be read or written. `out` is left without a manifest then.
pub fn merge(out: &Path, dirs: &[PathBuf]) -> Result<Manifest> {
    let mut parts: Vec<(&PathBuf, Manifest)> = Vec::new();
    for dir in dirs {
        let manifest =
            Manifest::read(dir)?.ok_or_else(|| RunError::NotARun { dir: dir.clone() })?;
        if let Some((first, other)) = parts.first() {
            check_same(first, other, dir, &manifest)?;
        }
        if let Some((first, other)) = parts.iter().find(|(_, m)| m.shard == manifest.shard) {
            return Err(RunError::Overlap {
                first: (*first).clone(),
                second: dir.clone(),
                shard: other.shard,
            }
            .into());
        }
        parts.push((dir, manifest));
    }
    let Some((_, first)) = parts.first() else {
        return Err(RunError::Empty.into());
    };
    let count = first.shard.count();
    let given = |index: &usize| parts.iter().any(|(_, m)| m.shard.index() == *index);
    let missing: Vec<usize> = (1..=count).filter(|index| !given(index)).collect();
    if !missing.is_empty() {
        return Err(RunError::MissingShards { count, missing }.into());
    }
    let whole = first.whole();
    let mut places: Vec<_> = (0..whole.cases).map(|_| None).collect();
    for (dir, manifest) in &parts {
        collect(dir, manifest, &mut places)?;
    }
    let records: Vec<Read<_>> = places.into_iter().flatten().collect();
    let ids = records.iter().map(|read| read.record.id.as_str());
    if hash_ids(ids) != whole.cases_hash {
        return Err(RunError::CasesDiffer {
            dirs: dirs.to_vec(),
        }
        .into());
    }
    write(out, &whole, &records)?;
    Ok(whole)
}

fn check_same(first: &Path, one: &Manifest, second: &Path, other: &Manifest) -> Result<()> {
    let mut differences = one.differences(other);
    if one.shard.count() != other.shard.count() {
        differences.push(format!(
            "shard is {} there and {} here",
            one.shard, other.shard
        ));
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(RunError::NotOneRun {
        first: first.to_owned(),
        second: second.to_owned(),
        differences,
    }
    .into())
}

/// Puts the records of one shard in their places.
fn collect(
    dir: &Path,
    manifest: &Manifest,
    places: &mut [Option<Read<Map<String, Value>>>],
) -> Result<()> {
    let path = dir.join(RECORDS);
    let (read, torn) = records::read::<Map<String, Value>>(&path)?;
    if let Some(torn) = torn {
        let line = torn.line;
        return Err(RunError::Torn { path, line }.into());
    }
    let found = read.len();
    for read in read {
        let (case, id) = (read.record.case, read.record.id.clone());
        let (path, line) = (path.clone(), read.line.number);
        match places.get_mut(case) {
            None => {
                return Err(RunError::StrangeRecord {
                    path,
                    line,
                    case,
                    id,
                }
                .into());
            }
            Some(Some(_)) => {
                return Err(RunError::RepeatedRecord {
                    path,
                    line,
                    case,
                    id,
                }
                .into());
            }
            Some(place) => *place = Some(read),
        }
    }
    if found != manifest.shard_cases {
        return Err(RunError::Unfinished {
            dir: dir.to_owned(),
            shard: manifest.shard,
            found,
            expected: manifest.shard_cases,
        }
        .into());
    }
    Ok(())
}

/// The manifest comes last: without it the folder is no run.
fn write(out: &Path, whole: &Manifest, records: &[Read<Map<String, Value>>]) -> Result<()> {
    std::fs::create_dir_all(out).map_err(|source| Error::io(out, "create the folder", source))?;
    let list = |source| Error::io(out, "list", source);
    for entry in std::fs::read_dir(out).map_err(list)? {
        // A merge that was killed may have left what it had begun to write.
        if !files::is_unfinished(&entry.map_err(list)?.file_name()) {
            let dir = out.to_owned();
            return Err(RunError::FolderTaken { dir }.into());
        }
    }
    let path = out.join(RECORDS);
    let written = files::write_with(&path, |file| {
        let mut file = BufWriter::new(file);
        for read in records {
            file.write_all(read.line.text.as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.flush()
    });
    let written = written.and_then(|()| whole.write(out));
    if written.is_err() {
        // Half a run is of no use, and would be in the way of the next attempt.
        let _ = std::fs::remove_file(&path);
    }
    written
}
