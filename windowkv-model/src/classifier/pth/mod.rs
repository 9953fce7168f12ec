//! PyTorch's `.pth` and `.bin` files: the tensors of a state dict, read without unpickling.
//!
//! A file that torch.save writes (since 1.6) is a zip archive of stored entries: `data.pkl`, a pickle stream
//! that describes the tensors, and `data/<key>`, their elements. Loading such a file in Python runs whatever its
//! stream says. Here the stream is read as data: an allow-list of operations and names, everything else is an
//! error. Lengths are checked before memory is taken; a tensor takes what the caller expects of it and no more.

mod archive;
mod error;
mod pickle;

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use half::{bf16, f16};

pub use archive::{MAX_ENTRIES, MAX_FILE_BYTES};
pub use error::PthError;
pub use pickle::{
    MAX_DEPTH, MAX_MEMO, MAX_OPERATIONS, MAX_PICKLE_BYTES, MAX_STACK, MAX_TEXT_BYTES,
};

use crate::error::{Error, Result};
use crate::files::open_regular;
use archive::Archive;
use pickle::{ElementType, Storage, View};

/// A state dict whose description has been checked; elements are read when they are asked for.
#[derive(Debug)]
pub struct StateDict<R = std::fs::File> {
    path: PathBuf,
    archive: Archive<R>,
    storages: Vec<Storage>,
    tensors: HashMap<String, View>,
}

impl StateDict {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::NotAFile`]; [`Error::Pth`] for everything that is wrong with the file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(open_regular(path)?, path)
    }
}

impl<R: Read + Seek> StateDict<R> {
    /// Reads the description from `reader`; `path` is what errors name.
    ///
    /// # Errors
    /// [`Error::Pth`].
    pub fn new(reader: R, path: &Path) -> Result<Self> {
        let described = describe(reader).map_err(|source| Error::pth(path, source))?;
        let (archive, storages, tensors) = described;
        Ok(Self {
            path: path.to_owned(),
            archive,
            storages,
            tensors,
        })
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Names and shapes of all tensors, by name.
    pub fn tensors(&self) -> Vec<(&str, &[u64])> {
        let mut tensors: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, view)| (name.as_str(), view.shape.as_slice()))
            .collect();
        tensors.sort_unstable();
        tensors
    }

    /// The elements of a tensor, converted to f32, if it is there. Its shape must be `expected`, which the caller
    /// takes from a checked config: so a file never decides how much memory is taken.
    ///
    /// # Errors
    /// [`Error::TensorShape`], [`Error::TensorDtype`] for whole numbers, [`Error::Pth`] if the file ends early.
    pub fn tensor(&mut self, name: &str, expected: &[usize]) -> Result<Option<Vec<f32>>> {
        let Some(view) = self.tensors.get(name) else {
            return Ok(None);
        };
        if !view
            .shape
            .iter()
            .copied()
            .eq(expected.iter().map(|&length| length as u64))
        {
            return Err(Error::TensorShape {
                path: self.path.clone(),
                name: name.to_owned(),
                expected: expected.to_vec(),
                found: view.shape.iter().map(|&length| length as usize).collect(),
            });
        }
        let storage = &self.storages[view.storage];
        if let ElementType::Other { name: dtype, .. } = storage.elements {
            return Err(Error::TensorDtype {
                path: self.path.clone(),
                name: name.to_owned(),
                dtype: dtype.to_owned(),
            });
        }
        let len = expected.iter().product();
        let values = read_elements(&mut self.archive, storage, view.offset, len);
        values
            .map(Some)
            .map_err(|source| Error::pth(&self.path, source))
    }
}

type Described<R> = (Archive<R>, Vec<Storage>, HashMap<String, View>);

fn describe<R: Read + Seek>(reader: R) -> std::result::Result<Described<R>, PthError> {
    let mut archive = Archive::open(reader)?;
    if archive.len("constants.pkl").is_some() {
        return Err(PthError::TorchScript);
    }
    if archive.len("byteorder").is_some() {
        let order = archive.read("byteorder", "bytes of byteorder", 16)?;
        if order != b"little" {
            return Err(PthError::archive(
                "its numbers are not little-endian, which is not read",
            ));
        }
    }
    let stream = archive.read("data.pkl", "bytes of data.pkl", MAX_PICKLE_BYTES)?;
    let described = pickle::state_dict(&stream)?;
    for storage in &described.storages {
        let tensor = |reason| PthError::Tensor {
            name: format!("data/{}", storage.key),
            reason,
        };
        let bytes = storage.len.checked_mul(storage.elements.size());
        let found = archive.len(&format!("data/{}", storage.key));
        match (bytes, found) {
            (_, None) => return Err(tensor("described but not stored".to_owned())),
            (Some(bytes), Some(found)) if bytes == found => {}
            (_, Some(found)) => {
                return Err(tensor(format!(
                    "of {} elements of {} bytes, stored in {found} bytes",
                    storage.len,
                    storage.elements.size()
                )));
            }
        }
    }
    let mut tensors = HashMap::with_capacity(described.tensors.len());
    for (name, view) in described.tensors {
        if tensors.insert(name.clone(), view).is_some() {
            let reason = "twice".to_owned();
            return Err(PthError::Tensor { name, reason });
        }
    }
    Ok((archive, described.storages, tensors))
}

fn read_elements<R: Read + Seek>(
    archive: &mut Archive<R>,
    storage: &Storage,
    offset: u64,
    len: usize,
) -> std::result::Result<Vec<f32>, PthError> {
    /// Bytes that are converted at once.
    const CHUNK: usize = 1 << 16;
    let entry = format!("data/{}", storage.key);
    let size = storage.elements.size() as usize;
    let mut values = Vec::with_capacity(len);
    let mut chunk = vec![0; CHUNK];
    let mut position = offset * size as u64;
    while values.len() < len {
        let bytes = &mut chunk[..CHUNK.min((len - values.len()) * size)];
        archive.read_part(&entry, position, bytes)?;
        position += bytes.len() as u64;
        let elements = bytes.chunks_exact(size);
        match storage.elements {
            ElementType::F64 => {
                values.extend(elements.map(|e| f64::from_le_bytes(array(e)) as f32))
            }
            ElementType::F32 => values.extend(elements.map(|e| f32::from_le_bytes(array(e)))),
            ElementType::F16 => {
                values.extend(elements.map(|e| f16::from_le_bytes(array(e)).to_f32()));
            }
            ElementType::Bf16 => {
                values.extend(elements.map(|e| bf16::from_le_bytes(array(e)).to_f32()));
            }
            ElementType::Other { .. } => unreachable!("refused before"),
        }
    }
    Ok(values)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("chunks of the element's size")
}
