use std::ops::Range;

use super::top_indices;
use crate::Error;

/// Geometry of the windows of one prompt: the review context cut into runs of `window_len` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    review_len: usize,
    seqlen: usize,
    window_len: usize,
}

impl Windows {
    /// Cuts the first `seqlen - suffix_len` tokens of a prompt (none, when the prompt is shorter than the suffix).
    ///
    /// # Errors
    /// [`Error::Zero`] for a window of no tokens.
    pub fn new(seqlen: usize, suffix_len: usize, window_len: usize) -> Result<Self, Error> {
        Error::nonzero("review_window_size", window_len)?;
        Ok(Self {
            review_len: seqlen.saturating_sub(suffix_len),
            seqlen,
            window_len,
        })
    }

    /// Tokens before the suffix.
    pub fn review_len(&self) -> usize {
        self.review_len
    }

    /// Number of windows; the last may be shorter than the others.
    pub fn count(&self) -> usize {
        self.review_len.div_ceil(self.window_len)
    }

    /// Positions of the tokens of window `index`.
    pub fn tokens(&self, index: usize) -> Range<usize> {
        let start = (index * self.window_len).min(self.review_len);
        start..(start + self.window_len).min(self.review_len)
    }

    /// How many windows a layer with this budget of review tokens keeps (spec section 4).
    ///
    /// All of them if the review context fits; otherwise so many are dropped that the rest fits, and
    /// if every window would have to go, the suffix alone stays (0).
    pub fn kept_count(&self, kv_budget: usize) -> usize {
        if self.review_len <= kv_budget {
            return self.count();
        }
        let dropped = (self.review_len - kv_budget).div_ceil(self.window_len);
        if dropped.saturating_mul(self.window_len) >= self.review_len {
            0
        } else {
            self.count() - dropped
        }
    }

    /// Whether a layer with this budget keeps the whole prompt, so that nothing has to be scored.
    pub fn keeps_all(&self, kv_budget: usize) -> bool {
        self.review_len <= kv_budget
    }

    /// The windows that a layer with this budget keeps, ascending.
    ///
    /// # Errors
    /// As [`top_indices`]: the index of a NaN score.
    pub fn select<F: crate::Real>(
        &self,
        scores: &[F],
        kv_budget: usize,
    ) -> Result<Vec<usize>, usize> {
        top_indices(scores, self.kept_count(kv_budget))
    }

    /// Positions that stay: the tokens of the given (ascending) windows, then the suffix.
    pub fn positions(&self, windows: &[usize]) -> Vec<usize> {
        let review = windows.iter().flat_map(|&window| self.tokens(window));
        review.chain(self.review_len..self.seqlen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_window_may_be_shorter() {
        let windows = Windows::new(30, 10, 8).unwrap();
        assert_eq!(windows.count(), 3);
        assert_eq!([windows.tokens(0), windows.tokens(2)], [0..8, 16..20]);
        assert_eq!(windows.positions(&[0, 2]).len(), 8 + 4 + 10);
    }

    #[test]
    fn edge_cases_of_the_number_kept() {
        let kept = |seqlen, budget| Windows::new(seqlen, 10, 8).unwrap().kept_count(budget);
        assert_eq!(
            kept(10, 5),
            0,
            "a prompt of the suffix alone has no windows"
        );
        assert_eq!(
            kept(4, 5),
            0,
            "a prompt shorter than the suffix has none either"
        );
        assert_eq!(
            kept(50, 40),
            5,
            "a review context that fits the budget stays whole"
        );
        assert_eq!(kept(50, 39), 4, "one token too many drops one window");
        assert_eq!(
            kept(50, 7),
            0,
            "a budget below one window keeps the suffix alone"
        );
        assert_eq!(
            kept(52, 2),
            1,
            "a short last window counts as a whole one: 6 tokens over the budget"
        );
        assert_eq!(
            kept(52, 1),
            0,
            "six windows of 8 to drop, but 42 review tokens: the suffix alone"
        );
    }
}
