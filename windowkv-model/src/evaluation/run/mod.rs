//! The folder of an evaluation run: it loses no finished case, resumes where it stopped, and can be split.
//!
//! ```text
//! manifest.json   settings, versions and their hash; written once, before the first case
//! records.jsonl   one line for each finished case, appended and flushed to the disk when it is done
//! ```
//!
//! A [`Plan`] lists the cases, each with an id; [`Run::open`] begins or resumes a folder and [`Run::work`] does what
//! is missing. A [`Shard`] takes every n-th unit of the plan, a unit being cases that share work (the methods on one
//! prompt share its prefill); [`merge`] joins the folders of all shards into that of the whole.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use windowkv_model::evaluation::run::{Case, Plan, Run, Shard, Start};
//!
//! struct Square(u64);
//! impl Case for Square {
//!     fn id(&self) -> String { self.0.to_string() }
//! }
//! #[derive(Serialize, Deserialize)]
//! struct Answer { square: u64 }
//!
//! # let parent = tempfile::tempdir().unwrap();
//! # let dir = parent.path().join("run");
//! let plan = Plan::new((0..10).map(Square).collect())?;
//! let (settings, labels) = (serde_json::json!({}), Default::default());
//! let start = Start { command: "squares", settings, labels, shard: Shard::WHOLE, resume: false };
//! let mut run = Run::<Answer>::open(&dir, start, &plan)?;
//! run.work(&plan, &mut |cases| Ok(cases.iter().map(|case| Answer { square: case.0 * case.0 }).collect()), &mut |_| ())?;
//! assert_eq!(run.records().map(|(_, answer)| answer.square).sum::<u64>(), 285);
//! # Ok::<(), windowkv_model::Error>(())
//! ```

mod error;
mod folder;
mod manifest;
mod merge;
mod plan;
mod records;
mod shard;
#[cfg(test)]
mod tests;

pub use error::RunError;
pub use folder::{Finished, Run, Start};
pub use manifest::{MANIFEST, Manifest};
pub use merge::merge;
pub use plan::{Case, Plan};
pub use records::{MAX_RECORD_BYTES, RECORDS, Record};
pub use shard::Shard;
