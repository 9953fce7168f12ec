//! Typed access to the fields of a JSON object, with errors that name file, field, value and limit.

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files::shown;

/// The fields of one JSON object of a file; `null` counts as absent.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: &'a Path,
    /// Empty, or the enclosing field and a dot.
    prefix: &'a str,
}

impl<'a> Fields<'a> {
    /// The top-level fields of the file at `path`.
    pub(crate) fn new(object: &'a Map<String, Value>, path: &'a Path) -> Self {
        Fields {
            object,
            path,
            prefix: "",
        }
    }

    /// The fields of the object in field `name`, or `None` if it is absent. `prefix` is `name` and a
    /// dot, for the errors.
    ///
    /// # Errors
    /// [`Error::InvalidField`] if it is not an object.
    pub(crate) fn nested(&self, name: &str, prefix: &'a str) -> Result<Option<Fields<'a>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields {
                object,
                path: self.path,
                prefix,
            })),
            Some(other) => Err(self.invalid(name, other, "an object")),
        }
    }

    /// The file that errors name.
    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// The value of a field, if it is present and not `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// An [`Error::InvalidField`] on `name`.
    pub(crate) fn invalid(&self, name: &str, value: &Value, expected: impl Into<String>) -> Error {
        Error::InvalidField {
            path: self.path.to_owned(),
            field: format!("{}{name}", self.prefix),
            value: shown(value),
            expected: expected.into(),
        }
    }

    /// An [`Error::MissingField`] on `name`.
    pub(crate) fn missing(&self, name: &str) -> Error {
        Error::MissingField {
            path: self.path.to_owned(),
            field: format!("{}{name}", self.prefix),
        }
    }

    /// A whole number within `limits`.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub(crate) fn integer(
        &self,
        name: &str,
        limits: RangeInclusive<usize>,
    ) -> Result<Option<usize>> {
        self.get(name)
            .map(|value| {
                value
                    .as_u64()
                    .and_then(|n| usize::try_from(n).ok())
                    .filter(|n| limits.contains(n))
                    .ok_or_else(|| {
                        let (low, high) = limits.into_inner();
                        self.invalid(name, value, format!("a whole number from {low} to {high}"))
                    })
            })
            .transpose()
    }

    /// A finite number above 0 and at most `max`.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub(crate) fn positive(&self, name: &str, max: f64) -> Result<Option<f64>> {
        self.get(name)
            .map(|value| {
                value
                    .as_f64()
                    .filter(|x| x.is_finite() && *x > 0.0 && *x <= max)
                    .ok_or_else(|| {
                        self.invalid(name, value, format!("a number above 0 and at most {max:e}"))
                    })
            })
            .transpose()
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>> {
        self.get(name)
            .map(|value| {
                value
                    .as_bool()
                    .ok_or_else(|| self.invalid(name, value, "true or false"))
            })
            .transpose()
    }

    /// A string.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub(crate) fn string(&self, name: &str) -> Result<Option<&'a str>> {
        self.get(name)
            .map(|value| {
                value
                    .as_str()
                    .ok_or_else(|| self.invalid(name, value, "a string"))
            })
            .transpose()
    }

    /// Token ids: one, a list of at most 1,024, or absent (empty); each below `vocab_size`.
    /// Repeated ids are kept once, in the order of the file.
    ///
    /// # Errors
    /// [`Error::InvalidField`]; [`Error::TokenId`] for an id that is not below `vocab_size`.
    pub(crate) fn token_ids(&self, name: &str, vocab_size: usize) -> Result<Vec<u32>> {
        const MAX_IDS: usize = 1024;
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        let list = match value {
            Value::Array(list) if list.len() <= MAX_IDS => list.as_slice(),
            Value::Array(_) => {
                return Err(self.invalid(name, value, format!("a list of at most {MAX_IDS} ids")));
            }
            single => std::slice::from_ref(single),
        };
        let mut ids = Vec::with_capacity(list.len());
        for item in list {
            let id = item.as_u64().ok_or_else(|| {
                self.invalid(name, item, "a token id, a list of token ids, or null")
            })?;
            let small = u32::try_from(id).ok();
            let small = small.filter(|&id| (id as usize) < vocab_size);
            let small = small.ok_or_else(|| Error::TokenId {
                id,
                origin: format!("`{}{name}` of {}", self.prefix, self.path.display()),
                vocab_size,
            })?;
            if !ids.contains(&small) {
                ids.push(small);
            }
        }
        Ok(ids)
    }
}
