//! Evaluations: how well a model answers with its cache compressed.

pub mod metrics;
