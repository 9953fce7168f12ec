//! What a run has to do: its cases in order.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::{RunError, Shard};

/// One piece of work that gives one record.
pub trait Case {
    /// Names the case within its run; no two cases have the same id.
    fn id(&self) -> String;

    /// Names the work that this case shares with others, such as the prefill of a prompt: the cases of a unit are
    /// worked on together and by the same shard.
    fn unit(&self) -> String {
        self.id()
    }
}

/// The cases of a whole run, all shards together.
#[derive(Debug, Clone)]
pub struct Plan<C> {
    cases: Vec<C>,
    ids: Vec<String>,
    /// Indices of the cases of each unit, units in the order of their first case.
    units: Vec<Vec<usize>>,
}

impl<C: Case> Plan<C> {
    /// A plan of `cases`, which are numbered in this order.
    ///
    /// # Errors
    /// [`RunError::Empty`], [`RunError::DuplicateCase`].
    pub fn new(cases: Vec<C>) -> Result<Self, RunError> {
        if cases.is_empty() {
            return Err(RunError::Empty);
        }
        let ids: Vec<String> = cases.iter().map(Case::id).collect();
        let mut seen = HashSet::new();
        if let Some(id) = ids.iter().find(|id| !seen.insert(id.as_str())) {
            return Err(RunError::DuplicateCase { id: id.clone() });
        }
        let mut units: Vec<Vec<usize>> = Vec::new();
        let mut places = HashMap::new();
        for (index, case) in cases.iter().enumerate() {
            let place = *places.entry(case.unit()).or_insert(units.len());
            if place == units.len() {
                units.push(Vec::new());
            }
            units[place].push(index);
        }
        Ok(Self { cases, ids, units })
    }

    /// Cases of the whole run.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is nothing to do: never.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Every case, in order.
    pub fn cases(&self) -> &[C] {
        &self.cases
    }

    /// The id of case `index`.
    pub fn id(&self, index: usize) -> &str {
        &self.ids[index]
    }

    /// Indices of the cases of each unit of a shard, in order.
    pub fn units(&self, shard: Shard) -> impl Iterator<Item = &[usize]> {
        let own = move |(unit, _): &(usize, &Vec<usize>)| shard.has(*unit);
        self.units
            .iter()
            .enumerate()
            .filter(own)
            .map(|(_, cases)| cases.as_slice())
    }

    /// SHA-256 of the ids in order, in hexadecimal.
    pub(super) fn hash(&self) -> String {
        hash_ids(self.ids.iter().map(String::as_str))
    }
}

/// SHA-256 of ids in order, in hexadecimal.
pub(super) fn hash_ids<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for id in ids {
        hash.update((id.len() as u64).to_le_bytes());
        hash.update(id);
    }
    super::manifest::hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Pair(u8, char);

    impl Case for Pair {
        fn id(&self) -> String {
            format!("{}{}", self.0, self.1)
        }
        fn unit(&self) -> String {
            self.0.to_string()
        }
    }

    fn plan(cases: &[(u8, char)]) -> Result<Plan<Pair>, RunError> {
        Plan::new(cases.iter().map(|&(n, c)| Pair(n, c)).collect())
    }

    #[test]
    fn cases_that_share_work_stay_together() {
        let plan = plan(&[(1, 'a'), (2, 'a'), (1, 'b'), (3, 'a'), (2, 'b')]).unwrap();
        let units = |shard: &str| -> Vec<&[usize]> { plan.units(shard.parse().unwrap()).collect() };
        assert_eq!(units("1/1"), [[0, 2].as_slice(), &[1, 4], &[3]]);
        assert_eq!(units("1/2"), [[0, 2].as_slice(), &[3]]);
        assert_eq!(units("2/2"), [[1, 4].as_slice()]);
        assert!(units("4/4").is_empty());
    }

    #[test]
    fn the_hash_tells_plans_apart() {
        let hash = |cases: &[(u8, char)]| plan(cases).unwrap().hash();
        assert_eq!(hash(&[(1, 'a'), (2, 'b')]), hash(&[(1, 'a'), (2, 'b')]));
        assert_ne!(hash(&[(1, 'a'), (2, 'b')]), hash(&[(2, 'b'), (1, 'a')]));
        assert_ne!(hash(&[(1, 'a'), (2, 'b')]), hash(&[(1, 'a')]));
    }

    #[test]
    fn a_plan_has_different_cases() {
        let error = plan(&[(1, 'a'), (2, 'a'), (1, 'a')]).unwrap_err();
        assert!(error.to_string().contains("1a"), "{error}");
        assert!(matches!(plan(&[]), Err(RunError::Empty)));
    }
}
