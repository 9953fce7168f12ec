//! How answers are scored.

mod porter;
pub mod rouge1;
