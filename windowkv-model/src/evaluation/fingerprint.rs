//! Which model a run is of, and which classifier chose its tasks: by the contents of their files, wherever they lie.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::classifier::linear::WEIGHTS;
use crate::demo::files as demo;
use crate::{Error, Result};

/// Files of a model folder that answers depend on, beside the weights.
const FILES: [&str; 5] = [
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];
/// Files of a BERT encoder that a classifier depends on.
const BERT_FILES: [&str; 6] = [
    "model.safetensors",
    "pytorch_model.bin",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];
/// Bytes of a file that one thread hashes at a time.
const PIECE: u64 = 1 << 24;

/// The files that a fingerprint is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Embedded(&'static [u8]),
    /// Its name where the folder may move, its place, and its length.
    File(String, PathBuf, u64),
}

impl Fingerprint {
    /// Of the model folder `dir`, or of the embedded demo model.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else {
            let parts = [
                demo::CONFIG,
                demo::GENERATION_CONFIG,
                demo::TOKENIZER,
                demo::TOKENIZER_CONFIG,
                demo::WEIGHTS,
            ];
            return Ok(Self {
                parts: parts.map(Part::Embedded).into(),
            });
        };
        let list = |source| Error::io(dir, "list", source);
        let entries = std::fs::read_dir(dir).map_err(list)?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| Ok(entry.map_err(list)?.path()))
            .collect::<Result<_>>()?;
        paths.sort();
        let mut parts = Vec::new();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let weights = path.extension().is_some_and(|ext| ext == "safetensors");
            if path.is_file() && (weights || FILES.contains(&&*name)) {
                parts.push(file(&name, &path)?);
            }
        }
        Ok(Self { parts })
    }

    /// Of a task classifier: BERT's encoder folder and its head's file, or the embedded one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of_classifier(bert: Option<(&Path, &Path)>) -> Result<Self> {
        let Some((dir, head)) = bert else {
            return Ok(Self {
                parts: vec![Part::Embedded(WEIGHTS)],
            });
        };
        let mut parts = vec![file("head", head)?];
        for name in BERT_FILES {
            let path = dir.join(name);
            if path.is_file() {
                parts.push(file(name, &path)?);
            }
        }
        Ok(Self { parts })
    }

    /// Bytes that [`sha256`](Self::sha256) reads.
    pub fn bytes(&self) -> u64 {
        let of = |part: &Part| match part {
            Part::Embedded(_) => 0,
            Part::File(_, _, len) => *len,
        };
        self.parts.iter().map(of).sum()
    }

    /// SHA-256, in hexadecimal, over names, lengths and contents of the files: of each, SHA-256 of every piece of 16 MiB.
    /// The pieces are hashed side by side; `progress` is told the bytes of each.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sha256(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<String> {
        let mut hash = Sha256::new();
        for part in &self.parts {
            match part {
                Part::Embedded(bytes) => {
                    hash.update((bytes.len() as u64).to_le_bytes());
                    hash.update(bytes);
                }
                Part::File(name, path, len) => {
                    hash.update((name.len() as u64).to_le_bytes());
                    hash.update(name);
                    hash.update(len.to_le_bytes());
                    let starts: Vec<u64> = (0..len.div_ceil(PIECE)).map(|i| i * PIECE).collect();
                    let pieces = starts.into_par_iter().map(|start| {
                        let hash = piece(path, start)?;
                        progress(PIECE.min(len - start));
                        Ok(hash)
                    });
                    let pieces: std::io::Result<Vec<_>> = pieces.collect();
                    for piece in pieces.map_err(|e| Error::io(path, "read", e))? {
                        hash.update(piece);
                    }
                }
            }
        }
        Ok(hex(&hash.finalize()))
    }
}

/// What people call the model of a folder, or the embedded one.
pub fn name(dir: Option<&Path>) -> String {
    let Some(dir) = dir else {
        return crate::demo::NAME.to_owned();
    };
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn file(name: &str, path: &Path) -> Result<Part> {
    let metadata = path.metadata().map_err(|e| Error::io(path, "read", e))?;
    Ok(Part::File(name.to_owned(), path.to_owned(), metadata.len()))
}

fn piece(path: &Path, start: u64) -> std::io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(PIECE).read_to_end(&mut bytes)?;
    Ok(Sha256::digest(&bytes).into())
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn equal_files_have_equal_fingerprints_wherever_they_lie() {
        let write = |config: &str, weights: &[u8]| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("config.json"), config).unwrap();
            std::fs::write(dir.path().join("model.safetensors"), weights).unwrap();
            std::fs::write(dir.path().join("README.md"), weights).unwrap();
            let fingerprint = Fingerprint::of(Some(dir.path())).unwrap();
            assert_eq!(
                fingerprint.bytes(),
                (config.len() + weights.len()) as u64,
                "the README is no part of the model"
            );
            let read = AtomicU64::new(0);
            let progress = |bytes| {
                read.fetch_add(bytes, Ordering::Relaxed);
            };
            let sha256 = fingerprint.sha256(&progress).unwrap();
            assert_eq!(read.into_inner(), fingerprint.bytes());
            sha256
        };
        let mut weights = vec![0; 2 * PIECE as usize + 5];
        let one = write("{}", &weights);
        assert_eq!(one, write("{}", &weights));
        assert_ne!(one, write("{ }", &weights));
        assert_ne!(one, write("{}", &weights[1..]));
        for at in [PIECE as usize / 3, PIECE as usize, weights.len() - 1] {
            weights[at] = 1;
            assert_ne!(one, write("{}", &weights), "byte {at}");
            weights[at] = 0;
        }
        assert_eq!(name(None), "demo");
        assert_eq!(name(Some(Path::new("somewhere/model"))), "model");
    }

    #[test]
    fn a_classifier_is_known_by_encoder_and_head() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let of = || {
            let head = dir.path().join("head.pth");
            let fingerprint = Fingerprint::of_classifier(Some((dir.path(), &head))).unwrap();
            fingerprint.sha256(&|_| ()).unwrap()
        };
        write("head.pth", "a");
        write("vocab.txt", "b");
        let one = of();
        write("README.md", "c");
        assert_eq!(one, of());
        for name in ["head.pth", "vocab.txt", "pytorch_model.bin"] {
            let before = of();
            write(name, "d");
            assert_ne!(before, of(), "{name}");
        }
        let embedded = Fingerprint::of_classifier(None).unwrap();
        assert_eq!(embedded.sha256(&|_| ()).unwrap().len(), 64);
    }
}
