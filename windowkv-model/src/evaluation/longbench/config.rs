//! `config/dataset2prompt.json` and `config/dataset2maxlen.json`: what is asked, and how long an answer may be.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Dataset, LongBenchError, Template};
use crate::evaluation::fingerprint::hex;
use crate::fields::Fields;
use crate::files::{MAX_CONFIG_BYTES, parse_object, read_optional};
use crate::{Error, Result};

/// The longest answer that a dataset may ask for, in tokens.
const MAX_NEW_TOKENS: usize = 1 << 16;

/// What the datasets of a run ask for.
#[derive(Debug, Clone)]
pub struct Prompts {
    by_dataset: BTreeMap<Dataset, (Template, usize)>,
    /// SHA-256 of the two files.
    hashes: [String; 2],
}

impl Prompts {
    /// Reads the two files of the folder `dir`, as far as they concern `datasets`.
    ///
    /// # Errors
    /// A file that is absent or broken, a dataset that it does not name, a template that cannot be filled, a length
    /// out of its limits.
    pub fn load(dir: &Path, datasets: &[Dataset]) -> Result<Self> {
        let prompt_path = dir.join("config").join("dataset2prompt.json");
        let length_path = dir.join("config").join("dataset2maxlen.json");
        let (prompts, prompt_hash) = read(&prompt_path)?;
        let (lengths, length_hash) = read(&length_path)?;
        let prompts = Fields::new(&prompts, &prompt_path);
        let lengths = Fields::new(&lengths, &length_path);
        let mut by_dataset = BTreeMap::new();
        for &dataset in datasets {
            let name = dataset.name();
            let text = prompts.string(name)?.ok_or_else(|| prompts.missing(name))?;
            let template = Template::parse(text).map_err(|reason| LongBenchError::Template {
                path: prompt_path.clone(),
                dataset,
                reason,
            })?;
            let length = lengths
                .integer(name, 1..=MAX_NEW_TOKENS)?
                .ok_or_else(|| lengths.missing(name))?;
            by_dataset.insert(dataset, (template, length));
        }
        Ok(Self {
            by_dataset,
            hashes: [prompt_hash, length_hash],
        })
    }

    /// The template of a dataset.
    ///
    /// # Panics
    /// For a dataset that was not loaded.
    pub fn template(&self, dataset: Dataset) -> &Template {
        &self.by_dataset[&dataset].0
    }

    /// New tokens that an answer of a dataset may have.
    ///
    /// # Panics
    /// For a dataset that was not loaded.
    pub fn max_new_tokens(&self, dataset: Dataset) -> usize {
        self.by_dataset[&dataset].1
    }

    /// SHA-256 of the two files, in hexadecimal: templates, lengths.
    pub fn hashes(&self) -> &[String; 2] {
        &self.hashes
    }
}

fn read(path: &Path) -> Result<(Map<String, Value>, String)> {
    let bytes = read_optional(path, MAX_CONFIG_BYTES)?.ok_or_else(|| {
        Error::from(LongBenchError::ConfigMissing {
            path: path.to_owned(),
        })
    })?;
    let hash = hex(&Sha256::digest(&bytes));
    Ok((parse_object(&bytes, path)?, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(prompts: &str, lengths: &str) -> Result<Prompts> {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::create_dir(&config).unwrap();
        std::fs::write(config.join("dataset2prompt.json"), prompts).unwrap();
        std::fs::write(config.join("dataset2maxlen.json"), lengths).unwrap();
        Prompts::load(dir.path(), &["trec".parse().unwrap()])
    }

    #[test]
    fn a_dataset_has_its_template_and_length() {
        let prompts = load(
            r#"{"trec": "{context}\n{input}", "lcc": 3}"#,
            r#"{"trec": 64, "lcc": -1}"#,
        );
        let prompts = prompts.expect("datasets that are not asked for do not matter");
        let trec = "trec".parse().unwrap();
        assert_eq!(prompts.max_new_tokens(trec), 64);
        assert_eq!(prompts.template(trec).fill("a", "b"), "a\nb");
    }

    #[test]
    fn errors_name_file_dataset_and_limit() {
        let good = r#"{"trec": "{input}"}"#;
        for (prompts, lengths, parts) in [
            (
                "{}",
                r#"{"trec": 1}"#,
                vec!["dataset2prompt.json", "`trec`"],
            ),
            (good, "{}", vec!["dataset2maxlen.json", "`trec`"]),
            (
                good,
                r#"{"trec": 0}"#,
                vec!["dataset2maxlen.json", "from 1 to 65536"],
            ),
            (
                r#"{"trec": 5}"#,
                r#"{"trec": 1}"#,
                vec!["`trec` is 5", "a string"],
            ),
            (
                r#"{"trec": "{x}"}"#,
                r#"{"trec": 1}"#,
                vec!["dataset2prompt.json", "trec", "\"x\""],
            ),
            (good, "[", vec!["dataset2maxlen.json", "not valid JSON"]),
        ] {
            let message = load(prompts, lengths).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{part:?} is not in {message:?}");
            }
        }
        let empty = tempfile::tempdir().unwrap();
        let message = Prompts::load(empty.path(), &[]).unwrap_err().to_string();
        assert!(message.contains("there is no") && message.contains("dataset2prompt.json"));
    }
}
