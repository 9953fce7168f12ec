//! The cases of a needle evaluation.

use serde::{Deserialize, Serialize};

use super::NeedleError;
use crate::Result;
use crate::evaluation::Variant;
use crate::evaluation::run::{Case, Plan};

/// Cases of a run, which are all held in memory; at a second each it takes eleven days.
const MAX_CASES: usize = 1_000_000;

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
    /// known early; depths inside lengths, so that the shards of a run get as much of each length, which takes as long
    /// at any depth.
    ///
    /// # Errors
    /// [`NeedleError::TooManyCases`], and as [`Plan::new`].
    pub fn plan(&self) -> Result<Plan<NeedleCase>> {
        let counts = [self.depths.len(), self.prompts, self.variants.len()];
        let product = |all: usize, &count: &usize| all.checked_mul(count);
        let cases = counts.iter().try_fold(self.lengths.len(), product);
        if cases.is_none_or(|cases| cases > MAX_CASES) {
            return Err(NeedleError::TooManyCases {
                lengths: self.lengths.len(),
                depths: self.depths.len(),
                prompts: self.prompts,
                variants: self.variants.len(),
                limit: MAX_CASES,
            }
            .into());
        }
        let mut cases = Vec::new();
        for prompt in 0..self.prompts {
            for &length in &self.lengths {
                for &depth in &self.depths {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use windowkv_ref::methods::{MethodKind, TokenConfig};
    use windowkv_ref::policy::WindowKvConfig;

    use super::*;
    use crate::evaluation::run::Shard;
    use crate::settings::{Capacity, Compression};

    fn grid(prompts: usize) -> Grid {
        Grid {
            lengths: vec![256, 512, 1024, 2048],
            depths: (0..11).map(|tenth| 10.0 * f64::from(tenth)).collect(),
            prompts,
            variants: vec![variant()],
        }
    }

    fn variant() -> Variant {
        let compression = Compression {
            kind: MethodKind::FullKv,
            capacity: Capacity::Share(1.0),
            window: WindowKvConfig::default(),
            tokens: TokenConfig::default(),
            recent_given: false,
        };
        Variant::new(compression.clone(), compression)
    }

    /// The length of each prompt that a shard gets.
    fn lengths_of(plan: &Plan<NeedleCase>, shard: Shard) -> Vec<usize> {
        let units = plan.units(shard);
        units.map(|unit| plan.cases()[unit[0]].length).collect()
    }

    #[test]
    fn every_shard_gets_as_much_of_every_length() {
        let plan = grid(5).plan().unwrap();
        for count in [2, 4, 8, 16] {
            let mut sums = BTreeSet::new();
            for index in 1..=count {
                let shard: Shard = format!("{index}/{count}").parse().unwrap();
                let lengths = lengths_of(&plan, shard);
                let different: BTreeSet<_> = lengths.iter().collect();
                assert_eq!(different.len(), 4, "shard {shard} has {lengths:?}");
                sums.insert(lengths.iter().sum::<usize>());
            }
            // A prompt takes about as long as it has tokens.
            let (least, most) = (sums.first().unwrap(), sums.last().unwrap());
            let share = *most as f64 / *least as f64;
            assert!(
                share < 1.4,
                "of {count} shards one has {share} times another"
            );
        }
    }

    #[test]
    fn a_grid_without_end_is_refused() {
        let grid = grid(10_000_000);
        let error = grid.plan().unwrap_err().to_string();
        for part in ["4 lengths x 11 depths x 10000000 prompts", "1000000"] {
            assert!(error.contains(part), "{error}");
        }
        let grid = Grid {
            prompts: usize::MAX,
            ..grid
        };
        assert!(grid.plan().is_err());
    }
}
