//! Evaluations of whole data sets: long, so kept in a folder that survives a kill, and split over machines.
//!
//! ```text
//! lines   text files line by line, none of them trusted
//! metrics how answers are scored
//! run     the folder of a run: plan of cases, manifest, records, resume, shards, merge
//! ```

pub mod lines;
pub mod metrics;
pub mod run;
