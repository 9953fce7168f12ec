//! What the kernels have to write at the sizes that are timed: a few places of each output against the host's float64,
//! and no output left as it was. The kernels' tests check more, at smaller sizes.

use half::bf16;

use super::Failure;
use super::floor::{SUFFIX_LEN, WINDOW_LEN};

/// Half an ulp of a bf16 number of size 1.
const UNIT: f64 = 1.0 / 256.0;

fn wrong(what: impl Into<String>) -> Failure {
    Failure::Wrong(what.into())
}

fn close(what: &str, found: f64, expected: f64, bound: f64) -> Result<(), Failure> {
    // A NaN is not close.
    if (found - expected).abs() <= bound {
        Ok(())
    } else {
        Err(wrong(format!(
            "{what} is {found}, not {expected} (within {bound:e})"
        )))
    }
}

/// No NaN, which is what memory holds that was never written.
fn finite(what: &str, numbers: impl Iterator<Item = f32>) -> Result<(), Failure> {
    for (index, number) in numbers.enumerate() {
        if !number.is_finite() {
            return Err(wrong(format!("{what}: number {index} is {number}")));
        }
    }
    Ok(())
}

/// Equal numbers.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &[T],
    expected: &[T],
) -> Result<(), Failure> {
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    match differs {
        Some(index) => Err(wrong(format!(
            "{what}: number {index} is {:?}, not {:?}",
            found[index], expected[index]
        ))),
        None if found.len() != expected.len() => Err(wrong(format!(
            "{what}: {} numbers, not {}",
            found.len(),
            expected.len()
        ))),
        None => Ok(()),
    }
}

/// Causal attention whose last query row sees every key.
pub(super) struct Attention<'a> {
    /// `[batch, tokens, num_heads_q, head_dim]`
    pub(super) q: &'a [bf16],
    /// `[batch, tokens, num_heads_kv, head_dim]`
    pub(super) k: &'a [bf16],
    /// As `k`.
    pub(super) v: &'a [bf16],
    /// Of q and the output.
    pub(super) shape_q: [usize; 4],
    /// Of k and v.
    pub(super) shape_kv: [usize; 4],
    pub(super) softmax_scale: f32,
}

/// `[batch, token, head]` of a tensor without gaps.
fn row(numbers: &[bf16], shape: [usize; 4], [batch, token, head]: [usize; 3]) -> &[bf16] {
    let start = ((batch * shape[1] + token) * shape[2] + head) * shape[3];
    &numbers[start..start + shape[3]]
}

fn dot(a: &[bf16], b: &[bf16]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum()
}

impl Attention<'_> {
    /// The output and the log-sum-exp: all finite, and of the last sequence the last and a middle row of the last head.
    pub(super) fn check(&self, o: &[bf16], lse: Option<&[f32]>) -> Result<(), Failure> {
        finite("o", o.iter().map(|x| x.to_f32()))?;
        if let Some(lse) = lse {
            finite("lse", lse.iter().copied())?;
        }
        let [batch, rows, heads, head_dim] = self.shape_q;
        let (batch, head) = (batch - 1, heads - 1);
        for token in [rows - 1, rows / 2] {
            let at = [batch, token, head];
            let scores = self.scores(at);
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
            let exact_lse = most + sum.ln();
            let shares: Vec<f64> = scores.iter().map(|s| (s - exact_lse).exp()).collect();
            if let Some(lse) = lse {
                let found = lse[(batch * heads + head) * rows + token];
                close(&format!("lse {at:?}"), f64::from(found), exact_lse, 1e-3)?;
            }
            let found = row(o, self.shape_q, at);
            for (i, found) in found.iter().enumerate().take(head_dim) {
                let (mut exact, mut squares) = (0.0, 0.0);
                for (j, share) in shares.iter().enumerate() {
                    let v = row(self.v, self.shape_kv, [batch, j, self.head_kv(head)])[i];
                    let term = share * v.to_f64();
                    exact += term;
                    squares += term * term;
                }
                // The output is rounded, and each probability, independently of the others.
                let bound = UNIT * exact.abs() + 8.0 * UNIT * squares.sqrt() + 1e-6;
                close(&format!("o {at:?} [{i}]"), found.to_f64(), exact, bound)?;
            }
        }
        Ok(())
    }

    fn head_kv(&self, head: usize) -> usize {
        head / (self.shape_q[2] / self.shape_kv[2])
    }

    /// Scaled products of a query row with the keys that it sees.
    fn scores(&self, at: [usize; 3]) -> Vec<f64> {
        let [batch, token, head] = at;
        let q = row(self.q, self.shape_q, at);
        let seen = self.shape_kv[1] - (self.shape_q[1] - 1 - token);
        let k = |j| row(self.k, self.shape_kv, [batch, j, self.head_kv(head)]);
        (0..seen)
            .map(|j| dot(q, k(j)) * f64::from(self.softmax_scale))
            .collect()
    }

    /// The new token lies at the end of the cache.
    pub(super) fn check_appended(&self, new: &[bf16]) -> Result<(), Failure> {
        let [batch, tokens, heads, head_dim] = self.shape_kv;
        let numbers = heads * head_dim;
        for sequence in 0..batch {
            let start = (sequence * tokens + tokens - 1) * numbers;
            for cache in [self.k, self.v] {
                let found = &cache[start..start + numbers];
                same(
                    "the new token",
                    found,
                    &new[sequence * numbers..][..numbers],
                )?;
            }
        }
        Ok(())
    }

    /// Window scores of query rows that all have the same log-sum-exp: all finite, and the first and the last one of the
    /// last sequence.
    pub(super) fn check_scores(
        &self,
        lse: f32,
        scores: &[f32],
        windows: usize,
    ) -> Result<(), Failure> {
        finite("scores", scores.iter().copied())?;
        let [batch, rows, heads, _] = self.shape_q;
        let review = self.shape_kv[1] - SUFFIX_LEN;
        for window in [0, windows - 1] {
            let tokens = window * WINDOW_LEN..((window + 1) * WINDOW_LEN).min(review);
            let count = tokens.len() as f64;
            let mut sum = 0.0;
            for token in tokens {
                for head in 0..heads {
                    let k = row(
                        self.k,
                        self.shape_kv,
                        [batch - 1, token, self.head_kv(head)],
                    );
                    for query in 0..rows {
                        let q = row(self.q, self.shape_q, [batch - 1, query, head]);
                        let score = dot(q, k) * f64::from(self.softmax_scale);
                        sum += (score - f64::from(lse)).exp();
                    }
                }
            }
            let exact = sum / (count * heads as f64);
            let found = scores[(batch - 1) * windows + window];
            close(
                &format!("the score of window {window}"),
                f64::from(found),
                exact,
                1e-3 * exact,
            )?;
        }
        Ok(())
    }
}

/// The `keep` largest of each row, equal ones from the left, in ascending order.
pub(super) fn check_selection(
    scores: &[f32],
    windows: usize,
    indices: &[i32],
    keep: usize,
) -> Result<(), Failure> {
    for (sequence, scores) in scores.chunks(windows).enumerate() {
        let mut order: Vec<usize> = (0..windows).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        order.truncate(keep);
        order.sort_unstable();
        let expected: Vec<i32> = order.into_iter().map(|i| i as i32).collect();
        same(
            "the windows",
            &indices[sequence * keep..][..keep],
            &expected,
        )?;
    }
    Ok(())
}

/// The chosen windows and the suffix of every sequence, bit for bit.
pub(super) fn check_gathered(
    source: &[bf16],
    shape: [usize; 4],
    cache: &[bf16],
    tokens: usize,
    chosen: &[i32],
) -> Result<(), Failure> {
    let [batch, seqlen, heads, head_dim] = shape;
    let numbers = heads * head_dim;
    let windows = chosen
        .iter()
        .flat_map(|w| (0..WINDOW_LEN).map(move |i| *w as usize * WINDOW_LEN + i));
    let positions: Vec<usize> = windows.chain(seqlen - SUFFIX_LEN..seqlen).collect();
    if positions.len() != tokens {
        return Err(wrong(format!("{tokens} tokens, not {}", positions.len())));
    }
    for sequence in 0..batch {
        for (token, position) in positions.iter().enumerate() {
            let from = &source[(sequence * seqlen + position) * numbers..][..numbers];
            let to = &cache[(sequence * tokens + token) * numbers..][..numbers];
            same(&format!("token {token} of sequence {sequence}"), to, from)?;
        }
    }
    Ok(())
}

/// The last row: `sum / sqrt(mean(sum^2) + eps) * weight`.
pub(super) fn check_norm(
    sum: &[bf16],
    weight: &[bf16],
    eps: f64,
    out: &[bf16],
) -> Result<(), Failure> {
    finite("out", out.iter().map(|x| x.to_f32()))?;
    let hidden = weight.len();
    let (sum, out) = (&sum[sum.len() - hidden..], &out[out.len() - hidden..]);
    let scale = (dot(sum, sum) / hidden as f64 + eps).sqrt().recip();
    for (i, found) in out.iter().enumerate() {
        let exact = sum[i].to_f64() * scale * weight[i].to_f64();
        close(
            &format!("out [{i}]"),
            found.to_f64(),
            exact,
            4.0 * UNIT * exact.abs() + 1e-6,
        )?;
    }
    Ok(())
}

/// The last token's last head, whose position is the number of tokens before it.
pub(super) fn check_rope(
    what: &str,
    before: &[bf16],
    after: &[bf16],
    tokens: usize,
    head_dim: usize,
    theta: f64,
) -> Result<(), Failure> {
    finite(what, after.iter().map(|x| x.to_f32()))?;
    let last = |numbers: &[bf16]| -> Vec<f64> {
        let numbers = &numbers[numbers.len() - head_dim..];
        numbers.iter().map(|x| x.to_f64()).collect()
    };
    let (before, after) = (last(before), last(after));
    let half = head_dim / 2;
    for i in 0..half {
        let angle = (tokens - 1) as f64 * theta.powf(-2.0 * i as f64 / head_dim as f64);
        let (sin, cos) = angle.sin_cos();
        let (x, y) = (before[i], before[i + half]);
        for (at, exact) in [(i, x * cos - y * sin), (i + half, y * cos + x * sin)] {
            let bound = UNIT * (x.abs() + y.abs());
            close(&format!("{what} [{at}]"), after[at], exact, bound)?;
        }
    }
    Ok(())
}

/// The last row of `gate / (1 + exp(-gate)) * up`.
pub(super) fn check_silu_mul(
    gate: &[bf16],
    up: &[bf16],
    columns: usize,
    out: &[bf16],
) -> Result<(), Failure> {
    finite("out", out.iter().map(|x| x.to_f32()))?;
    let last = out.len() - columns..;
    let rows = gate[last.clone()]
        .iter()
        .zip(&up[last.clone()])
        .zip(&out[last]);
    for (i, ((gate, up), out)) in rows.enumerate() {
        let gate = gate.to_f64();
        let exact = gate / (1.0 + (-gate).exp()) * up.to_f64();
        let bound = 4.0 * UNIT * exact.abs() + 1e-6;
        close(&format!("out [{i}]"), out.to_f64(), exact, bound)?;
    }
    Ok(())
}

/// The first of each row's largest logits.
pub(super) fn check_sample(logits: &[bf16], vocab: usize, tokens: &[i32]) -> Result<(), Failure> {
    let expected: Vec<i32> = logits
        .chunks(vocab)
        .map(|row| {
            let most = row.iter().copied().fold(bf16::NEG_INFINITY, bf16::max);
            row.iter().position(|x| *x == most).unwrap_or_default() as i32
        })
        .collect();
    same("the tokens", tokens, &expected)
}

/// The table's rows, bit for bit.
pub(super) fn check_embedding(
    table: &[bf16],
    ids: &[i32],
    hidden: usize,
    out: &[bf16],
) -> Result<(), Failure> {
    for (row, id) in ids.iter().enumerate() {
        let expected = &table[*id as usize * hidden..][..hidden];
        same(
            &format!("row {row}"),
            &out[row * hidden..][..hidden],
            expected,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use windowkv_kernels::Device;

    use super::super::launch::prepare;
    use super::super::shape::JobSet;
    use super::*;

    /// What the kernels write passes, and what they did not write does not.
    #[test]
    fn outputs_are_checked_for_every_kernel() {
        let device = Device::emulated();
        for job in JobSet::Tiny.jobs() {
            let mut prepared = prepare(&device, &job, 1).expect("memory");
            let before = prepared.check();
            assert!(
                matches!(before, Err(Failure::Wrong(_))),
                "{} {before:?}",
                job.name()
            );
            prepared.launch(0).expect("it runs");
            let after = prepared.check();
            assert!(after.is_ok(), "{}: {after:?}", job.name());
        }
    }
}
