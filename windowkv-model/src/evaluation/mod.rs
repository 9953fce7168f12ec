//! Evaluations of whole data sets: long, so kept in a folder that survives a kill, and split over machines.
//!
//! ```text
//! variant      a method at a capacity, for both kinds of task
//! run          the folder of a run: plan of cases, manifest, records, resume, shards, merge
//! fingerprint  which model a run is of
//! metrics      how answers are scored
//! longbench    LongBench: its datasets, prompts, scores and tables
//! needle       needle in a haystack: prompts, cases, answers, means
//! picture      heat maps and charts as SVG and PNG
//! ```

pub mod fingerprint;
pub mod longbench;
pub mod metrics;
pub mod needle;
pub mod picture;
pub mod run;
mod variant;

pub use variant::Variant;
