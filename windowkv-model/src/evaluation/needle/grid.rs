//! The cases of a needle evaluation.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::evaluation::Variant;
use crate::evaluation::run::{Case, Plan};

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
