//! What a run is: written once, so that nobody has to remember, and checked whenever the folder is opened.

use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Case, Plan, RunError, Shard};
use crate::evaluation::fingerprint::hex;
use crate::{Error, Result, files};

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// Version of the folder's form.
const FORMAT: u32 = 1;
/// The greatest manifest that is read, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1 << 24;
/// Entries of a list that an error shows.
const LISTED: usize = 4;
/// Differences that an error tells.
const MAX_DIFFERENCES: usize = 5;

/// What a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the folder's form.
    pub format: u32,
    /// The command that makes the records, such as `niah`.
    pub command: String,
    /// Version of the program.
    pub version: String,
    /// Everything that the records depend on, the model included.
    pub settings: Value,
    /// Names for people, such as the model folder's. Parts of one run may differ in them.
    #[serde(default)]
    pub labels: Map<String, Value>,
    /// Cases of the whole run.
    pub cases: usize,
    /// SHA-256 of the cases' ids.
    pub cases_hash: String,
    /// SHA-256 of all of the above but the labels: equal for the parts of one run.
    pub hash: String,
    /// Which part of the run is in this folder.
    pub shard: Shard,
    /// Cases of this part.
    pub shard_cases: usize,
    /// When the run was begun, UTC.
    pub created: String,
    /// Architecture and operating system that it was begun on: parts of one run may differ in it, and then in the last
    /// bits of their numbers.
    pub platform: String,
}

impl Manifest {
    pub(super) fn new<C: Case>(
        command: &str,
        settings: Value,
        labels: Map<String, Value>,
        plan: &Plan<C>,
        shard: Shard,
    ) -> Self {
        let mut manifest = Self {
            format: FORMAT,
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings,
            labels,
            cases: plan.len(),
            cases_hash: plan.hash(),
            hash: String::new(),
            shard,
            shard_cases: plan.units(shard).map(<[usize]>::len).sum(),
            created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        };
        manifest.hash = manifest.computed_hash();
        manifest
    }

    /// The same run, all in one folder.
    pub(super) fn whole(&self) -> Self {
        Self {
            shard: Shard::WHOLE,
            shard_cases: self.cases,
            ..self.clone()
        }
    }

    /// Reads the manifest of the folder `dir`; `None` if there is none.
    ///
    /// # Errors
    /// A file that is unreadable, was changed, or is of another format.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(MANIFEST);
        let Some(bytes) = files::read_optional(&path, MAX_MANIFEST_BYTES)? else {
            return Ok(None);
        };
        let object = files::parse_object(&bytes, &path)?;
        match object.get("format").and_then(Value::as_u64) {
            Some(format) if format != u64::from(FORMAT) => {
                return Err(RunError::Format {
                    path,
                    format: u32::try_from(format).unwrap_or(u32::MAX),
                    supported: FORMAT,
                }
                .into());
            }
            _ => {}
        }
        let manifest: Self =
            serde_json::from_value(Value::Object(object)).map_err(|source| Error::Json {
                path: path.clone(),
                source,
            })?;
        if manifest.hash != manifest.computed_hash() {
            return Err(RunError::ManifestChanged { path }.into());
        }
        Ok(Some(manifest))
    }

    /// That the run of the folder `dir` is not one of `expected`.
    pub(crate) fn other_command(&self, dir: &Path, expected: &'static str) -> Error {
        let found = self.command.clone();
        let dir = dir.to_owned();
        RunError::OtherCommand {
            dir,
            found,
            expected,
        }
        .into()
    }

    /// Writes the manifest of the folder `dir`: whole or not at all, whatever interrupts it.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a manifest has text keys") + "\n";
        files::write_whole(&dir.join(MANIFEST), text.as_bytes())
    }

    /// What differs from `other` of that which the parts of one run have in common; name, own value, other's value.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let common = |manifest: &Self| {
            serde_json::json!({
                "command": manifest.command, "version": manifest.version, "settings": manifest.settings,
                "cases": manifest.cases, "cases_hash": manifest.cases_hash,
            })
        };
        let mut found = Vec::new();
        compare(&common(self), &common(other), String::new(), &mut found);
        let more = found.len().saturating_sub(MAX_DIFFERENCES);
        if more > 0 {
            found.truncate(MAX_DIFFERENCES);
            found.push(format!("and {more} more"));
        }
        found
    }

    fn computed_hash(&self) -> String {
        let common = serde_json::json!([
            self.format,
            self.command,
            self.version,
            self.settings,
            self.cases,
            self.cases_hash
        ]);
        let mut text = String::new();
        canonical(&common, &mut text);
        hex(&Sha256::digest(text))
    }
}

/// JSON whose objects are in the order of their keys.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (key, item) in entries {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                canonical(item, text);
                text.push(',');
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn compare(here: &Value, there: &Value, name: String, found: &mut Vec<String>) {
    if here == there {
        return;
    }
    let absent = Value::Null;
    match (here, there) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for key in keys {
                // The settings are what a user gave; they need no prefix.
                let name = match name.as_str() {
                    "" | "settings" => key.clone(),
                    name => format!("{name}.{key}"),
                };
                let side = |side: &'_ serde_json::Map<String, Value>| side.get(key).cloned();
                compare(
                    &side(a).unwrap_or(Value::Null),
                    &side(b).unwrap_or(Value::Null),
                    name,
                    found,
                );
            }
        }
        (Value::Array(a), Value::Array(b))
            if a.len() != b.len() && a.len().max(b.len()) > LISTED =>
        {
            let (a, b) = (a.len(), b.len());
            found.push(format!("{name} has {a} entries there and {b} here"));
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(a, b, format!("{name}[{index}]"), found);
            }
        }
        _ => {
            let shown = |value: &Value| match value {
                value if *value == absent => "absent".to_owned(),
                value => files::shown(value),
            };
            found.push(format!(
                "{name} is {} there and {} here",
                shown(here),
                shown(there)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Named(&'static str);

    impl Case for Named {
        fn id(&self) -> String {
            self.0.to_owned()
        }
    }

    fn manifest(settings: Value) -> Manifest {
        let plan = Plan::new(vec![Named("a"), Named("b")]).unwrap();
        Manifest::new("test", settings, Map::new(), &plan, Shard::WHOLE)
    }

    #[test]
    fn the_order_of_keys_makes_no_difference() {
        let one = manifest(json!({"a": 1, "b": {"c": [1, 2.5], "d": null}}));
        let other = manifest(json!({"b": {"d": null, "c": [1, 2.5]}, "a": 1}));
        assert_eq!(one.hash, other.hash);
        assert_eq!(one.differences(&other), [""; 0]);
        for changed in [
            json!({"a": 1}),
            json!({"a": 1, "b": {"c": [2.5, 1], "d": null}}),
        ] {
            assert_ne!(one.hash, manifest(changed).hash);
        }
    }

    #[test]
    fn differences_are_named() {
        let one = manifest(json!({"lengths": [256, 512], "model": {"name": "demo"}, "old": 1}));
        let other = manifest(json!({"lengths": [256, 1024], "model": {"name": "x"}, "new": true}));
        assert_eq!(
            one.differences(&other),
            [
                "lengths[1] is 512 there and 1024 here",
                "model.name is \"demo\" there and \"x\" here",
                "old is 1 there and absent here",
                "new is absent there and true here",
            ]
        );
    }

    #[test]
    fn a_manifest_comes_back_and_a_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), None);
        let written = manifest(json!({"share": 0.1, "text": "\u{2028}\""}));
        written.write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap().unwrap(), written);

        let path = dir.path().join(MANIFEST);
        let text = std::fs::read_to_string(&path).unwrap();
        let read_back = |text: String| {
            std::fs::write(&path, text).unwrap();
            Manifest::read(dir.path()).unwrap_err().to_string()
        };
        assert!(read_back(text.replace("0.1", "0.2")).contains("was changed"));
        assert!(read_back(text.replace("\"format\": 1", "\"format\": 2")).contains("format 2"));
        assert!(read_back(text.replace("\"1/1\"", "\"3/2\"")).contains("3/2"));
        assert!(read_back(text[..100].to_owned()).contains("not valid JSON"));
    }
}
