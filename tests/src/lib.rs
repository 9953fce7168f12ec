//! Helpers shared by the workspace's integration tests.

pub mod attention;
pub mod golden;
pub mod kernels;
pub mod model;
pub mod random;
pub mod schedule;
