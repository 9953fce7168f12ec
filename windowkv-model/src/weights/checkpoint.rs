//! The safetensors files of a model folder: one file, or shards with an index.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file::SafetensorsFile;
use super::tensor::{Source, Tensor};
use crate::error::{Error, Result};
use crate::files::{parse_object, read_bounded};

/// The greatest `model.safetensors.index.json` that is read, in bytes.
pub const MAX_INDEX_BYTES: u64 = 1 << 24;

/// The greatest number of shards of a model.
pub const MAX_SHARDS: usize = 512;

/// The files of a checkpoint, and which of them has which tensor.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// The folder, index or file that errors name when a tensor is absent.
    path: PathBuf,
    files: Vec<SafetensorsFile>,
    /// Tensor name to position in `files`; `None` for a single file.
    index: Option<HashMap<String, usize>>,
}

impl Checkpoint {
    /// Opens `model.safetensors` of the folder, or else the shards of its index.
    ///
    /// # Errors
    /// [`Error::WeightsMissing`]; those of a single file; for an index [`Error::ShardName`],
    /// [`Error::ShardMissing`], [`Error::TooManyShards`], [`Error::TensorMissing`] for a tensor
    /// that its shard does not have, and those of a JSON file.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let single = dir.join("model.safetensors");
        let index = dir.join("model.safetensors.index.json");
        if single.exists() {
            let file = SafetensorsFile::open(&single)?;
            Ok(Self::single(file))
        } else if index.exists() {
            Self::sharded(dir, index)
        } else {
            Err(Error::WeightsMissing {
                dir: dir.to_owned(),
            })
        }
    }

    /// A checkpoint that is part of the program; `origin` is the path that errors name.
    ///
    /// # Errors
    /// Those of a single file.
    pub(super) fn from_static(bytes: &'static [u8], origin: &Path) -> Result<Self> {
        Ok(Self::single(SafetensorsFile::new(
            origin,
            Source::Static(bytes),
        )?))
    }

    fn single(file: SafetensorsFile) -> Self {
        Checkpoint {
            path: file.path().to_owned(),
            files: vec![file],
            index: None,
        }
    }

    fn sharded(dir: &Path, index: PathBuf) -> Result<Self> {
        let mut object = parse_object(&read_bounded(&index, MAX_INDEX_BYTES)?, &index)?;
        let Some(Value::Object(weight_map)) = object.remove("weight_map") else {
            return Err(Error::MissingField {
                path: index,
                field: "weight_map".into(),
            });
        };
        // Sorted, so that the files are opened, and fail, in the same order on every run.
        let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (tensor, shard) in weight_map {
            let name = match shard {
                Value::String(name) if is_plain_file_name(&name) => name,
                Value::String(name) => return Err(Error::ShardName { index, name }),
                other => {
                    return Err(Error::ShardName {
                        index,
                        name: other.to_string(),
                    });
                }
            };
            shards.entry(name).or_default().push(tensor);
        }
        if shards.len() > MAX_SHARDS {
            return Err(Error::TooManyShards {
                index,
                count: shards.len(),
                limit: MAX_SHARDS,
            });
        }
        let mut files = Vec::with_capacity(shards.len());
        let mut positions = HashMap::new();
        for (name, tensors) in shards {
            let shard = dir.join(name);
            if !shard.exists() {
                return Err(Error::ShardMissing { index, shard });
            }
            let file = SafetensorsFile::open(&shard)?;
            for tensor in tensors {
                if !file.contains(&tensor) {
                    return Err(Error::TensorMissing {
                        path: shard,
                        name: tensor,
                        hint: ", where model.safetensors.index.json says it is; download both again",
                    });
                }
                positions.insert(tensor, files.len());
            }
            files.push(file);
        }
        Ok(Checkpoint {
            path: index,
            files,
            index: Some(positions),
        })
    }

    /// The tensor `name`, which must have the shape `expected`; `hint` ends the message if it is absent.
    ///
    /// # Errors
    /// [`Error::TensorMissing`], [`Error::TensorShape`], [`Error::TensorDtype`].
    pub(super) fn tensor(
        &self,
        name: &str,
        expected: &[usize],
        hint: &'static str,
    ) -> Result<Tensor> {
        let position = match &self.index {
            None => Some(0),
            Some(index) => index.get(name).copied(),
        };
        match position {
            Some(position) => self.files[position].tensor(name, expected, hint),
            None => Err(Error::TensorMissing {
                path: self.path.clone(),
                name: name.to_owned(),
                hint,
            }),
        }
    }

    /// Whether every file is still what it was when it was opened.
    ///
    /// # Errors
    /// [`Error::WeightsChanged`].
    pub(super) fn check(&self) -> Result<()> {
        self.files.iter().try_for_each(SafetensorsFile::check)
    }
}

/// Whether `name` can only mean a file directly inside a folder, on any system.
fn is_plain_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', ':', '\0'])
}
