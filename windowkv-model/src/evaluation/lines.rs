//! The lines of a text file from outside: each bounded, checked to be UTF-8, and known by its number.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::{Error, Result, files};

/// A line that cannot be read. Those after it can.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// A line is longer than anything that is read into memory.
    #[error("{}, line {line}: longer than {limit} bytes, the most that a line may have; split it or leave it out", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The greatest length in bytes, the line's end left out.
        limit: usize,
    },
    /// A line is not valid UTF-8.
    #[error("{}, line {line}: not valid UTF-8 at byte {byte} of the line; save the file as UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The first wrong byte of the line, from 1.
        byte: usize,
    },
    /// A line is not the JSON that it should be.
    #[error("{}, line {line}, column {}: {}; each line must be one JSON object of this form",
            path.display(), source.column(), reason(source))]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and in which column.
        source: serde_json::Error,
    },
}

/// What is wrong with JSON, without the place within its text, which is one line of a file.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// Its text without the end (`\n` or `\r\n`).
    pub text: String,
    /// Byte of the file at which it begins.
    pub start: u64,
    /// Whether a `\n` ends it; the last line of a file may lack it.
    pub ended: bool,
}

/// Iterates over the lines of a file. After a [`LineError`] it goes on with the next line; after an I/O error it ends.
#[derive(Debug)]
pub struct Lines<R = BufReader<File>> {
    reader: R,
    path: PathBuf,
    limit: usize,
    number: usize,
    offset: u64,
    ended: bool,
    failed: bool,
}

impl Lines {
    /// The lines of the regular file `path`, of at most `limit` bytes each.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAFile`].
    pub fn open(path: &Path, limit: usize) -> Result<Self> {
        let file = files::open_regular(path)?;
        Ok(Lines::new(BufReader::new(file), path, limit))
    }

    /// As [`Lines::open`], from line `number` on, which begins at byte `start`.
    ///
    /// # Errors
    /// As [`Lines::open`].
    pub fn open_at(path: &Path, limit: usize, start: u64, number: usize) -> Result<Self> {
        let mut file = files::open_regular(path)?;
        file.seek(SeekFrom::Start(start))
            .map_err(|source| Error::io(path, "read", source))?;
        let mut lines = Lines::new(BufReader::new(file), path, limit);
        lines.number = number - 1;
        lines.offset = start;
        Ok(lines)
    }
}

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`; `path` is what errors name.
    pub fn new(reader: R, path: &Path, limit: usize) -> Self {
        Self {
            reader,
            path: path.to_owned(),
            limit,
            number: 0,
            offset: 0,
            ended: true,
            failed: false,
        }
    }

    /// Lines that were read so far, those with errors included.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Bytes that were read so far: where the next line begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether a `\n` ended the last line that was read, with or without an error.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn read(&mut self) -> Result<Option<Line>> {
        let io = |path: &Path, source| Error::io(path, "read", source);
        let mut bytes = Vec::new();
        // One byte more for the line's end, one more to see that it is too long.
        let most = self.limit as u64 + 2;
        let mut read = (&mut self.reader)
            .take(most)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| io(&self.path, source))? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.ended = bytes.last() == Some(&b'\n');
        if self.ended {
            bytes.pop();
        }
        let too_long = bytes.len() > self.limit + usize::from(bytes.last() == Some(&b'\r'));
        if too_long && !self.ended {
            read += self
                .skip_to_end()
                .map_err(|source| io(&self.path, source))?;
        }
        self.number += 1;
        let (line, start) = (self.number, self.offset);
        self.offset += read;
        let path = || self.path.clone();
        if too_long {
            return Err(LineError::TooLong {
                path: path(),
                line,
                limit: self.limit,
            }
            .into());
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(Line {
                number: line,
                text,
                start,
                ended: self.ended,
            })),
            Err(error) => Err(LineError::NotUtf8 {
                path: path(),
                line,
                byte: error.utf8_error().valid_up_to() + 1,
            }
            .into()),
        }
    }

    /// Drops the rest of a line; the bytes that it had.
    fn skip_to_end(&mut self) -> std::io::Result<u64> {
        let mut skipped = 0;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.ended = end.is_some();
            self.reader.consume(used);
            skipped += used as u64;
            if self.ended || used == 0 {
                return Ok(skipped);
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.read();
        self.failed = matches!(line, Err(Error::Io { .. }));
        line.transpose()
    }
}

/// Parses one line as JSON; `path` is the file that an error names.
///
/// # Errors
/// [`LineError::Json`].
pub fn parse<T: DeserializeOwned>(line: &Line, path: &Path) -> Result<T> {
    serde_json::from_str(&line.text).map_err(|source| {
        LineError::Json {
            path: path.to_owned(),
            line: line.number,
            source,
        }
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], limit: usize) -> Vec<Result<Line, String>> {
        Lines::new(bytes, Path::new("file"), limit)
            .map(|line| line.map_err(|error| error.to_string()))
            .collect()
    }

    fn line(number: usize, text: &str, start: u64, ended: bool) -> Line {
        Line {
            number,
            text: text.to_owned(),
            start,
            ended,
        }
    }

    #[test]
    fn lines_are_numbered_and_know_where_they_begin() {
        assert_eq!(read(b"", 4), []);
        assert_eq!(
            read("a\r\n\n\u{e9}\nlast".as_bytes(), 4),
            [
                Ok(line(1, "a", 0, true)),
                Ok(line(2, "", 3, true)),
                Ok(line(3, "\u{e9}", 4, true)),
                Ok(line(4, "last", 7, false)),
            ]
        );
    }

    #[test]
    fn json_is_wrong_in_a_line_and_a_column() {
        let path = Path::new("file");
        let message = |text| {
            let line = line(7, text, 0, true);
            parse::<Vec<u8>>(&line, path).unwrap_err().to_string()
        };
        assert!(message("[1, x]").starts_with("file, line 7, column 5: expected value; each"));
        assert!(
            message("[1, 300]")
                .contains("column 7: invalid value: integer `300`, expected u8; each")
        );
    }

    #[test]
    fn reading_begins_at_any_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "a\r\n\u{e9}\nc").unwrap();
        for Line { number, start, .. } in Lines::open(&path, 4).unwrap().map(Result::unwrap) {
            let whole: Vec<_> = Lines::open(&path, 4).unwrap().map(Result::unwrap).collect();
            let part = Lines::open_at(&path, 4, start, number).unwrap();
            let part: Vec<_> = part.map(Result::unwrap).collect();
            assert_eq!(part, whole[number - 1..]);
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_the_next_is_read() {
        let long = [b"12345\r\n".as_slice(), &[b'x'; 100], b"\n12345\nab\xffc\n"].concat();
        let lines = read(&long, 5);
        assert_eq!(lines[0], Ok(line(1, "12345", 0, true)));
        let error = lines[1].as_ref().unwrap_err();
        assert!(
            error.starts_with("file, line 2: longer than 5 bytes"),
            "{error}"
        );
        assert_eq!(lines[2], Ok(line(3, "12345", 108, true)));
        let error = lines[3].as_ref().unwrap_err();
        assert!(
            error.contains("line 4: not valid UTF-8 at byte 3"),
            "{error}"
        );
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_line_without_end_is_not_read_into_memory() {
        let endless = std::io::repeat(b'x').take(1 << 32);
        let mut lines = Lines::new(BufReader::new(endless), Path::new("file"), 1 << 10);
        assert!(lines.next().unwrap().is_err());
        assert!(lines.next().is_none());
    }
}
