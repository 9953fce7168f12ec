//! The fewest bytes and operations of a job; the time that they take is `Ceilings::floor_seconds`.

use super::shape::{Job, Kernel};

/// Query rows that observe.
pub const SUFFIX_LEN: usize = 32;
/// Tokens of a window.
pub const WINDOW_LEN: usize = 8;
/// Tokens that a layer keeps.
pub const KEPT: usize = 2048;
/// Layers of one gather.
pub const LAYERS: usize = 8;
/// Bytes of a half-precision number.
const HALF: u64 = 2;

/// What a job must move and compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Bytes of device memory, each input read once and each output written once.
    pub bytes: u64,
    /// Floating-point operations of matrix products.
    pub operations: u64,
}

/// Tokens that stay of a prompt, and windows among them.
pub fn kept(seqlen: usize) -> (usize, usize) {
    let windows = seqlen.saturating_sub(SUFFIX_LEN).div_ceil(WINDOW_LEN);
    let keep = (KEPT - SUFFIX_LEN) / WINDOW_LEN;
    let keep = keep.min(windows / 2);
    let suffix = SUFFIX_LEN.min(seqlen);
    (keep * WINDOW_LEN + suffix, keep)
}

/// What a job must move and compute.
pub fn work(job: &Job) -> Work {
    let model = &job.model;
    let [batch, seqlen, heads_q, heads_kv, head_dim, hidden] = [
        job.batch,
        job.seqlen,
        model.num_heads_q,
        model.num_heads_kv,
        model.head_dim,
        model.hidden,
    ]
    .map(|n| n as u64);
    let rows = batch * seqlen;
    let kv_row = heads_kv * head_dim;
    let q_row = heads_q * head_dim;
    let windows = seqlen
        .saturating_sub(SUFFIX_LEN as u64)
        .div_ceil(WINDOW_LEN as u64);
    let (kept_tokens, kept_windows) = kept(job.seqlen);
    let bytes = |bytes| Work {
        bytes,
        operations: 0,
    };
    match job.kernel {
        Kernel::Prefill | Kernel::PrefillLse => {
            let lse = if job.kernel == Kernel::PrefillLse {
                4 * heads_q * rows
            } else {
                0
            };
            Work {
                bytes: HALF * rows * 2 * (q_row + kv_row) + lse,
                // Two products, each a multiplication and an addition, over the pairs that causality leaves.
                operations: 4 * q_row * batch * (seqlen * (seqlen + 1) / 2),
            }
        }
        Kernel::Score => {
            let observing = (SUFFIX_LEN as u64).min(seqlen);
            Work {
                bytes: batch
                    * (HALF * (seqlen * kv_row + observing * q_row)
                        + 4 * (observing * heads_q + windows)),
                operations: 2 * q_row * observing * rows,
            }
        }
        Kernel::Select => bytes(4 * batch * (windows + kept_windows as u64)),
        Kernel::Gather => bytes(2 * 2 * HALF * batch * kept_tokens as u64 * kv_row * LAYERS as u64),
        Kernel::Decode => Work {
            bytes: HALF * batch * (2 * (seqlen + 2) * kv_row + 2 * q_row),
            operations: 4 * q_row * batch * (seqlen + 1),
        },
        // x and residual in, sum and out out, and the weight.
        Kernel::RmsNorm => bytes(HALF * (4 * rows * hidden + hidden)),
        Kernel::Rope => bytes(2 * HALF * rows * (q_row + kv_row) + 4 * rows),
        Kernel::SiluMul => bytes(3 * HALF * rows * model.intermediate as u64),
        Kernel::Sample => bytes(HALF * rows * model.vocab as u64 + 4 * rows),
        Kernel::Embedding => bytes(2 * HALF * rows * hidden + 4 * rows),
        Kernel::Advance => bytes(2 * 4 * batch),
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::MODELS;
    use super::*;

    fn of(kernel: Kernel, batch: usize, seqlen: usize) -> Work {
        work(&Job {
            kernel,
            model: MODELS[0],
            batch,
            seqlen,
        })
    }

    /// By hand, for 32 query and 8 KV heads of 128.
    #[test]
    fn the_work_is_what_a_hand_counts() {
        let prefill = of(Kernel::Prefill, 1, 4);
        // q and o: 4 x 4096 numbers each; k and v: 4 x 1024 each; 10 pairs of 4096 products, twice, 2 operations each.
        assert_eq!(prefill.bytes, 2 * (2 * 4 * 4096 + 2 * 4 * 1024));
        assert_eq!(prefill.operations, 10 * 4096 * 2 * 2);
        assert_eq!(
            of(Kernel::PrefillLse, 1, 4).bytes,
            prefill.bytes + 4 * 4 * 32
        );
        // A cache of 3 tokens and the new one read, the new one read and written, q read, o written.
        let decode = of(Kernel::Decode, 2, 3);
        assert_eq!(decode.bytes, 2 * 2 * ((3 + 2) * 2 * 1024 + 2 * 4096));
        assert_eq!(decode.operations, 2 * 4 * 4 * 4096);
        let score = of(Kernel::Score, 1, 16384);
        assert_eq!(
            score.bytes,
            2 * (16384 * 1024 + 32 * 4096) + 4 * (32 * 32 + 2044)
        );
        assert_eq!(of(Kernel::Select, 1, 16384).bytes, 4 * (2044 + 252));
        // 252 windows of 8 and the suffix of 32, of K and V of 8 layers, read and written.
        assert_eq!(
            of(Kernel::Gather, 1, 16384).bytes,
            2048 * 1024 * 2 * 2 * 2 * 8
        );
        assert_eq!(of(Kernel::SiluMul, 8, 1).bytes, 3 * 2 * 8 * 14336);
        assert_eq!(of(Kernel::Embedding, 8, 1).bytes, 8 * (2 * 2 * 4096 + 4));
        assert_eq!(of(Kernel::Advance, 8, 1).bytes, 8 * 2 * 4);
    }
}
