//! Sets of windows or tokens.

use super::Span;

/// A set of indices below a length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// A set of indices below `len`.
    pub(super) fn new(len: usize, indices: impl Iterator<Item = usize>) -> Self {
        let mut words = vec![0; len.div_ceil(64)];
        for index in indices {
            words[index / 64] |= 1 << (index % 64);
        }
        Self { words, len }
    }

    fn contains(&self, index: usize) -> bool {
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// The runs of neighbouring indices, ascending.
    pub(super) fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for index in (0..self.len).filter(|&index| self.contains(index)) {
            match spans.last_mut() {
                Some(span) if span.1 == index => span.1 += 1,
                _ => spans.push(Span(index, index + 1)),
            }
        }
        spans
    }

    /// How many indices below `limit` are in both sets, and how many in either.
    pub(super) fn overlap(&self, other: &Self, limit: usize) -> (u32, u32) {
        let (mut both, mut either) = (0, 0);
        for (word, (a, b)) in self.words.iter().zip(&other.words).enumerate() {
            let below = limit.saturating_sub(64 * word);
            let mask = if below >= 64 {
                u64::MAX
            } else {
                (1 << below) - 1
            };
            both += (a & b & mask).count_ones();
            either += ((a | b) & mask).count_ones();
        }
        (both, either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_join_neighbours() {
        let bits = Bits::new(130, [0, 1, 2, 63, 64, 129].into_iter());
        assert_eq!(bits.spans(), [Span(0, 3), Span(63, 65), Span(129, 130)]);
        assert_eq!(Bits::new(0, [].into_iter()).spans(), []);
    }

    #[test]
    fn overlap_counts_below_the_limit_alone() {
        let a = Bits::new(130, [0, 63, 64, 129].into_iter());
        let b = Bits::new(130, [0, 64, 100, 129].into_iter());
        assert_eq!(a.overlap(&b, 130), (3, 5));
        assert_eq!(a.overlap(&b, 129), (2, 4));
        assert_eq!(a.overlap(&b, 64), (1, 2));
        assert_eq!(a.overlap(&b, 0), (0, 0));
    }
}
