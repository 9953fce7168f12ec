//! The `windowkv` program.
fn main() {}
