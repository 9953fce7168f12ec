//! The kernels against the oracle in float64, on every device that is present.

mod decode;
mod gather;
mod group;
mod layer;
mod prefill;
mod sample;
mod score;
mod select;
