use serde::Serialize;
use windowkv_ref::methods::MethodKind;
use windowkv_ref::policy::Task;

use crate::settings::{Capacity, Compression};

/// A method at a capacity, with its parameters for both kinds of task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variant {
    /// The method's name, such as `WindowKV` or `WindowKV, pooled 9`.
    pub method: String,
    /// The capacity as it was given, such as `12%` or `512`; `full` for the full cache.
    pub capacity: String,
    /// The method with its parameters for localization.
    pub localization: Compression,
    /// The same method at the same capacity with those for aggregation.
    pub aggregation: Compression,
}

impl Variant {
    /// The variant of a method at a capacity, which both compressions are of.
    pub fn new(localization: Compression, aggregation: Compression) -> Self {
        let named = &localization;
        let mut method = named.kind.title().to_owned();
        if named.kind == MethodKind::WindowKv && named.window.score_pooling != 1 {
            method += &format!(", pooled {}", named.window.score_pooling);
        }
        let capacity = match (named.kind, named.capacity) {
            (MethodKind::FullKv, _) => "full".to_owned(),
            (_, Capacity::Tokens(tokens)) => tokens.to_string(),
            (_, Capacity::Share(share)) => format!("{}%", (share * 1e6).round() / 1e4),
        };
        Self {
            method,
            capacity,
            localization,
            aggregation,
        }
    }

    /// The method.
    pub fn kind(&self) -> MethodKind {
        self.localization.kind
    }

    /// The method with its parameters for a task.
    pub fn compression(&self, task: Task) -> &Compression {
        match task {
            Task::Localization => &self.localization,
            Task::Aggregation => &self.aggregation,
        }
    }
}
