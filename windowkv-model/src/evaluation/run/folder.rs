//! A run in its folder, from its beginning or from where it stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::records::{self, Appender};
use super::{Case, Manifest, Plan, RECORDS, Record, RunError, Shard};
use crate::{Error, Result, files};

/// How a run begins.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The command that makes the records, such as `niah`.
    pub command: &'a str,
    /// Everything that the records depend on, the model included; nothing that they do not depend on.
    pub settings: Value,
    /// Names for people, which may differ from part to part.
    pub labels: Map<String, Value>,
    /// Which part of the run.
    pub shard: Shard,
    /// Go on with a folder that was begun before, if there is one.
    pub resume: bool,
}

/// A run that is going on: this process alone has its folder.
#[derive(Debug)]
pub struct Run<R> {
    dir: PathBuf,
    manifest: Manifest,
    appender: Appender,
    /// By the number of their case.
    records: BTreeMap<usize, R>,
    notes: Vec<String>,
}

impl<R: Serialize + DeserializeOwned> Run<R> {
    /// Begins a run in the folder `dir`, or goes on with it.
    ///
    /// # Errors
    /// [`RunError`], among them a folder that is not empty (without `resume`), was begun with other settings, or is in
    /// use; files that cannot be read or written.
    pub fn open<C: Case>(dir: &Path, start: Start<'_>, plan: &Plan<C>) -> Result<Self> {
        let manifest = Manifest::new(
            start.command,
            start.settings,
            start.labels,
            plan,
            start.shard,
        );
        let begun = Manifest::read(dir)?;
        if !start.resume && begun.is_some() {
            return Err(not_empty(dir));
        }
        let manifest = match begun {
            Some(begun) => {
                let mut differences = begun.differences(&manifest);
                if begun.shard != manifest.shard {
                    differences.push(format!(
                        "shard is {} there and {} here",
                        begun.shard, manifest.shard
                    ));
                }
                if !differences.is_empty() {
                    return Err(RunError::SettingsDiffer {
                        dir: dir.to_owned(),
                        differences,
                    }
                    .into());
                }
                begun
            }
            None => {
                begin(dir, start.resume)?;
                manifest.write(dir)?;
                manifest
            }
        };
        let mut run = Self {
            appender: Appender::open(dir)?,
            dir: dir.to_owned(),
            manifest,
            records: BTreeMap::new(),
            notes: Vec::new(),
        };
        run.load(plan)?;
        Ok(run)
    }

    fn load<C: Case>(&mut self, plan: &Plan<C>) -> Result<()> {
        let path = self.appender.path().to_owned();
        let (read, torn) = records::read::<R>(&path)?;
        let mut own = vec![false; plan.len()];
        for &case in plan.units(self.manifest.shard).flatten() {
            own[case] = true;
        }
        for found in read {
            let Record { case, id, record } = found.record;
            let line = found.line.number;
            if own.get(case) != Some(&true) || plan.id(case) != id {
                return Err(RunError::StrangeRecord {
                    path,
                    line,
                    case,
                    id,
                }
                .into());
            }
            if self.records.insert(case, record).is_some() {
                return Err(RunError::RepeatedRecord {
                    path,
                    line,
                    case,
                    id,
                }
                .into());
            }
        }
        if let Some(torn) = torn {
            self.appender.repair(&torn)?;
            self.notes.push(format!(
                "{}, line {}: torn by the interruption, repaired",
                path.display(),
                torn.line
            ));
        }
        Ok(())
    }

    /// Does what is missing, unit by unit in the order of the plan: `work` gets the missing cases of a unit and gives
    /// a record for each, in their order; they are on the disk when `finished` is told how many cases are done.
    ///
    /// # Errors
    /// What `work` fails with, and [`RunError::Write`]. What was finished before is safe.
    ///
    /// # Panics
    /// When `work` gives another number of records than it got cases.
    pub fn work<C: Case>(
        &mut self,
        plan: &Plan<C>,
        work: &mut dyn FnMut(&[&C]) -> Result<Vec<R>>,
        finished: &mut dyn FnMut(usize),
    ) -> Result<()> {
        for unit in plan.units(self.manifest.shard) {
            let missing: Vec<usize> = unit
                .iter()
                .copied()
                .filter(|case| !self.records.contains_key(case))
                .collect();
            if missing.is_empty() {
                continue;
            }
            let cases: Vec<&C> = missing.iter().map(|&case| &plan.cases()[case]).collect();
            let records = work(&cases)?;
            assert_eq!(records.len(), missing.len(), "a record for each case");
            let records = missing.into_iter().zip(records);
            let records: Vec<Record<R>> = records
                .map(|(case, record)| Record {
                    case,
                    id: plan.id(case).to_owned(),
                    record,
                })
                .collect();
            let lines: Vec<String> = records.iter().map(records::line).collect::<Result<_>>()?;
            self.appender.append(&lines.concat(), self.records.len())?;
            let done = records
                .into_iter()
                .map(|record| (record.case, record.record));
            self.records.extend(done);
            finished(self.records.len());
        }
        Ok(())
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the run is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Cases that are done.
    pub fn done(&self) -> usize {
        self.records.len()
    }

    /// What the user should know about how the folder was found.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The records with the numbers of their cases, in order.
    pub fn records(&self) -> impl Iterator<Item = (usize, &R)> {
        self.records.iter().map(|(&case, record)| (case, record))
    }
}

/// The folder of a run that is finished, or of as much as there is of it: read and never changed.
#[derive(Debug)]
pub struct Finished<R> {
    /// What the run is.
    pub manifest: Manifest,
    /// The records in the order of their cases.
    pub records: Vec<Record<R>>,
}

impl<R: DeserializeOwned> Finished<R> {
    /// Reads the folder `dir` of a run of `command`; a torn last line is no record.
    ///
    /// # Errors
    /// [`RunError::NotARun`], [`RunError::OtherCommand`], files that cannot be read, and lines that are no records.
    pub fn read(dir: &Path, command: &'static str) -> Result<Self> {
        let manifest = Manifest::read(dir)?.ok_or_else(|| RunError::NotARun {
            dir: dir.to_owned(),
        })?;
        if manifest.command != command {
            return Err(manifest.other_command(dir, command));
        }
        let (read, _) = records::read(&dir.join(RECORDS))?;
        let mut records: Vec<Record<R>> = read.into_iter().map(|read| read.record).collect();
        records.sort_by_key(|record| record.case);
        Ok(Self { manifest, records })
    }
}

/// Makes the folder of a new run, or finds it empty.
fn begin(dir: &Path, resume: bool) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|source| Error::io(dir, "create the folder", source))?;
    let list = |source| Error::io(dir, "list", source);
    for entry in std::fs::read_dir(dir).map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        if name == RECORDS {
            let dir = dir.to_owned();
            return Err(RunError::ManifestMissing { dir }.into());
        }
        // An interruption can leave what the manifest was written to.
        if !resume || name != format!("{}{}", super::MANIFEST, files::NEW).as_str() {
            return Err(not_empty(dir));
        }
    }
    Ok(())
}

fn not_empty(dir: &Path) -> Error {
    let dir = dir.to_owned();
    RunError::NotEmpty { dir }.into()
}
