//! Which part of a run this machine does.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::RunError;

/// Part `index` of `count`, written `index/count` and counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: usize,
    count: NonZeroUsize,
}

impl Shard {
    /// All of the run.
    pub const WHOLE: Self = Self {
        index: 1,
        count: NonZeroUsize::MIN,
    };

    /// The number of this part, from 1.
    pub fn index(self) -> usize {
        self.index
    }

    /// The number of parts.
    pub fn count(self) -> usize {
        self.count.get()
    }

    /// Whether unit `unit` of a plan, from 0, belongs to this part. Neighbours go to different parts, since
    /// they take about as long.
    pub fn has(self, unit: usize) -> bool {
        unit % self.count == self.index - 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = RunError;

    fn from_str(text: &str) -> Result<Self, RunError> {
        let parse = || {
            let (index, count) = text.split_once('/')?;
            let (index, count) = (index.parse().ok()?, count.parse::<NonZeroUsize>().ok()?);
            (1..=count.get())
                .contains(&index)
                .then_some(Self { index, count })
        };
        parse().ok_or_else(|| RunError::Shard {
            value: text.to_owned(),
        })
    }
}

impl TryFrom<String> for Shard {
    type Error = RunError;

    fn try_from(text: String) -> Result<Self, RunError> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_a_part_of_a_whole() {
        for text in ["1/1", "1/4", "4/4"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for wrong in ["", "1", "0/4", "5/4", "1/0", "-1/2", "1/2/3", "a/b", "1/ 2"] {
            let message = wrong.parse::<Shard>().unwrap_err().to_string();
            assert!(message.contains(&format!("{wrong:?}")), "{message}");
        }
    }

    #[test]
    fn every_unit_belongs_to_one_shard() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|s| s.parse().unwrap()).into();
        for unit in 0..20 {
            assert_eq!(shards.iter().filter(|shard| shard.has(unit)).count(), 1);
        }
    }
}
