//! The cases of a needle evaluation.

use serde::{Deserialize, Serialize};
use windowkv_ref::methods::MethodKind;

use crate::Result;
use crate::evaluation::run::{Case, Plan};
use crate::settings::{Capacity, Compression};

/// A method at a capacity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variant {
    /// The method's name, such as `WindowKV` or `WindowKV, pooled 9`.
    pub method: String,
    /// The capacity as it was given, such as `12%` or `512`; `full` for the full cache.
    pub capacity: String,
    /// The method with its parameters.
    pub compression: Compression,
}

impl Variant {
    /// The variant of a compression.
    pub fn new(compression: Compression) -> Self {
        let mut method = compression.kind.title().to_owned();
        if compression.kind == MethodKind::WindowKv && compression.window.score_pooling != 1 {
            method += &format!(", pooled {}", compression.window.score_pooling);
        }
        let capacity = match (compression.kind, compression.capacity) {
            (MethodKind::FullKv, _) => "full".to_owned(),
            (_, Capacity::Tokens(tokens)) => tokens.to_string(),
            (_, Capacity::Share(share)) => format!("{}%", (share * 1e6).round() / 1e4),
        };
        Self {
            method,
            capacity,
            compression,
        }
    }
}

/// What is asked: every variant on every prompt of every cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grid {
    /// Lengths of the prompts, in tokens.
    pub lengths: Vec<usize>,
    /// Depths of the needle, in percent of the haystack.
    pub depths: Vec<f64>,
    /// Prompts of each length and depth.
    pub prompts: usize,
    /// Methods at their capacities.
    pub variants: Vec<Variant>,
}

/// One variant on one prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NeedleCase {
    /// Length of the prompt, in tokens.
    pub length: usize,
    /// Depth of the needle, in percent.
    pub depth: f64,
    /// Which prompt of the cell.
    pub prompt: usize,
    /// The method's name.
    pub method: String,
    /// The capacity as it was given.
    pub capacity: String,
    /// Index of the variant in the grid.
    #[serde(skip)]
    pub variant: usize,
}

impl Case for NeedleCase {
    fn id(&self) -> String {
        let Self {
            method, capacity, ..
        } = self;
        format!("{}/{method}/{capacity}", self.unit())
    }

    fn unit(&self) -> String {
        format!("{}/{}%/{}", self.length, self.depth, self.prompt)
    }
}

impl Grid {
    /// The cases: prompts outermost, so that an interrupted run has something of every cell and the time left is
    /// known early.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn plan(&self) -> Result<Plan<NeedleCase>> {
        let mut cases = Vec::new();
        for prompt in 0..self.prompts {
            for &depth in &self.depths {
                for &length in &self.lengths {
                    for (index, variant) in self.variants.iter().enumerate() {
                        cases.push(NeedleCase {
                            length,
                            depth,
                            prompt,
                            method: variant.method.clone(),
                            capacity: variant.capacity.clone(),
                            variant: index,
                        });
                    }
                }
            }
        }
        Ok(Plan::new(cases)?)
    }
}
