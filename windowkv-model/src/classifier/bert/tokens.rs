//! Text to the ids that the encoder reads.

use std::path::{Path, PathBuf};

use tokenizers::AddedToken;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;

use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::files::{MAX_CONFIG_BYTES, parse_object, read_optional, utf8};
use crate::tokenizer::Tokenizer;
use crate::tokenizer_config::TokenizerConfig;

/// The longest `vocab.txt` that is read, in bytes.
const MAX_VOCAB_BYTES: u64 = 1 << 24;

/// The tokenizer of a BERT folder: `tokenizer.json`, or else `vocab.txt` with the letter case that
/// `tokenizer_config.json` asks for.
pub(super) fn load(dir: &Path, vocab_size: usize) -> Result<Tokenizer> {
    let json = dir.join("tokenizer.json");
    if json.exists() {
        return Tokenizer::load(dir, &TokenizerConfig::load(dir)?, vocab_size);
    }
    let path = dir.join("vocab.txt");
    let vocab = match read_optional(&path, MAX_VOCAB_BYTES)? {
        Some(bytes) => bytes,
        None => {
            return Err(Error::Tokenizer {
                path: dir.to_owned(),
                reason: "the folder has neither tokenizer.json nor vocab.txt; download one of them"
                    .to_owned(),
            });
        }
    };
    let config = dir.join("tokenizer_config.json");
    let lowercase = match read_optional(&config, MAX_CONFIG_BYTES)? {
        Some(bytes) => {
            let object = parse_object(&bytes, &config)?;
            Fields::new(&object, &config).boolean("do_lower_case")?
        }
        None => None,
    };
    // Transformers' own default.
    wordpiece(&vocab, path, lowercase.unwrap_or(true), vocab_size)
}

fn wordpiece(
    vocab: &[u8],
    origin: PathBuf,
    lowercase: bool,
    vocab_size: usize,
) -> Result<Tokenizer> {
    let refused = |reason: String| Error::Tokenizer {
        path: origin.clone(),
        reason,
    };
    utf8(vocab, &origin)?;
    let vocab = WordPiece::read_bytes(vocab).map_err(|e| refused(e.to_string()))?;
    let special = |token: &str| {
        let id = vocab.get(token).copied();
        id.map(|id| (token.to_owned(), id)).ok_or_else(|| {
            refused(format!(
                "it has no token {token}; it is not BERT's vocab.txt"
            ))
        })
    };
    let (sep, cls, unk) = (special("[SEP]")?, special("[CLS]")?, special("[UNK]")?);
    // Written out in a text they are recognised, as Transformers does.
    let written = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .into_iter()
        .filter(|token| vocab.contains_key(*token))
        .map(|token| AddedToken::from(token, true))
        .collect::<Vec<_>>();
    let model = WordPiece::builder()
        .vocab(vocab)
        .unk_token(unk.0)
        .build()
        .map_err(|e| refused(e.to_string()))?;
    let normalizer = BertNormalizer::new(true, true, None, lowercase);
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(|e| refused(e.to_string()))?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(BertProcessing::new(sep, cls)));
    tokenizer
        .add_special_tokens(written)
        .map_err(|e| refused(e.to_string()))?;
    Ok(Tokenizer::from_parts(tokenizer, origin, vocab_size))
}

/// An input longer than this many ids is cut ...
pub(super) const MAX_IDS: usize = 511;
/// ... to this many at its beginning and as many at its end, as the released code does.
const HALF: usize = 256;

/// Cuts the ids of a whole text, those of \[CLS\] and \[SEP\] among them.
pub(super) fn cut(ids: Vec<u32>) -> Vec<u32> {
    match ids.len() {
        len if len > MAX_IDS => [&ids[..HALF], &ids[len - HALF..]].concat(),
        _ => ids,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_511_ids_are_cut_to_the_first_and_the_last_256() {
        let ids = |len: u32| (0..len).collect::<Vec<_>>();
        assert_eq!(cut(ids(511)), ids(511));
        assert_eq!(
            cut(ids(512)),
            ids(512),
            "the halves meet: nothing is lost at 512"
        );
        let long = cut(ids(1000));
        assert_eq!(
            (long.len(), long[255], long[256], long[511]),
            (512, 255, 744, 999)
        );
    }

    #[test]
    fn a_vocabulary_without_special_tokens_is_refused() {
        let message = wordpiece(b"[CLS]\n[UNK]\nthe\n", "b/vocab.txt".into(), true, 10)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("[SEP]") && message.contains("b/vocab.txt"),
            "{message}"
        );
    }
}
