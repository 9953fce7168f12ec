//! Prompts from the command line, files and standard input.

use std::io::{BufRead, Read};
use std::path::Path;

use serde_json::{Map, Value};

use super::terminal;
use crate::lines::{self, Lines};
use crate::{Error, Result};

/// Longest prompt that is read, in bytes: some million tokens, beyond what this runner can work through, so
/// that a wrong file cannot fill the memory (a tokenizer takes some fifty times the text).
const MAX_PROMPT_BYTES: u64 = 1 << 24;
/// Longest line of a JSONL file, in bytes: a prompt of that length, escaped.
const MAX_LINE_BYTES: usize = 1 << 25;

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

/// Calls `each` with every object of a JSONL file (- is standard input) and the number of its line, from 1. Empty lines
/// are passed over; lines are read one by one, so a long file takes no memory.
///
/// # Errors
/// [`Error::NoPrompts`], lines that cannot be used, and what `each` gives.
pub(super) fn json_lines(path: &Path, each: &mut EachLine<'_>) -> Result<()> {
    if path.as_os_str() == "-" {
        let path = Path::new("standard input");
        let lines = Lines::new(std::io::stdin().lock(), path, MAX_LINE_BYTES);
        return objects(lines, path, each);
    }
    objects(Lines::open(path, MAX_LINE_BYTES)?, path, each)
}

fn objects<R: BufRead>(lines: Lines<R>, path: &Path, each: &mut EachLine<'_>) -> Result<()> {
    let mut any = false;
    for line in lines {
        let line = line?;
        if !line.text.trim().is_empty() {
            any = true;
            each(line.number, &lines::parse(&line, path)?)?;
        }
    }
    let path = path.to_owned();
    if any {
        Ok(())
    } else {
        Err(Error::NoPrompts { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8]) -> Result<Vec<usize>> {
        let path = Path::new("f.jsonl");
        let mut numbers = Vec::new();
        let lines = Lines::new(bytes, path, MAX_LINE_BYTES);
        objects(lines, path, &mut |line, _| {
            numbers.push(line);
            Ok(())
        })?;
        Ok(numbers)
    }

    #[test]
    fn objects_are_counted_by_line_and_broken_ones_named() {
        assert_eq!(numbers(b"{}\n\n{\"a\":1}\n").unwrap(), [1, 3]);
        assert_eq!(numbers(b"{}\n{}").unwrap(), [1, 2]);
        for empty in [&b""[..], b"\n  \n"] {
            let message = numbers(empty).unwrap_err().to_string();
            assert!(message.contains("f.jsonl has no prompt"), "{message}");
        }
        for (bytes, part) in [
            (
                &b"{}\n[1]\n"[..],
                "line 2, column 0: invalid type: sequence",
            ),
            (b"{}\n{\"a\":\n{}\n", "line 2, column 5: EOF"),
            (b"{\"a\": \"\xff\"}\n", "line 1: not valid UTF-8 at byte 8"),
        ] {
            let message = numbers(bytes).unwrap_err().to_string();
            assert!(
                message.starts_with("f.jsonl, ") && message.contains(part),
                "{message}"
            );
        }
    }
}
