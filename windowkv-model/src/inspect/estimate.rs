//! How large an inspection gets, before anything is computed.

use windowkv_ref::policy::ModelShape;

use crate::Result;
use crate::settings::Compression;

/// Bytes of a kept run in memory, and at most one for each kept token.
const SPAN: u64 = 16;
/// Bytes of a token's text and of what frames it in the page.
const TEXT: u64 = 16;
/// Bytes of a string in memory, beside its text.
const STRING: u64 = 48;
/// Bytes of the page without its data, and of the data that does not grow with the prompt.
const FRAME: u64 = 1 << 17;

/// What an inspection takes, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes of memory for scores and choices, beside the activations of prefill.
    pub memory: u64,
    /// Bytes of the page.
    pub page: u64,
}

impl Estimate {
    /// Predicts for a prompt of `seqlen` tokens.
    ///
    /// # Errors
    /// When a method does not fit the model or the prompt.
    pub fn new(compressions: &[Compression], model: ModelShape, seqlen: usize) -> Result<Self> {
        let n = seqlen as u64;
        let (mut memory, mut page) = ((TEXT + STRING) * n, FRAME + TEXT * n);
        for compression in compressions {
            let selector = compression.method(seqlen).start(model, seqlen)?;
            for layer in 0..model.num_layers {
                let heads = selector.cache_heads(layer) as u64;
                memory += 4 * n + heads * (n / 8 + SPAN * selector.max_kept(layer) as u64);
                // Base64 has 4 letters for 3 bytes: of a score's four, and of a bit for each head.
                if selector.query_rows(layer) > 0 {
                    page += n * (4 + heads.div_ceil(8)) * 4 / 3;
                }
            }
        }
        // The data is packed and then put into the page.
        Ok(Self {
            memory: memory + 3 * page,
            page,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo;
    use crate::inspect::{Prompt, inspect, page};
    use crate::runner::Model;
    use crate::settings::Capacity;
    use windowkv_ref::methods::{MethodKind, TokenConfig};
    use windowkv_ref::policy::WindowKvConfig;

    #[test]
    fn a_page_is_about_as_large_as_predicted() {
        let model = Model::demo().unwrap();
        let settings = demo::prompts::PromptSettings::default();
        let text = demo::prompts::prompt(&settings, 1, 0).unwrap().text;
        let pieces = model.tokenizer.pieces(&text, true).unwrap();
        let ids: Vec<u32> = pieces.iter().map(|piece| piece.id).collect();
        let compressions = MethodKind::ALL.map(|kind| Compression {
            kind,
            capacity: Capacity::Share(0.2),
            window: WindowKvConfig {
                shared_layers: 2,
                ..WindowKvConfig::default()
            },
            tokens: TokenConfig::default(),
            recent_given: false,
        });
        let predicted = Estimate::new(&compressions, model.llama.shape(), ids.len()).unwrap();
        let prompt = Prompt {
            pieces: pieces.into_iter().map(|piece| piece.text).collect(),
            ..Prompt::default()
        };
        let inspection = inspect(&model, &ids, prompt, &compressions, &mut |_| ()).unwrap();
        let bytes = page::html(&inspection).len() as u64;
        assert!(
            bytes <= predicted.page && predicted.page < 3 * bytes,
            "{bytes}, {predicted:?}"
        );
    }
}
