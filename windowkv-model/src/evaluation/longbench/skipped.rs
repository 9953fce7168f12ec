//! Lines that could not be used: told, counted, and never more than a few held.

use serde::Serialize;

/// What was left out of a file, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Lines that were left out.
    pub count: usize,
    /// Why: of the first of them.
    pub first: Vec<String>,
}

impl Skipped {
    /// Reasons that are held.
    const MOST: usize = 10;

    /// Counts a line that `reason` keeps from being used; it names file and line.
    pub(super) fn add(&mut self, reason: impl ToString) {
        self.count += 1;
        if self.first.len() < Self::MOST {
            self.first.push(reason.to_string());
        }
    }

    /// Adds what was left out of another file.
    pub fn extend(&mut self, other: Self) {
        self.count += other.count;
        let room = Self::MOST.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }

    /// Lines for a person: the reasons, and how many more there are.
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<_> = self
            .first
            .iter()
            .map(|reason| format!("skipped {reason}"))
            .collect();
        match self.count - self.first.len() {
            0 => {}
            more => notes.push(format!("skipped {more} more lines")),
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_few_are_held() {
        let mut one = Skipped::default();
        let mut other = Skipped::default();
        for line in 0..Skipped::MOST - 1 {
            one.add(line);
            other.add(line);
        }
        one.extend(other);
        assert_eq!((one.count, one.first.len()), (18, 10));
        let notes = one.notes();
        assert_eq!(
            (notes[0].as_str(), notes[10].as_str()),
            ("skipped 0", "skipped 8 more lines")
        );
    }
}
