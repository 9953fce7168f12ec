//! Reading small files without trusting them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The greatest length of `config.json` and `generation_config.json`, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// What the name of a file that is being written ends with.
pub(crate) const NEW: &str = ".new";

/// Opens a regular file for reading; a folder, pipe or device is refused before it is opened, so
/// that a pipe without a writer cannot hang the program.
///
/// # Errors
/// [`Error::Io`], [`Error::NotAFile`].
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, "open", e))?;
    if !metadata.is_file() {
        return Err(Error::NotAFile {
            path: path.to_owned(),
        });
    }
    File::open(path).map_err(|e| Error::io(path, "open", e))
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Io`], [`Error::NotAFile`], [`Error::FileTooLarge`] (found out before anything is read,
/// and again if the file grows meanwhile).
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open_regular(path)?;
    let too_large = |len| Error::FileTooLarge {
        path: path.to_owned(),
        len,
        limit,
    };
    let len = file
        .metadata()
        .map_err(|e| Error::io(path, "read", e))?
        .len();
    if len > limit {
        return Err(too_large(len));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(path, "read", e))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// As [`read_bounded`], with `None` for a file that does not exist.
///
/// # Errors
/// As [`read_bounded`], without the absent file.
pub(crate) fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match read_bounded(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file whole or not at all, whatever interrupts it: beside its place first, from where it is moved there.
/// What was there before stays until then.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(NEW);
    let new = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        sync_dir(dir.unwrap_or(Path::new(".")))
    };
    write().map_err(|source| {
        let _ = std::fs::remove_file(&new);
        Error::io(path, "write", source)
    })
}

/// Lets a new name in a folder survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// The text of `bytes`; `origin` is the path that an error names.
///
/// # Errors
/// [`Error::NotUtf8`].
pub(crate) fn utf8<'a>(bytes: &'a [u8], origin: &Path) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|source| Error::NotUtf8 {
        path: origin.to_owned(),
        source,
    })
}

/// Parses `bytes` as one JSON object; `origin` is the path that an error names.
///
/// # Errors
/// [`Error::NotUtf8`], [`Error::Json`], and [`Error::InvalidField`] for JSON that is not an object.
pub(crate) fn parse_object(bytes: &[u8], origin: &Path) -> Result<Map<String, Value>> {
    let value = serde_json::from_str(utf8(bytes, origin)?).map_err(|source| Error::Json {
        path: origin.to_owned(),
        source,
    })?;
    match value {
        Value::Object(object) => Ok(object),
        other => Err(Error::InvalidField {
            path: origin.to_owned(),
            field: "(the whole file)".into(),
            value: shown(&other),
            expected: "an object".into(),
        }),
    }
}

/// A JSON value as an error shows it: at most 80 characters.
pub(crate) fn shown(value: &Value) -> String {
    const MAX_CHARS: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
