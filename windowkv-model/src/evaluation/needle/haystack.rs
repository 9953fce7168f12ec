//! The text that a needle is hidden in.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::NeedleError;
use crate::evaluation::fingerprint::hex;
use crate::lines::Lines;
use crate::{Error, Result};

/// The longest line of a haystack's file, in bytes.
const MAX_LINE_BYTES: usize = 1 << 24;
/// Bytes after which no further line is read: some million tokens, beyond any prompt.
const MAX_BYTES: usize = 1 << 24;

/// Text for as many prompts as are asked for: it begins anew at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haystack {
    /// The texts of the files in the order of their names.
    pub texts: Vec<String>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl Haystack {
    /// The `*.txt` files of the folder `dir`, in the order of their names.
    ///
    /// # Errors
    /// [`NeedleError::NoText`], [`Error::Io`], and `LineError` for text that is not UTF-8 or has a line
    /// without end, with file and line.
    pub fn read(dir: &Path) -> Result<Self> {
        let list = |source| Error::io(dir, "list", source);
        let entries = std::fs::read_dir(dir).map_err(list)?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| Ok(entry.map_err(list)?.path()))
            .collect::<Result<_>>()?;
        paths.sort();
        let all = paths.len();
        paths.retain(|path| path.extension().is_some_and(|ext| ext == "txt") && path.is_file());
        let (files, others) = (paths.len(), all - paths.len());
        let (mut texts, mut bytes, mut empty) = (Vec::new(), 0, 0);
        let (mut unread, mut cut_files) = (0, 0);
        for path in &paths {
            if bytes >= MAX_BYTES {
                unread += 1;
                continue;
            }
            let (text, cut) = read_text(path, MAX_BYTES - bytes)?;
            cut_files += usize::from(cut);
            if text.trim().is_empty() {
                empty += 1;
                continue;
            }
            bytes += text.len();
            texts.push(text);
        }
        if texts.is_empty() {
            let dir = dir.to_owned();
            return Err(NeedleError::NoText { dir, files }.into());
        }
        let note = |count: usize, what: &str| {
            (count > 0).then(|| format!("{}: skipped {count} {what}", dir.display()))
        };
        let notes = [
            note(others, "that are not *.txt files"),
            note(empty, "empty *.txt files"),
            note(unread, "*.txt files: those before are text enough"),
            note(cut_files, "file's end: its beginning is text enough"),
        ];
        Ok(Self {
            texts,
            notes: notes.into_iter().flatten().collect(),
        })
    }

    /// Generated sentences without any fact, enough for `tokens` tokens of any tokenizer.
    pub fn generated(tokens: usize, seed: u64) -> Self {
        // A word is a token or more.
        let text = crate::demo::prompts::filler(tokens, seed);
        Self {
            texts: vec![text],
            notes: Vec::new(),
        }
    }

    /// SHA-256 of the texts, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for text in &self.texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hex(&hash.finalize())
    }
}

/// The lines of a file until they have `enough` bytes, and whether there are more.
fn read_text(path: &Path, enough: usize) -> Result<(String, bool)> {
    let mut text = String::new();
    for line in Lines::open(path, MAX_LINE_BYTES)? {
        if text.len() >= enough {
            return Ok((text, true));
        }
        text.push_str(&line?.text);
        text.push('\n');
    }
    Ok((text, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    #[test]
    fn files_are_read_in_order_and_what_is_skipped_is_counted() {
        let dir = folder(&[
            ("b.txt", b"second\r\n"),
            ("a.txt", b"first"),
            ("empty.txt", b" \n"),
            ("notes.md", b"no"),
            ("image.png", b"\xff"),
        ]);
        std::fs::create_dir(dir.path().join("folder.txt")).unwrap();
        let haystack = Haystack::read(dir.path()).unwrap();
        assert_eq!(haystack.texts, ["first\n", "second\n"]);
        let notes = haystack.notes.join("; ");
        assert!(notes.contains("skipped 3 that are not *.txt"), "{notes}");
        assert!(notes.contains("skipped 1 empty"), "{notes}");
    }

    #[test]
    fn a_file_without_end_is_read_as_far_as_there_is_text_enough() {
        let line = [b'a'; 1 << 20];
        let lines = [&line[..]; 20].join(&b'\n');
        let dir = folder(&[("a.txt", &lines), ("b.txt", b"more")]);
        let haystack = Haystack::read(dir.path()).unwrap();
        assert_eq!(haystack.texts.len(), 1);
        assert!((MAX_BYTES..MAX_BYTES + line.len() + 20).contains(&haystack.texts[0].len()));
        let notes = haystack.notes.join("; ");
        assert!(notes.contains("skipped 1 file's end"), "{notes}");
        assert!(notes.contains("skipped 1 *.txt files"), "{notes}");
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let error = |dir: &Path| Haystack::read(dir).unwrap_err().to_string();
        let dir = folder(&[("a.txt", b"one\ntw\xffo\n")]);
        let found = error(dir.path());
        assert!(
            found.contains("a.txt, line 2: not valid UTF-8 at byte 3"),
            "{found}"
        );
        let dir = folder(&[("a.txt", b""), ("b.md", b"text")]);
        let found = error(dir.path());
        assert!(found.contains("no text: 1 of its files"), "{found}");
        assert!(error(&dir.path().join("none")).contains("cannot list"));
    }
}
