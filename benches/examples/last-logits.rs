//! Writes the logits of a prompt's last token: `last-logits MODEL_DIR PROMPT_FILE OUT`, float32, little-endian.

use std::error::Error;
use std::path::Path;

use windowkv_model::runner::Model;
use windowkv_ref::methods::FullKv;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model_dir, prompt_file, out] = &args[..] else {
        return Err("usage: last-logits MODEL_DIR PROMPT_FILE OUT".into());
    };
    let model = Model::load(Path::new(model_dir))?;
    let prompt = std::fs::read_to_string(prompt_file)?;
    let ids = model.tokenizer.encode(&prompt, true)?;
    let prefilled = model.llama.prefill(&ids, &FullKv, 0, &mut |_| ())?;
    let bytes: Vec<u8> = prefilled
        .logits
        .iter()
        .flat_map(|logit| logit.to_le_bytes())
        .collect();
    Ok(std::fs::write(out, bytes)?)
}
