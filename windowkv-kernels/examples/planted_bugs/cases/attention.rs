//! Attention in f64, and tensors of tokens in poisoned memory, for the kernels that compute it.

use half::f16;
use windowkv_kernels::Strides;

use super::numbers;

/// What one query gives over keys and values: the output and the log-sum-exp.
pub(super) fn attend(
    q: &[f16],
    keys: &[&[f16]],
    values: &[&[f16]],
    softmax_scale: f32,
) -> (Vec<f64>, f64) {
    let dot = |k: &&[f16]| -> f64 { q.iter().zip(*k).map(|(a, b)| a.to_f64() * b.to_f64()).sum() };
    let scores: Vec<f64> = keys
        .iter()
        .map(|k| dot(k) * f64::from(softmax_scale))
        .collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
    let mut out = vec![0.0; q.len()];
    for (score, value) in scores.iter().zip(values) {
        for (o, v) in out.iter_mut().zip(*value) {
            *o += (score - max).exp() / sum * v.to_f64();
        }
    }
    let lse = if scores.is_empty() {
        f64::NEG_INFINITY
    } else {
        max + sum.ln()
    };
    (out, lse)
}

/// Whether a result in f16, of values within 3, is as near as f16 allows: it is rounded once, and so is each
/// probability.
pub(super) fn near(found: f64, expected: f64) -> bool {
    found == expected || (found - expected).abs() <= 6.0 / 1024.0
}

/// `[batch, tokens, heads, head_dim]` with eight NaNs behind each head but the last.
pub(super) struct Tokens {
    pub(super) shape: [usize; 4],
    pub(super) strides: Strides,
    pub(super) memory: Vec<f16>,
}

impl Tokens {
    /// All NaN.
    pub(super) fn poisoned(shape: [usize; 4]) -> Tokens {
        let [batch, tokens, heads, head_dim] = shape;
        let head = head_dim + 8;
        let strides = Strides {
            batch: tokens * heads * head,
            token: heads * head,
            head,
        };
        let len = (batch * tokens * heads * head).saturating_sub(8);
        Tokens {
            shape,
            strides,
            memory: vec![f16::from_bits(0xffff); len],
        }
    }

    fn at(&self, batch: usize, token: usize, head: usize) -> usize {
        batch * self.strides.batch + token * self.strides.token + head * self.strides.head
    }

    /// Numbers for the first `count` tokens from `first` on; the others stay NaN.
    pub(super) fn fill(&mut self, batch: usize, first: usize, count: usize, salt: u32) {
        let [_, _, heads, head_dim] = self.shape;
        for token in first..first + count {
            for head in 0..heads {
                let at = self.at(batch, token, head);
                let salt = salt.wrapping_mul(7919) ^ (at as u32).wrapping_mul(2_654_435_761);
                let row = numbers(head_dim, salt);
                for (element, number) in self.memory[at..].iter_mut().zip(row) {
                    *element = f16::from_f32(number);
                }
            }
        }
    }

    /// The numbers of one head.
    pub(super) fn row(&self, batch: usize, token: usize, head: usize) -> &[f16] {
        let at = self.at(batch, token, head);
        &self.memory[at..at + self.shape[3]]
    }

    /// Where a head's numbers lie.
    pub(super) fn range(&self, batch: usize, token: usize, head: usize) -> std::ops::Range<usize> {
        let at = self.at(batch, token, head);
        at..at + self.shape[3]
    }
}
