//! One safetensors file: its header, checked, and its tensors.
//!
//! The layout: eight bytes with the header's length N (little-endian), N bytes of JSON that give each
//! tensor's dtype, shape and byte offsets, and then the elements, which must follow one another
//! without hole or overlap to the end of the file.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{IgnoredAny, IntoDeserializer, MapAccess, Visitor};

use super::guarded_map::GuardedMap;
use super::tensor::{DType, Source, Tensor};
use crate::error::{Error, Result};

/// The greatest header that is accepted, in bytes: some 100,000 tensors.
pub const MAX_HEADER_BYTES: u64 = 1 << 24;

/// An opened file whose header has been checked against its length.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    source: Source,
    entries: HashMap<String, Entry>,
}

/// Where and what a tensor is.
#[derive(Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Byte offsets in the file.
    range: Range<usize>,
}

impl SafetensorsFile {
    /// Maps and checks the file at `path`.
    ///
    /// # Errors
    /// Those of [`GuardedMap::open`] and [`SafetensorsFile::new`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::new(path, Source::Mapped(Arc::new(GuardedMap::open(path)?)))
    }

    /// Checks the header in `source`; `path` is what errors name.
    ///
    /// # Errors
    /// [`Error::WeightsTruncated`], [`Error::WeightsHeader`], and [`Error::TensorDtype`] for a dtype
    /// that the format does not know.
    pub(super) fn new(path: &Path, source: Source) -> Result<Self> {
        let bytes = source.bytes();
        let truncated = |needed: u64| Error::WeightsTruncated {
            path: path.to_owned(),
            len: bytes.len() as u64,
            needed,
        };
        let invalid = |reason: String| Error::WeightsHeader {
            path: path.to_owned(),
            reason,
        };
        let Some((header_len, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(truncated(8));
        };
        let header_len = u64::from_le_bytes(*header_len);
        if header_len > MAX_HEADER_BYTES {
            return Err(invalid(format!(
                "its header would have {header_len} bytes; at most {MAX_HEADER_BYTES} are read"
            )));
        }
        if header_len > rest.len() as u64 {
            return Err(truncated(8 + header_len));
        }
        // A copy: the file may change while it is parsed.
        let header = rest[..header_len as usize].to_vec();
        let header: Header = serde_json::from_slice(&header)
            .map_err(|e| invalid(format!("its header is not as it should be: {e}")))?;

        let data_start = 8 + header_len as usize;
        let mut entries = HashMap::with_capacity(header.0.len());
        let data_len = check_layout(path, header, data_start, &mut entries)?;
        let needed = data_len
            .checked_add(data_start)
            .ok_or_else(|| invalid(format!("its tensors would have {data_len} bytes")))?;
        if bytes.len() < needed {
            return Err(truncated(needed as u64));
        }
        if bytes.len() > needed {
            let extra = bytes.len() - needed;
            return Err(invalid(format!("{extra} bytes follow the last tensor")));
        }
        Ok(SafetensorsFile {
            path: path.to_owned(),
            source,
            entries,
        })
    }

    /// The path that errors name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file has a tensor of that name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The tensor `name`, which must have the shape `expected`; `hint` ends the message if it is absent.
    ///
    /// # Errors
    /// [`Error::TensorMissing`], [`Error::TensorShape`], [`Error::TensorDtype`].
    pub(crate) fn tensor(
        &self,
        name: &str,
        expected: &[usize],
        hint: &'static str,
    ) -> Result<Tensor> {
        let entry = self.entries.get(name).ok_or_else(|| Error::TensorMissing {
            path: self.path.clone(),
            name: name.to_owned(),
            hint,
        })?;
        if entry.shape != expected {
            return Err(Error::TensorShape {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: expected.to_vec(),
                found: entry.shape.clone(),
            });
        }
        let dtype = match entry.dtype {
            Dtype::BF16 => DType::Bf16,
            Dtype::F16 => DType::F16,
            Dtype::F32 => DType::F32,
            other => return Err(dtype_error(&self.path, name, &other.to_string())),
        };
        Ok(Tensor::new(
            dtype,
            entry.shape.clone(),
            &self.source,
            entry.range.clone(),
        ))
    }

    /// Whether the file is still what it was when it was opened.
    ///
    /// # Errors
    /// [`Error::WeightsChanged`].
    pub(crate) fn check(&self) -> Result<()> {
        match &self.source {
            Source::Mapped(map) => map.check(),
            Source::Static(_) => Ok(()),
        }
    }
}

fn dtype_error(path: &Path, name: &str, dtype: &str) -> Error {
    Error::TensorDtype {
        path: path.to_owned(),
        name: name.to_owned(),
        dtype: dtype.to_owned(),
    }
}

/// Checks that the tensors fill the data from offset 0 without hole or overlap and that each has as
/// many bytes as its shape and dtype say; fills `entries` and returns the length of the data.
fn check_layout(
    path: &Path,
    header: Header,
    data_start: usize,
    entries: &mut HashMap<String, Entry>,
) -> Result<usize> {
    let invalid = |reason: String| Error::WeightsHeader {
        path: path.to_owned(),
        reason,
    };
    let mut tensors = header.0;
    tensors.sort_by_key(|(_, raw)| raw.data_offsets);
    let mut position = 0;
    for (name, raw) in tensors {
        let dtype: Result<Dtype, serde::de::value::Error> =
            Dtype::deserialize::<StrDeserializer<'_, _>>(raw.dtype.as_str().into_deserializer());
        let dtype = dtype.map_err(|_| dtype_error(path, &name, &raw.dtype))?;
        let (start, end) = raw.data_offsets;
        if start != position || end < start {
            return Err(invalid(format!(
                "tensor `{name}` is at the offsets {start} to {end}; it must begin at {position}"
            )));
        }
        let bits = raw
            .shape
            .iter()
            .try_fold(dtype.bitsize(), |bits, &n| bits.checked_mul(n));
        if bits.is_none_or(|bits| bits % 8 != 0 || bits / 8 != end - start) {
            return Err(invalid(format!(
                "tensor `{name}` of dtype {dtype} and shape {:?} has {} bytes",
                raw.shape,
                end - start
            )));
        }
        position = end;
        let range = start
            .checked_add(data_start)
            .zip(end.checked_add(data_start));
        let Some((start, end)) = range else {
            return Err(invalid(format!("tensor `{name}` ends at {end}")));
        };
        let entry = Entry {
            dtype,
            shape: raw.shape,
            range: start..end,
        };
        if entries.insert(name.clone(), entry).is_some() {
            return Err(invalid(format!("tensor `{name}` is there twice")));
        }
    }
    Ok(position)
}

/// The header as it is written, in the order of the file.
struct Header(Vec<(String, RawEntry)>);

#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;

        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        tensors.push((name, map.next_value()?));
                    }
                }
                Ok(Header(tensors))
            }
        }

        deserializer.deserialize_map(Tensors)
    }
}
