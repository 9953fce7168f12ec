//! Text to token ids and back: `tokenizer.json` through the tokenizers library.
//!
//! The file comes from outside, so its size is bounded, a panic inside the library becomes an error,
//! and what would make an encoding other than the text's own is switched off: truncation, padding,
//! and dropout of merges.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tokenizers::ModelWrapper;

use crate::error::{Error, Result};
use crate::files::{read_bounded, utf8};
use crate::tokenizer_config::TokenizerConfig;

/// The greatest `tokenizer.json` that is read, in bytes.
pub const MAX_TOKENIZER_BYTES: u64 = 1 << 26;

/// A token of a text, with the part of the text that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The token.
    pub id: u32,
    /// Its text. Where a character is spread over several tokens the first has it; what lies between two tokens
    /// belongs to the second. The text of an added token is its name.
    pub text: String,
    /// Whether the tokenizer added it to the text, as it does with tokens that begin a sequence.
    pub added: bool,
}

/// A tokenizer whose ids are below a model's vocabulary size.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The path that errors name.
    origin: PathBuf,
    vocab_size: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of the model folder `dir`, for a model of `vocab_size` tokens.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAFile`], [`Error::FileTooLarge`] above [`MAX_TOKENIZER_BYTES`], and
    /// those of [`Tokenizer::from_json`].
    pub fn load(dir: &Path, config: &TokenizerConfig, vocab_size: usize) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let bytes = read_bounded(&path, MAX_TOKENIZER_BYTES)?;
        Self::from_json(&bytes, &path, config, vocab_size)
    }

    /// Parses the bytes of a `tokenizer.json`; `origin` is the path that errors name.
    ///
    /// # Errors
    /// [`Error::NotUtf8`] and [`Error::Tokenizer`] for a broken file; [`Error::SpecialTokenMissing`]
    /// if it lacks the `bos_token` or `eos_token` that `config` names, and [`Error::TokenId`] if
    /// one of those is not below `vocab_size`.
    pub fn from_json(
        bytes: &[u8],
        origin: &Path,
        config: &TokenizerConfig,
        vocab_size: usize,
    ) -> Result<Self> {
        let text = utf8(bytes, origin)?;
        let mut inner: tokenizers::Tokenizer =
            guarded(origin, || tokenizers::Tokenizer::from_bytes(text))?;
        inner.with_padding(None);
        guarded(origin, || inner.with_truncation(None).map(|_| ()))?;
        if let ModelWrapper::BPE(bpe) = inner.get_model()
            && bpe.dropout.is_some()
        {
            let mut bpe = bpe.clone();
            bpe.dropout = None;
            inner.with_model(bpe);
        }
        let tokenizer = Tokenizer {
            inner,
            origin: origin.to_owned(),
            vocab_size,
        };
        for key in ["bos_token", "eos_token"] {
            if let Some(token) = config.special_tokens.get(key) {
                tokenizer.check_special(key, token, &config.origin)?;
            }
        }
        Ok(tokenizer)
    }

    /// A tokenizer that is already put together; `origin` is the path that errors name.
    pub(crate) fn from_parts(
        inner: tokenizers::Tokenizer,
        origin: PathBuf,
        vocab_size: usize,
    ) -> Self {
        Self {
            inner,
            origin,
            vocab_size,
        }
    }

    /// The token ids of `text`, each below the model's vocabulary size. Special tokens that are
    /// written out in the text are recognised, as Hugging Face does. `add_special_tokens` lets the
    /// tokenizer add those that begin or end a sequence; a rendered chat template has them already.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer has no token for a piece of the text, [`Error::TokenId`]
    /// for a token that the model does not have.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let encoding = guarded(&self.origin, || {
            self.inner.encode_fast(text, add_special_tokens)
        })?;
        Ok(self.checked_ids(&encoding)?.to_vec())
    }

    /// As [`encode`](Self::encode), with the text of each token. The texts of the tokens that were not added,
    /// put together, are `text`.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn pieces(&self, text: &str, add_special_tokens: bool) -> Result<Vec<Piece>> {
        let encoding = guarded(&self.origin, || self.inner.encode(text, add_special_tokens))?;
        let ids = self.checked_ids(&encoding)?;
        let mut at = 0;
        let mut pieces: Vec<Piece> = ids
            .iter()
            .zip(encoding.get_offsets())
            .zip(encoding.get_special_tokens_mask())
            .map(|((&id, &(_, end)), &special)| {
                let added = special == 1;
                let text = if added {
                    self.token(id).unwrap_or_default()
                } else {
                    let boundary = |end: &usize| text.is_char_boundary(*end);
                    let end = (end.max(at)..text.len())
                        .find(boundary)
                        .unwrap_or(text.len());
                    let piece = text[at..end].to_owned();
                    at = end;
                    piece
                };
                Piece { id, text, added }
            })
            .collect();
        if let Some(last) = pieces.iter_mut().rfind(|piece| !piece.added) {
            last.text.push_str(&text[at..]);
        }
        Ok(pieces)
    }

    fn checked_ids<'e>(&self, encoding: &'e tokenizers::Encoding) -> Result<&'e [u32]> {
        let ids = encoding.get_ids();
        if let Some(at) = ids.iter().position(|&id| id as usize >= self.vocab_size) {
            let token = encoding.get_tokens().get(at).map_or("", String::as_str);
            return Err(self.token_id_error(ids[at], format!("the token {token:?}")));
        }
        Ok(ids)
    }

    /// The text of `ids`; bytes that are not UTF-8 become U+FFFD, and ids that the tokenizer has
    /// no token for (models often have some to spare) become nothing.
    ///
    /// # Errors
    /// [`Error::TokenId`] for an id that is not below the vocabulary size, [`Error::Tokenizer`].
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            return Err(self.token_id_error(id, "an id to decode".into()));
        }
        guarded(&self.origin, || self.inner.decode(ids, skip_special_tokens))
    }

    /// A decoder that takes ids one by one and gives the text as it becomes complete.
    pub fn stream(&self, skip_special_tokens: bool) -> StreamDecoder<'_> {
        StreamDecoder {
            tokenizer: self,
            skip_special_tokens,
            ids: Vec::new(),
            context: 0,
            before: String::new(),
        }
    }

    /// The id of a token, if there is one of that text.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The text of a token as the vocabulary has it, if there is one of that id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    fn check_special(&self, key: &'static str, token: &str, config: &Path) -> Result<()> {
        let id = self
            .token_id(token)
            .ok_or_else(|| Error::SpecialTokenMissing {
                path: config.to_owned(),
                key,
                token: token.to_owned(),
            })?;
        if id as usize >= self.vocab_size {
            return Err(self.token_id_error(id, format!("`{key}` of {}", config.display())));
        }
        Ok(())
    }

    fn token_id_error(&self, id: u32, origin: String) -> Error {
        Error::TokenId {
            id: id.into(),
            origin,
            vocab_size: self.vocab_size,
        }
    }
}

/// Calls the library; an error or a panic of it becomes an [`Error::Tokenizer`].
fn guarded<T>(origin: &Path, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    let reason = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            format!("the library failed: {}", message.unwrap_or("no message"))
        }
    };
    Err(Error::Tokenizer {
        path: origin.to_owned(),
        reason,
    })
}

/// Decodes a growing sequence of ids into pieces of complete text.
///
/// A character whose bytes are spread over several tokens is held back until it is complete. The
/// pieces put together, [`StreamDecoder::finish`] included, are what [`Tokenizer::decode`] gives for
/// all ids at once.
///
/// Only a tail of the ids is decoded again at each step: those of the last piece, whose text a
/// decoder may need in order to place spaces, and those that are held back.
#[derive(Debug)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    skip_special_tokens: bool,
    /// The last piece's ids and the held-back ones.
    ids: Vec<u32>,
    /// How many of `ids` belong to the last piece.
    context: usize,
    /// What of the text of `ids` has been given out.
    before: String,
}

impl StreamDecoder<'_> {
    /// Bytes that are never going to be UTF-8 are held back for this many tokens, a character taking
    /// at most four.
    const MAX_HELD_BACK: usize = 8;
    /// And decoded again for as many at most, which bounds the work of a step.
    const MAX_IDS: usize = 256;

    /// Takes the next id; the text that it completes, often empty.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.decode()?;
        let held_back = self.ids.len() - self.context;
        if !text.ends_with(char::REPLACEMENT_CHARACTER) || held_back >= Self::MAX_IDS {
            return self.give_all(text);
        }
        // Of an incomplete character at the end, some decoders make one U+FFFD and some make one
        // of each byte. What stays after the wait is not UTF-8 at all, save the very last.
        let complete = if held_back < Self::MAX_HELD_BACK {
            text.trim_end_matches(char::REPLACEMENT_CHARACTER)
        } else {
            text.strip_suffix(char::REPLACEMENT_CHARACTER)
                .unwrap_or(&text)
        };
        if complete.len() <= self.before.len() {
            return Ok(String::new());
        }
        let piece = after(&self.before, complete).to_owned();
        self.before = complete.to_owned();
        Ok(piece)
    }

    /// The text that is still held back; a character that never became complete is U+FFFD.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(mut self) -> Result<String> {
        let text = self.decode()?;
        self.give_all(text)
    }

    fn decode(&self) -> Result<String> {
        self.tokenizer.decode(&self.ids, self.skip_special_tokens)
    }

    /// Gives out what is new in `text`, the text of all `ids`, and starts a new piece.
    fn give_all(&mut self, text: String) -> Result<String> {
        let piece = after(&self.before, &text).to_owned();
        if !piece.is_empty() {
            self.ids.drain(..self.context);
            self.context = self.ids.len();
            self.before = self.decode()?;
        }
        Ok(piece)
    }
}

/// What `text` has after its common beginning with `before`.
fn after<'t>(before: &str, text: &'t str) -> &'t str {
    let common = before
        .char_indices()
        .zip(text.chars())
        .find(|((_, a), b)| a != b)
        .map_or(before.len().min(text.len()), |((at, _), _)| at);
    &text[common..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{byte_tokenizer, word_tokenizer};
    use serde_json::{Value, json};

    const EOS: &str = "<|end|>";

    fn load(json: &Value, vocab_size: usize) -> Result<Tokenizer> {
        Tokenizer::from_json(
            json.to_string().as_bytes(),
            Path::new("m/tokenizer.json"),
            &TokenizerConfig::default(),
            vocab_size,
        )
    }

    fn bytes() -> Tokenizer {
        load(&byte_tokenizer(&[EOS]), 300).unwrap()
    }

    /// The pieces of a stream.
    fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
        let mut stream = tokenizer.stream(true);
        let mut pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        pieces.push(stream.finish().unwrap());
        pieces
    }

    #[test]
    fn encodes_and_decodes() {
        let tokenizer = bytes();
        let text = "Grüße, 世界 🦀\n";
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(ids.len(), text.len());
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
        let ids = tokenizer.encode(&format!("a{EOS}"), false).unwrap();
        assert_eq!(ids.last(), Some(&256));
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), "a");
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), format!("a{EOS}"));
        assert_eq!(tokenizer.token_id(EOS), Some(256));
        assert_eq!(tokenizer.token(256).as_deref(), Some(EOS));
        assert_eq!(tokenizer.encode("", true).unwrap(), [0u32; 0]);
    }

    #[test]
    fn pieces_are_the_text_cut_at_tokens() {
        let tokenizer = bytes();
        for text in [
            "Grüße, 世界 🦀\r\n\0",
            "🇩🇪",
            "",
            " a  b ",
            "</script>\u{202e}\u{feff}",
        ] {
            let pieces = tokenizer.pieces(text, true).unwrap();
            let ids: Vec<u32> = pieces.iter().map(|piece| piece.id).collect();
            assert_eq!(ids, tokenizer.encode(text, true).unwrap());
            let whole: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            assert_eq!(whole, text);
        }
        let pieces = tokenizer.pieces("a世b", false).unwrap();
        let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(texts, ["a", "世", "", "", "b"]);

        // Words, with spaces between them that no token has, and one that the vocabulary lacks.
        let words = load(&word_tokenizer(&["<unk>", "the", "code"]), 3).unwrap();
        let pieces = words.pieces("  the crab code ", false).unwrap();
        let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(texts.concat(), "  the crab code ");
        assert_eq!(pieces.len(), 3);

        let demo = crate::runner::Model::demo().unwrap().tokenizer;
        let pieces = demo.pieces("The crab\nwas", true).unwrap();
        assert_eq!(
            (pieces[0].text.as_str(), pieces[0].added),
            ("<|begin|>", true)
        );
        assert!(pieces[1..].iter().all(|piece| !piece.added));
        let texts: String = pieces[1..]
            .iter()
            .map(|piece| piece.text.as_str())
            .collect();
        assert_eq!(texts, "The crab\nwas");
    }

    #[test]
    fn a_stream_never_shows_half_a_character() {
        let tokenizer = bytes();
        let text = "é世🦀a🇩🇪 ﷽ x";
        let ids = tokenizer.encode(text, false).unwrap();
        let pieces = stream(&tokenizer, &ids);
        assert!(pieces.iter().all(|p| !p.contains('\u{fffd}')), "{pieces:?}");
        assert_eq!(pieces.concat(), text);
        assert_eq!(pieces[..3], ["", "é", ""]);
    }

    #[test]
    fn a_stream_of_invalid_bytes_equals_the_whole() {
        let tokenizer = bytes();
        let raw: [&[u8]; 5] = [
            b"a\xff\xfe\xfdb",
            b"\xe4\xb8",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0\x9f\xa6\x80!",
            b"x\xf0\x9f\xa6",
            b"\x80\x80\xc3\xa9\xc3",
        ];
        for raw in raw {
            let ids: Vec<u32> = raw.iter().map(|&b| u32::from(b)).collect();
            let whole = tokenizer.decode(&ids, true).unwrap();
            assert_eq!(whole, String::from_utf8_lossy(raw));
            assert_eq!(stream(&tokenizer, &ids).concat(), whole);
        }
        // Endless rubbish is given out, and does not slow down without bound.
        let ids = vec![0xff; 5000];
        let pieces = stream(&tokenizer, &ids);
        assert_eq!(pieces.concat().chars().count(), 5000);
        assert!(pieces[..600].iter().any(|p| !p.is_empty()));
    }

    #[test]
    fn a_stream_of_words_keeps_the_spaces() {
        let tokenizer = load(&word_tokenizer(&["<unk>", "the", "code", "is", "7"]), 5).unwrap();
        let ids = tokenizer.encode("the code is 7", false).unwrap();
        assert_eq!(ids, [1, 2, 3, 4]);
        assert_eq!(stream(&tokenizer, &ids).concat(), "the code is 7");
        assert_eq!(tokenizer.encode("the ox", false).unwrap(), [1, 0]);
    }

    #[test]
    fn a_stream_skips_special_tokens() {
        let tokenizer = bytes();
        let ids = tokenizer.encode(&format!("a{EOS}{EOS}b"), false).unwrap();
        assert_eq!(stream(&tokenizer, &ids).concat(), "ab");
    }

    #[test]
    fn truncation_padding_and_dropout_are_off() {
        let mut json = byte_tokenizer(&[EOS]);
        json["truncation"] = json!({"direction": "Right", "max_length": 3,
            "strategy": "LongestFirst", "stride": 0});
        json["padding"] = json!({"strategy": {"Fixed": 1_000_000}, "direction": "Right",
            "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"});
        json["model"]["dropout"] = json!(0.9);
        json["model"]["merges"] = json!(["a b"]);
        json["model"]["vocab"]["ab"] = json!(257);
        let tokenizer = load(&json, 300).unwrap();
        for _ in 0..20 {
            assert_eq!(tokenizer.encode("abababab", true).unwrap(), [257; 4]);
        }
    }

    #[test]
    fn refuses_ids_over_the_vocabulary() {
        let tokenizer = load(&byte_tokenizer(&[EOS]), 200).unwrap();
        let error = tokenizer.encode("aÿ🦀", false).unwrap_err();
        // The first byte of the crab.
        assert!(
            matches!(&error, Error::TokenId { id: 0xf0, .. }),
            "{error:?}"
        );
        let error = tokenizer.encode(EOS, false).unwrap_err();
        assert!(
            matches!(&error, Error::TokenId { id: 256, .. }),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(
            message.contains("256") && message.contains("200"),
            "{message}"
        );
        let error = tokenizer.decode(&[1, 4_000_000_000], true).unwrap_err();
        assert!(error.to_string().contains("4000000000"), "{error}");
        assert_eq!(bytes().decode(&[299], true).unwrap(), "");
    }

    #[test]
    fn refuses_a_tokenizer_without_the_special_tokens() {
        let json = byte_tokenizer(&[EOS]).to_string();
        for key in ["bos_token", "eos_token"] {
            let config = format!(r#"{{"{key}": "<|none|>"}}"#);
            let path = Path::new("tokenizer_config.json");
            let config = TokenizerConfig::from_json(config.as_bytes(), path).unwrap();
            let error =
                Tokenizer::from_json(json.as_bytes(), Path::new("t"), &config, 300).unwrap_err();
            assert!(
                matches!(&error, Error::SpecialTokenMissing { key: k, .. } if *k == key),
                "{error:?}"
            );
            let message = error.to_string();
            for part in [key, "<|none|>", "tokenizer_config.json"] {
                assert!(message.contains(part), "{message}");
            }
        }
        let config = format!(r#"{{"eos_token": "{EOS}"}}"#);
        let config = TokenizerConfig::from_json(config.as_bytes(), Path::new("c")).unwrap();
        Tokenizer::from_json(json.as_bytes(), Path::new("t"), &config, 257).unwrap();
        let error =
            Tokenizer::from_json(json.as_bytes(), Path::new("t"), &config, 256).unwrap_err();
        assert!(
            matches!(&error, Error::TokenId { id: 256, .. }),
            "{error:?}"
        );
    }

    #[test]
    fn refuses_broken_files() {
        let parse = |bytes: &[u8]| {
            let config = TokenizerConfig::default();
            Tokenizer::from_json(bytes, Path::new("m/tokenizer.json"), &config, 300).unwrap_err()
        };
        let nested = format!("{{\"model\":{}", "[".repeat(100_000));
        let mut merge = byte_tokenizer(&[]);
        merge["model"]["merges"] = json!(["a nothere"]);
        let mut regex = byte_tokenizer(&[]);
        regex["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "(".repeat(10_000)},
            "behavior": "Isolated", "invert": false});
        let mut kind = byte_tokenizer(&[]);
        kind["model"]["type"] = json!("Elsewhere");
        let files = ["", "{}", "{\"version\": \"9.9\"}", &nested].map(str::to_owned);
        for text in files
            .into_iter()
            .chain([merge, regex, kind].map(|v| v.to_string()))
        {
            let error = parse(text.as_bytes());
            assert!(matches!(&error, Error::Tokenizer { .. }), "{error:?}");
            assert!(error.to_string().contains("m/tokenizer.json"), "{error}");
        }
        let error = parse(b"{\"a\": \"\xff\"}");
        assert!(matches!(&error, Error::NotUtf8 { .. }), "{error:?}");

        let dir = tempfile::tempdir().unwrap();
        let load = || Tokenizer::load(dir.path(), &TokenizerConfig::default(), 300);
        assert!(matches!(load().unwrap_err(), Error::Io { .. }));
        let file = std::fs::File::create(dir.path().join("tokenizer.json")).unwrap();
        file.set_len(MAX_TOKENIZER_BYTES + 1).unwrap();
        let error = load().unwrap_err();
        assert!(matches!(&error, Error::FileTooLarge { .. }), "{error:?}");
        assert!(error.to_string().contains("67108865"), "{error}");
    }

    #[test]
    fn a_panic_of_the_library_is_an_error() {
        let error = guarded::<()>(Path::new("t"), || panic!("at {}", 7)).unwrap_err();
        assert!(error.to_string().contains("at 7"), "{error}");
    }

    #[test]
    fn text_without_a_token_is_an_error() {
        let mut json = word_tokenizer(&["the"]);
        json["model"]["unk_token"] = json!("<unk>");
        let error = load(&json, 5).unwrap().encode("ox", false).unwrap_err();
        assert!(matches!(&error, Error::Tokenizer { .. }), "{error:?}");
    }
}
