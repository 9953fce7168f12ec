//! Where the encoder's and the head's tensors come from.

use std::path::{Path, PathBuf};

use super::super::pth::StateDict;
use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::weights::SafetensorsFile;

/// One file of tensors.
enum File {
    Pth(StateDict),
    Safetensors(SafetensorsFile),
}

impl File {
    /// Opens a file in the format that its beginning shows.
    fn open(path: &Path) -> Result<Self> {
        use std::io::Read;
        let mut start = Vec::new();
        open_regular(path)?
            .take(9)
            .read_to_end(&mut start)
            .map_err(|e| Error::io(path, "read", e))?;
        // safetensors: the header's length in 8 bytes, then its JSON.
        if start.get(8) == Some(&b'{') {
            Ok(Self::Safetensors(SafetensorsFile::open(path)?))
        } else {
            Ok(Self::Pth(StateDict::open(path)?))
        }
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Pth(file) => file.contains(name),
            Self::Safetensors(file) => file.contains(name),
        }
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        match self {
            Self::Pth(file) => Ok(file
                .tensor(name, shape)?
                .expect("contains() was asked before")),
            Self::Safetensors(file) => {
                let values = file.tensor(name, shape, "")?.to_f32();
                file.check()?;
                Ok(values)
            }
        }
    }
}

/// The files of a classifier: its own, and the folder's for what it lacks.
pub(super) struct Files {
    classifier: PathBuf,
    files: Vec<File>,
}

impl Files {
    /// Opens the classifier's file and, if it lacks the encoder, the folder's weights too.
    pub(super) fn open(classifier: &Path, dir: &Path) -> Result<Self> {
        let mut files = Self {
            classifier: classifier.to_owned(),
            files: vec![File::open(classifier)?],
        };
        if files.find("embeddings.word_embeddings.weight").is_some() {
            return Ok(files);
        }
        let weights = ["model.safetensors", "pytorch_model.bin"];
        let weights = weights.map(|name| dir.join(name));
        match weights.iter().find(|path| path.exists()) {
            Some(path) => files.files.push(File::open(path)?),
            None => {
                return Err(Error::TensorMissing {
                    path: classifier.to_owned(),
                    name: "bert.embeddings.word_embeddings.weight".to_owned(),
                    hint: ", and the BERT folder has neither model.safetensors nor pytorch_model.bin; download \
                           one of them",
                });
            }
        }
        Ok(files)
    }

    /// The names that a tensor may have: with or without `bert.`, and as the first checkpoints call norms.
    fn find(&self, name: &str) -> Option<(usize, String)> {
        let old = name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta");
        let names = [
            format!("bert.{name}"),
            format!("bert.{old}"),
            name.to_owned(),
            old,
        ];
        self.files.iter().enumerate().find_map(|(index, file)| {
            let name = names.iter().find(|name| file.contains(name));
            name.map(|name| (index, name.clone()))
        })
    }

    /// A tensor of the encoder; `name` is without `bert.`.
    pub(super) fn encoder(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (index, name) = self.find(name).ok_or_else(|| Error::TensorMissing {
            path: self.classifier.clone(),
            name: format!("bert.{name}"),
            hint: ", nor has the BERT folder; they are not of the same model",
        })?;
        self.files[index].tensor(&name, shape)
    }

    /// A tensor of the head, which only the classifier's file has.
    pub(super) fn head(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let file = &mut self.files[0];
        if !file.contains(name) {
            return Err(Error::TensorMissing {
                path: self.classifier.clone(),
                name: name.to_owned(),
                hint: ": a classifier has `linear.weight` and `linear.bias` beside `bert.*`",
            });
        }
        file.tensor(name, shape)
    }
}
