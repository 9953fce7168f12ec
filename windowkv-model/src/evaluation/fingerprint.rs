//! Which model a run is of, and which classifier chose its tasks.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::classifier::linear::LinearClassifier;
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
/// Files of a BERT encoder that a classifier depends on, weights first.
const BERT_FILES: [(&str, bool); 6] = [
    ("model.safetensors", true),
    ("pytorch_model.bin", true),
    ("config.json", false),
    ("tokenizer.json", false),
    ("tokenizer_config.json", false),
    ("vocab.txt", false),
];
/// Bytes that are read at each of three places of a weights file.
const SAMPLE: u64 = 1 << 20;

/// A model or a classifier as a manifest names it: equal for equal files, wherever they lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fingerprint {
    /// Name of the folder, or `demo` or `embedded` for what is part of the program.
    pub name: String,
    /// SHA-256 over the small files whole and over length, beginning, middle and end of each weights file.
    pub sha256: String,
}

impl Fingerprint {
    /// The fingerprint of the model folder `dir`, or of the embedded demo model.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(dir: Option<&Path>) -> Result<Self> {
        let mut hash = Sha256::new();
        let Some(dir) = dir else {
            for bytes in [
                demo::CONFIG,
                demo::GENERATION_CONFIG,
                demo::TOKENIZER,
                demo::TOKENIZER_CONFIG,
                demo::WEIGHTS,
            ] {
                hash.update((bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            }
            return Ok(Self {
                name: crate::demo::NAME.to_owned(),
                sha256: hex(&hash.finalize()),
            });
        };
        let list = |source| Error::io(dir, "list", source);
        let entries = std::fs::read_dir(dir).map_err(list)?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| Ok(entry.map_err(list)?.path()))
            .collect::<Result<_>>()?;
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let weights = path.extension().is_some_and(|ext| ext == "safetensors");
            if path.is_file() && (weights || FILES.contains(&&*name)) {
                hash.update((name.len() as u64).to_le_bytes());
                hash.update(name.as_bytes());
                add(&mut hash, &path, weights).map_err(|e| Error::io(&path, "read", e))?;
            }
        }
        Ok(Self {
            name: name_of(dir),
            sha256: hex(&hash.finalize()),
        })
    }

    /// The fingerprint of a task classifier: BERT's encoder folder and its head's file, or the embedded one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of_classifier(bert: Option<(&Path, &Path)>) -> Result<Self> {
        let mut hash = Sha256::new();
        let Some((dir, head)) = bert else {
            hash.update(LinearClassifier::embedded().to_bytes());
            return Ok(Self {
                name: "embedded".to_owned(),
                sha256: hex(&hash.finalize()),
            });
        };
        add(&mut hash, head, true).map_err(|e| Error::io(head, "read", e))?;
        for (name, weights) in BERT_FILES {
            let path = dir.join(name);
            if path.is_file() {
                hash.update(name.as_bytes());
                add(&mut hash, &path, weights).map_err(|e| Error::io(&path, "read", e))?;
            }
        }
        Ok(Self {
            name: name_of(dir),
            sha256: hex(&hash.finalize()),
        })
    }
}

fn name_of(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn add(hash: &mut Sha256, path: &Path, sampled: bool) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    hash.update(len.to_le_bytes());
    let mut bytes = Vec::new();
    if !sampled || len <= 3 * SAMPLE {
        file.read_to_end(&mut bytes)?;
        hash.update(&bytes);
        return Ok(());
    }
    for start in [0, len / 2, len - SAMPLE] {
        bytes.clear();
        file.seek(SeekFrom::Start(start))?;
        (&mut file).take(SAMPLE).read_to_end(&mut bytes)?;
        hash.update(&bytes);
    }
    Ok(())
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_have_equal_fingerprints() {
        let write = |config: &str, weights: &[u8]| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("config.json"), config).unwrap();
            std::fs::write(dir.path().join("model.safetensors"), weights).unwrap();
            std::fs::write(dir.path().join("README.md"), weights).unwrap();
            Fingerprint::of(Some(dir.path())).unwrap().sha256
        };
        let mut weights = vec![0; 4 * SAMPLE as usize];
        let one = write("{}", &weights);
        assert_eq!(one, write("{}", &weights));
        assert_ne!(one, write("{ }", &weights));
        assert_ne!(one, write("{}", &weights[1..]));
        *weights.last_mut().unwrap() = 1;
        assert_ne!(one, write("{}", &weights));
        assert_eq!(Fingerprint::of(None).unwrap().name, "demo");
    }

    #[test]
    fn a_classifier_is_known_by_encoder_and_head() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let of = || {
            let head = dir.path().join("head.pth");
            Fingerprint::of_classifier(Some((dir.path(), &head)))
                .unwrap()
                .sha256
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
        assert_eq!(
            (embedded.name.as_str(), embedded.sha256.len()),
            ("embedded", 64)
        );
    }
}
