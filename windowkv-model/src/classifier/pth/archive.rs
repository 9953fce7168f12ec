//! The zip container of torch.save, read strictly: stored entries only, one way to lay out a file.
//!
//! ```text
//! [local header, name, extra, data] ...  central directory  [zip64 record, locator]  end record
//! ```
//! The central directory is believed only where the local headers agree and where no two entries share a byte.
//! Checksums are not compared: torch.save can be told to leave them out.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use super::PthError;

/// The longest file, in bytes: beyond it the format's 64-bit extension would be needed.
pub const MAX_FILE_BYTES: u64 = u32::MAX as u64 - 1;
/// The most entries; BERT-large has some 400.
pub const MAX_ENTRIES: u64 = 1 << 14;
/// The longest central directory, in bytes.
const MAX_DIRECTORY_BYTES: u64 = 1 << 22;
/// The longest name of an entry, in bytes.
const MAX_NAME_BYTES: u64 = 512;

const LOCAL_BYTES: u64 = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: u64 = 22;
const ZIP64_END_BYTES: u64 = 56;
const ZIP64_LOCATOR_BYTES: u64 = 20;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const ZIP64_END: [u8; 4] = *b"PK\x06\x06";
const ZIP64_LOCATOR: [u8; 4] = *b"PK\x06\x07";

const ENCRYPTED: u16 = 1;
/// Sizes stand behind the data (and in the central directory), zeros in the local header.
const SIZES_FOLLOW: u16 = 1 << 3;

/// An archive whose directory has been checked.
#[derive(Debug)]
pub(super) struct Archive<R> {
    reader: R,
    /// The folder that every entry is in.
    root: String,
    /// Name below the root, and where its data is in the file.
    entries: BTreeMap<String, Range<u64>>,
}

/// What the central directory says of an entry.
struct Listed {
    name: String,
    header: u64,
    len: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads and checks the directory.
    pub(super) fn open(mut reader: R) -> Result<Self, PthError> {
        let len = reader.seek(SeekFrom::End(0)).map_err(PthError::Io)?;
        PthError::limit("bytes", len, MAX_FILE_BYTES)?;
        refuse_other_formats(&mut reader, len)?;
        let (directory, count) = directory(&mut reader, len)?;
        let listed = listed(&read(&mut reader, &directory, "the central directory")?)?;
        if listed.len() as u64 != count {
            return Err(PthError::archive(format!(
                "its end record counts {count} entries and its directory lists {}",
                listed.len()
            )));
        }
        let mut root = None;
        let mut entries = BTreeMap::new();
        let mut spans = Vec::with_capacity(listed.len());
        for entry in listed {
            let (folder, name) = plain_parts(&entry.name)?;
            if root.get_or_insert_with(|| folder.to_owned()) != folder {
                return Err(PthError::archive(format!(
                    "entries stand in several folders, {:?} among them",
                    shown(folder)
                )));
            }
            let data = check_local(&mut reader, &entry, directory.start)?;
            spans.push(entry.header..data.end);
            if entries.insert(name.to_owned(), data).is_some() {
                return Err(PthError::archive(format!(
                    "the entry {:?} stands twice in it",
                    shown(&entry.name)
                )));
            }
        }
        spans.sort_by_key(|span| span.start);
        if let Some(pair) = spans.windows(2).find(|pair| pair[0].end > pair[1].start) {
            return Err(PthError::archive(format!(
                "entries overlap at byte {}",
                pair[1].start
            )));
        }
        let root = root.ok_or_else(|| PthError::archive("it has no entries"))?;
        Ok(Self {
            reader,
            root,
            entries,
        })
    }

    /// The length of an entry's data in bytes, if there is such an entry.
    pub(super) fn len(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|data| data.end - data.start)
    }

    /// The data of an entry of at most `limit` bytes (`what` is their name in the plural).
    pub(super) fn read(
        &mut self,
        name: &str,
        what: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, PthError> {
        let data = self.find(name)?;
        PthError::limit(what, data.end - data.start, limit)?;
        read(&mut self.reader, &data, name)
    }

    /// Reads a part of an entry's data: `out.len()` bytes from `offset`.
    pub(super) fn read_part(
        &mut self,
        name: &str,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), PthError> {
        let data = self.find(name)?;
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > data.end - data.start) {
            return Err(PthError::Truncated {
                what: name.to_owned(),
            });
        }
        self.reader
            .seek(SeekFrom::Start(data.start + offset))
            .and_then(|_| self.reader.read_exact(out))
            .map_err(|e| PthError::read(name, e))
    }

    fn find(&self, name: &str) -> Result<Range<u64>, PthError> {
        self.entries.get(name).cloned().ok_or_else(|| {
            PthError::archive(format!(
                "it has no entry {:?}",
                shown(&format!("{}/{name}", self.root))
            ))
        })
    }
}

fn refuse_other_formats<R: Read + Seek>(reader: &mut R, len: u64) -> Result<(), PthError> {
    /// `PROTO 2, LONG1` and the magic number 0x1950a86a20f9469cfc6c.
    const LEGACY: [u8; 14] = *b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";
    let start = read(reader, &(0..len.min(512)), "the file")?;
    if start.starts_with(&LEGACY) || start.starts_with(&[0x80]) {
        return Err(PthError::Legacy);
    }
    if start.get(257..262) == Some(b"ustar") {
        return Err(PthError::LegacyTar);
    }
    if !start.starts_with(&LOCAL) {
        return Err(PthError::NotAnArchive);
    }
    Ok(())
}

/// Where the central directory is, and how many entries it should list. It must end where the end records begin: nothing before, between or
/// behind them, so that no two readers can see different archives in one file.
fn directory<R: Read + Seek>(reader: &mut R, len: u64) -> Result<(Range<u64>, u64), PthError> {
    let truncated = || PthError::Truncated {
        what: "the archive (its end record is missing)".to_owned(),
    };
    let end_start = len.checked_sub(END_BYTES).ok_or_else(truncated)?;
    let end = read(reader, &(end_start..len), "the end record")?;
    if end[..4] != END {
        return Err(truncated());
    }
    let (disk, directory_disk) = (u16_at(&end, 4), u16_at(&end, 6));
    let (here, total) = (u16_at(&end, 8), u16_at(&end, 10));
    let (size, offset) = (u64::from(u32_at(&end, 12)), u64::from(u32_at(&end, 16)));
    if disk != 0 || directory_disk != 0 || here != total {
        return Err(PthError::archive("it is a part of several"));
    }
    PthError::limit("entries", total.into(), MAX_ENTRIES)?;
    PthError::limit("bytes of directory", size, MAX_DIRECTORY_BYTES)?;
    let directory_end = zip64_start(reader, end_start, [total.into(), size, offset])?;
    if offset.checked_add(size) != Some(directory_end) {
        return Err(PthError::archive(format!(
            "its directory of {size} bytes at {offset} does not end at byte {directory_end}"
        )));
    }
    Ok((offset..directory_end, total.into()))
}

/// Where the 64-bit end records begin, which torch.save writes although they say nothing new; `end_start`
/// if there are none. `said` is what the end record says: entries, directory size, directory offset.
fn zip64_start<R: Read + Seek>(
    reader: &mut R,
    end_start: u64,
    said: [u64; 3],
) -> Result<u64, PthError> {
    let Some(locator_start) = end_start.checked_sub(ZIP64_LOCATOR_BYTES) else {
        return Ok(end_start);
    };
    let locator = read(reader, &(locator_start..end_start), "the 64-bit locator")?;
    if locator[..4] != ZIP64_LOCATOR {
        return Ok(end_start);
    }
    let wrong = || PthError::archive("its 64-bit end record contradicts the other one");
    let start = locator_start
        .checked_sub(ZIP64_END_BYTES)
        .ok_or_else(wrong)?;
    let record = read(reader, &(start..locator_start), "the 64-bit end record")?;
    let agrees = record[..4] == ZIP64_END
        && u64_at(&record, 4) == ZIP64_END_BYTES - 12
        && [16, 20].map(|at| u32_at(&record, at)) == [0, 0]
        && u64_at(&record, 24) == said[0]
        && [32, 40, 48].map(|at| u64_at(&record, at)) == said
        && u64_at(&locator, 8) == start;
    if agrees { Ok(start) } else { Err(wrong()) }
}

fn listed(directory: &[u8]) -> Result<Vec<Listed>, PthError> {
    let mut rest = directory;
    let mut listed = Vec::new();
    while !rest.is_empty() {
        let truncated = || PthError::Truncated {
            what: "the central directory".to_owned(),
        };
        let header = rest.get(..CENTRAL_BYTES).ok_or_else(truncated)?;
        if header[..4] != CENTRAL {
            return Err(PthError::archive("its directory is garbled"));
        }
        let (flags, method) = (u16_at(header, 8), u16_at(header, 10));
        let (stored, len) = (u32_at(header, 20), u32_at(header, 24));
        let name_len = usize::from(u16_at(header, 28));
        let tail = usize::from(u16_at(header, 30)) + usize::from(u16_at(header, 32));
        let disk = u16_at(header, 34);
        let offset = u32_at(header, 42);
        PthError::limit("bytes of an entry's name", name_len as u64, MAX_NAME_BYTES)?;
        let end = CENTRAL_BYTES + name_len + tail;
        let name = rest
            .get(CENTRAL_BYTES..CENTRAL_BYTES + name_len)
            .ok_or_else(truncated)?;
        rest = rest.get(end..).ok_or_else(truncated)?;
        let name = std::str::from_utf8(name).map_err(|_| PthError::EntryName {
            name: shown(&String::from_utf8_lossy(name)),
        })?;
        check_stored(name, flags, method)?;
        if stored != len || disk != 0 || [stored, offset].contains(&u32::MAX) {
            return Err(PthError::archive(format!(
                "the entry {:?} has {len} bytes and takes {stored}",
                shown(name)
            )));
        }
        listed.push(Listed {
            name: name.to_owned(),
            header: offset.into(),
            len: len.into(),
        });
        PthError::limit("entries", listed.len() as u64, MAX_ENTRIES)?;
    }
    Ok(listed)
}

/// Checks an entry's local header and returns where its data is, before `limit`.
fn check_local<R: Read + Seek>(
    reader: &mut R,
    entry: &Listed,
    limit: u64,
) -> Result<Range<u64>, PthError> {
    let what = || format!("the entry {:?}", shown(&entry.name));
    let contradicts =
        || PthError::archive(format!("{} is described in two different ways", what()));
    let name_start = entry.header + LOCAL_BYTES;
    if name_start > limit {
        return Err(PthError::archive(format!("{} is out of it", what())));
    }
    let header = read(reader, &(entry.header..name_start), &what())?;
    if header[..4] != LOCAL {
        return Err(contradicts());
    }
    let (flags, method) = (u16_at(&header, 6), u16_at(&header, 8));
    check_stored(&entry.name, flags, method)?;
    let sizes = [18, 22].map(|at| u64::from(u32_at(&header, at)));
    let follow = flags & SIZES_FOLLOW != 0 && sizes == [0, 0];
    if !follow && sizes != [entry.len, entry.len] {
        return Err(contradicts());
    }
    let name_len = u64::from(u16_at(&header, 26));
    if name_len != entry.name.len() as u64 || name_start + name_len > limit {
        return Err(contradicts());
    }
    let name = read(reader, &(name_start..name_start + name_len), &what())?;
    if name != entry.name.as_bytes() {
        return Err(contradicts());
    }
    let start = name_start + name_len + u64::from(u16_at(&header, 28));
    let end = start + entry.len;
    if end > limit {
        return Err(PthError::Truncated { what: what() });
    }
    Ok(start..end)
}

fn check_stored(name: &str, flags: u16, method: u16) -> Result<(), PthError> {
    let how = match (flags & ENCRYPTED != 0, method) {
        (true, _) => "encrypted".to_owned(),
        (false, 0) => return Ok(()),
        (false, method) => format!("compressed (method {method})"),
    };
    Err(PthError::NotStored {
        name: shown(name),
        how,
    })
}

/// The first part of a name, and the rest.
fn plain_parts(name: &str) -> Result<(&str, &str), PthError> {
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && !part.contains(['\\', ':'])
            && !part.contains(char::is_control)
    };
    match name.split_once('/') {
        Some(parts) if name.split('/').all(plain) => Ok(parts),
        _ => Err(PthError::EntryName { name: shown(name) }),
    }
}

/// A name as an error shows it: at most 80 characters.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// Reads a range of the file; callers bound its length first.
fn read<R: Read + Seek>(
    reader: &mut R,
    range: &Range<u64>,
    what: &str,
) -> Result<Vec<u8>, PthError> {
    let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    reader
        .seek(SeekFrom::Start(range.start))
        .and_then(|_| reader.read_exact(&mut bytes))
        .map_err(|e| PthError::read(what, e))?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
