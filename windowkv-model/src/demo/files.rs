//! The demo model's folder, as part of the program.

/// Bytes at an address that a matrix of any dtype may start at.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static ALIGNED_WEIGHTS: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../../demo-model/model.safetensors"));

/// model.safetensors
pub static WEIGHTS: &[u8] = &ALIGNED_WEIGHTS.0;
/// config.json
pub static CONFIG: &[u8] = include_bytes!("../../demo-model/config.json");
/// generation_config.json
pub static GENERATION_CONFIG: &[u8] = include_bytes!("../../demo-model/generation_config.json");
/// tokenizer.json
pub static TOKENIZER: &[u8] = include_bytes!("../../demo-model/tokenizer.json");
/// tokenizer_config.json
pub static TOKENIZER_CONFIG: &[u8] = include_bytes!("../../demo-model/tokenizer_config.json");
