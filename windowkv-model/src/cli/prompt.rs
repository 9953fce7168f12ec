//! Prompts from the command line, files and standard input.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value};

use super::terminal;
use crate::{Error, Result};

/// Longest prompt that is read, in bytes: some million tokens, beyond what this runner can work through, so
/// that a wrong file cannot fill the memory (a tokenizer takes some fifty times the text).
const MAX_PROMPT_BYTES: u64 = 1 << 24;
/// Longest line of a JSONL file, in bytes: a prompt of that length, escaped.
const MAX_LINE_BYTES: u64 = 1 << 25;

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

/// What is done with a line of a JSONL file: its number, from 1, and its object.
type EachLine<'a> = dyn FnMut(usize, &Map<String, Value>) -> Result<()> + 'a;

/// Calls `each` with every line of a JSONL file (- is standard input) and its number, from 1. Empty lines are
/// passed over; lines are read one by one, so a long file takes no memory.
pub(super) fn json_lines(path: &Path, each: &mut EachLine<'_>) -> Result<()> {
    if path.as_os_str() == "-" {
        return lines_of(
            &mut std::io::stdin().lock(),
            Path::new("standard input"),
            each,
        );
    }
    let file = crate::files::open_regular(path)?;
    lines_of(&mut BufReader::new(file), path, each)
}

fn lines_of(reader: &mut dyn BufRead, path: &Path, each: &mut EachLine<'_>) -> Result<()> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = Read::take(&mut *reader, MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes);
        read.map_err(|e| Error::io(path, "read", e))?;
        if bytes.is_empty() {
            break;
        }
        let wrong = |reason: String| json_line(path, line, reason);
        if bytes.len() as u64 > MAX_LINE_BYTES {
            return Err(wrong(format!(
                "it has more than {MAX_LINE_BYTES} bytes, the longest that is read"
            )));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let torn = match bytes.ends_with(b"\n") {
            true => "",
            false => "; it is the last one and has no end: the file may be torn",
        };
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => each(line, &object)?,
            Ok(_) => return Err(wrong("it is not a JSON object".to_owned())),
            Err(error) => return Err(wrong(format!("it is not valid JSON ({error}){torn}"))),
        }
    }
    Ok(())
}

/// An [`Error::JsonLine`].
pub(super) fn json_line(path: &Path, line: usize, reason: impl Into<String>) -> Error {
    Error::JsonLine {
        path: path.to_owned(),
        line,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Result<Vec<usize>> {
        let mut numbers = Vec::new();
        lines_of(&mut &bytes[..], Path::new("f.jsonl"), &mut |line, _| {
            numbers.push(line);
            Ok(())
        })?;
        Ok(numbers)
    }

    #[test]
    fn lines_are_counted_and_broken_ones_named() {
        assert_eq!(lines(b"{}\n\n{\"a\":1}\n").unwrap(), [1, 3]);
        assert_eq!(lines(b"{}\n{}").unwrap(), [1, 2]);
        assert_eq!(lines(b"").unwrap(), [0; 0]);
        for (bytes, part) in [
            (&b"{}\n[1]\n"[..], "line 2: it is not a JSON object"),
            (b"{}\n{\"a\":\n{}\n", "line 2: it is not valid JSON"),
            (b"{}\n{\"a\": \"b", "torn"),
            (b"{\"a\": \"\xff\"}\n", "line 1: it is not valid JSON"),
        ] {
            let message = lines(bytes).unwrap_err().to_string();
            assert!(
                message.contains(part) && message.contains("f.jsonl"),
                "{message}"
            );
        }
    }
}
