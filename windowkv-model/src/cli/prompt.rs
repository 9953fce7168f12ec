//! Prompts from the command line, files and standard input.

use std::io::Read;
use std::path::Path;

use super::terminal;
use crate::{Error, Result};

/// Longest prompt that is read, in bytes: some million tokens, beyond what this runner can work through, so
/// that a wrong file cannot fill the memory (a tokenizer takes some fifty times the text).
const MAX_PROMPT_BYTES: u64 = 1 << 24;

/// The prompt that was given as text, as a file (- is standard input), or on standard input.
pub(super) fn read(text: Option<&str>, file: Option<&Path>) -> Result<String> {
    if let Some(text) = text {
        return Ok(text.to_owned());
    }
    match file {
        Some(path) if path.as_os_str() != "-" => {
            let bytes = crate::files::read_bounded(path, MAX_PROMPT_BYTES)?;
            Ok(crate::files::utf8(&bytes, path)?.to_owned())
        }
        _ => {
            let mut bytes = Vec::new();
            let stdin = std::io::stdin();
            if std::io::IsTerminal::is_terminal(&stdin) {
                terminal::say("type the prompt, then Ctrl-D");
            }
            stdin
                .lock()
                .take(MAX_PROMPT_BYTES + 1)
                .read_to_end(&mut bytes)
                .map_err(|source| Error::Stream {
                    action: "read standard input",
                    source,
                })?;
            let path = Path::new("standard input");
            let len = bytes.len() as u64;
            if len > MAX_PROMPT_BYTES {
                return Err(Error::FileTooLarge {
                    path: path.to_owned(),
                    len,
                    limit: MAX_PROMPT_BYTES,
                });
            }
            Ok(crate::files::utf8(&bytes, path)?.to_owned())
        }
    }
}
