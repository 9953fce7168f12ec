//! Prompts, chunks of them, rows without keys, and tensors of more than 2^31 elements, in f16.

use half::f16;
use windowkv_kernels::{
    Device, Error, Flags, RowsF32Mut, Sequences, Strides, Tensor, TensorMut, ops,
};

use super::Verdict;
use super::attention::{Tokens, attend, near};
use crate::sparse::SparseMemory;

struct Case {
    /// By cu_seqlens; else by seqlens in padded tensors.
    ragged: bool,
    num_heads_kv: usize,
    group: usize,
    head_dim: usize,
    /// seqlen_q, seqlen_kv
    lens: &'static [(usize, usize)],
}

/// Memory ends where the last sequence ends, or its longest does.
const CASES: [Case; 4] = [
    // Three steps of keys, warps on different sides of the diagonal; a sequence with a tail of NaN.
    Case {
        ragged: false,
        num_heads_kv: 1,
        group: 2,
        head_dim: 64,
        lens: &[(40, 150), (3, 70)],
    },
    // Rows without keys, in tiles of their own and beside others; empty sequences; other sequences behind the tails.
    Case {
        ragged: true,
        num_heads_kv: 2,
        group: 1,
        head_dim: 32,
        lens: &[(9, 5), (0, 3), (4, 0), (140, 6)],
    },
    // Two tiles.
    Case {
        ragged: true,
        num_heads_kv: 1,
        group: 1,
        head_dim: 96,
        lens: &[(130, 130)],
    },
    // A group that does not divide a tile.
    Case {
        ragged: false,
        num_heads_kv: 2,
        group: 3,
        head_dim: 32,
        lens: &[(45, 66)],
    },
];
const SCALE: f32 = 0.25;

pub(crate) fn run(device: &Device) -> Result<Verdict, Error> {
    for case in &CASES {
        let verdict = case.run(device)?;
        if !matches!(verdict, Verdict::Right) {
            return Ok(verdict);
        }
    }
    for special in [descending, far_apart, over_the_limit, sizes] {
        let verdict = special(device)?;
        if !matches!(verdict, Verdict::Right) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Right)
}

/// One token of each sequence, which sees itself: o and lse.
fn attend_to_itself(
    device: &Device,
    [batch, heads_q, heads_kv, head_dim]: [usize; 4],
    row: &[f16],
) -> Result<(Vec<f16>, f32), Error> {
    // Room for the largest head_dim, whatever is asked for.
    let mut memory = vec![f16::ZERO; 2048];
    memory[..row.len()].copy_from_slice(row);
    let memory = device.upload(&memory)?;
    let mut o = device.poisoned::<f16>(2048)?;
    let mut lse = device.poisoned::<f32>(batch * heads_q)?;
    let kv = || Tensor::new(memory.view(), [batch, 1, heads_kv, head_dim]);
    ops::prefill(
        device,
        ops::PrefillParams {
            q: Tensor::new(memory.view(), [batch, 1, heads_q, head_dim])?,
            k: kv()?,
            v: kv()?,
            o: TensorMut::new(o.view_mut(), [batch, 1, heads_q, head_dim])?,
            lse: Some(RowsF32Mut::new(lse.view_mut(), [batch, heads_q, 1])?),
            sequences_q: Sequences::padded(1),
            sequences_kv: Sequences::padded(1),
            softmax_scale: 1.0,
            flags: None,
        },
    )?;
    let lse = lse.download()?.first().copied().unwrap_or(0.0);
    Ok((o.download()?, lse))
}

/// A score of 2^24 in the exponent of 2 is NaN, one below is not.
fn over_the_limit(device: &Device) -> Result<Verdict, Error> {
    for (number, fits) in [(3400.0, true), (3420.0, false)] {
        let row = [f16::from_f32(number); 1];
        let (o, lse) = attend_to_itself(device, [1, 1, 1, 32], &row)?;
        if lse.is_nan() == fits || o[0].is_nan() == fits || fits && o[0] != row[0] {
            let text = format!("o is {}, lse {lse} for a score of {number}^2", o[0]);
            return Ok(Verdict::Wrong(text));
        }
    }
    Ok(Verdict::Right)
}

/// Nothing is done for no sequences, and what the kernel is not made for is refused.
fn sizes(device: &Device) -> Result<Verdict, Error> {
    attend_to_itself(device, [0, 1, 1, 32], &[])?;
    for sizes in [[1, 3, 2, 32], [1, 1, 1, 48], [1, 1, 1, 16], [1, 1, 1, 160]] {
        let result = attend_to_itself(device, sizes, &[]);
        if !matches!(result, Err(Error::InvalidArgument(_))) {
            let text = format!("[batch, heads_q, heads_kv, head_dim] {sizes:?} are taken");
            return Ok(Verdict::Wrong(text));
        }
    }
    Ok(Verdict::Right)
}

/// The second sequence ends before it begins.
fn descending(device: &Device) -> Result<Verdict, Error> {
    let mut tokens = Tokens::poisoned([1, 6, 1, 32]);
    tokens.fill(0, 0, 6, 5);
    let memory = device.upload(&tokens.memory)?;
    let mut o = device.poisoned::<f16>(tokens.memory.len())?;
    let (cu_q, cu_kv) = (device.upload(&[0, 4, 2])?, device.upload(&[0, 3, 6])?);
    let mut flags = device.zeroed::<u32>(1)?;
    let tensor = || Tensor::strided(memory.view(), tokens.shape, tokens.strides, 0);
    ops::prefill(
        device,
        ops::PrefillParams {
            q: tensor()?,
            k: tensor()?,
            v: tensor()?,
            o: TensorMut::strided(o.view_mut(), tokens.shape, tokens.strides, 0)?,
            lse: None,
            sequences_q: Sequences::ragged(cu_q.view(), 6),
            sequences_kv: Sequences::ragged(cu_kv.view(), 6),
            softmax_scale: SCALE,
            flags: Some(flags.view_mut()),
        },
    )?;
    let found = Flags::from_bits(flags.download()?[0]);
    Ok(if found == Flags::RANGE {
        Verdict::Right
    } else {
        Verdict::Wrong(format!("cu_seqlens that descend: {found:?}"))
    })
}

impl Case {
    fn run(&self, device: &Device) -> Result<Verdict, Error> {
        let of_q: Vec<usize> = self.lens.iter().map(|l| l.0).collect();
        let of_kv: Vec<usize> = self.lens.iter().map(|l| l.1).collect();
        let heads_q = self.num_heads_kv * self.group;
        let tensor = |lens: &[usize], heads, salt: Option<u32>| {
            let (longest, total) = (lens.iter().copied().max().unwrap_or(0), lens.iter().sum());
            let mut tensor = Tokens::poisoned(if self.ragged {
                [1, total, heads, self.head_dim]
            } else {
                [lens.len(), longest, heads, self.head_dim]
            });
            for (b, &len) in lens.iter().enumerate() {
                let (batch, first) = self.start(lens, b);
                if let Some(salt) = salt {
                    tensor.fill(batch, first, len, salt);
                }
            }
            tensor
        };
        let q = tensor(&of_q, heads_q, Some(1));
        let k = tensor(&of_kv, self.num_heads_kv, Some(2));
        let v = tensor(&of_kv, self.num_heads_kv, Some(3));
        let o = tensor(&of_q, heads_q, None);
        let (q_buffer, k_buffer) = (device.upload(&q.memory)?, device.upload(&k.memory)?);
        let (v_buffer, mut o_buffer) = (device.upload(&v.memory)?, device.upload(&o.memory)?);
        let [lse_batch, lse_tokens, ..] = o.shape;
        let mut lse = device.poisoned::<f32>(lse_batch * heads_q * lse_tokens)?;
        let lens = |lens: &[usize]| {
            let mut numbers: Vec<i32> = if self.ragged { vec![0] } else { Vec::new() };
            for &len in lens {
                let before = if self.ragged {
                    numbers[numbers.len() - 1]
                } else {
                    0
                };
                numbers.push(before + len as i32);
            }
            device.upload(&numbers)
        };
        let (lens_q, lens_kv) = (lens(&of_q)?, lens(&of_kv)?);
        let sequences = |lens, longest: &[usize]| {
            let longest = longest.iter().copied().max().unwrap_or(0);
            if self.ragged {
                Sequences::ragged(lens, longest)
            } else {
                Sequences::padded(longest).with_seqlens(lens)
            }
        };
        ops::prefill(
            device,
            ops::PrefillParams {
                q: Tensor::strided(q_buffer.view(), q.shape, q.strides, 0)?,
                k: Tensor::strided(k_buffer.view(), k.shape, k.strides, 0)?,
                v: Tensor::strided(v_buffer.view(), v.shape, v.strides, 0)?,
                o: TensorMut::strided(o_buffer.view_mut(), o.shape, o.strides, 0)?,
                lse: Some(RowsF32Mut::new(
                    lse.view_mut(),
                    [lse_batch, heads_q, lse_tokens],
                )?),
                sequences_q: sequences(lens_q.view(), &of_q),
                sequences_kv: sequences(lens_kv.view(), &of_kv),
                softmax_scale: SCALE,
                flags: None,
            },
        )?;
        let (out, lse) = (o_buffer.download()?, lse.download()?);
        let mut untouched: Vec<bool> = vec![true; out.len()];
        for (b, &(seqlen_q, seqlen_kv)) in self.lens.iter().enumerate() {
            let (batch, first) = self.start(&of_q, b);
            let (batch_kv, first_kv) = self.start(&of_kv, b);
            for row in 0..seqlen_q {
                let seen = (row + 1 + seqlen_kv).saturating_sub(seqlen_q);
                for head in 0..heads_q {
                    let head_kv = head / self.group;
                    let of = |x| -> Vec<&[f16]> {
                        let x: &Tokens = x;
                        (0..seen)
                            .map(|j| x.row(batch_kv, first_kv + j, head_kv))
                            .collect()
                    };
                    let query = q.row(batch, first + row, head);
                    let (expected, expected_lse) = attend(query, &of(&k), &of(&v), SCALE);
                    let range = o.range(batch, first + row, head);
                    untouched[range.clone()].fill(false);
                    let what = format!("row {row} of {seqlen_q} to {seqlen_kv} keys, head {head}");
                    for (found, expected) in out[range].iter().zip(&expected) {
                        if !near(found.to_f64(), *expected) {
                            return Ok(Verdict::Wrong(format!(
                                "{what}: o is {found}, not {expected}"
                            )));
                        }
                    }
                    let found = f64::from(lse[(batch * heads_q + head) * lse_tokens + first + row]);
                    if found != expected_lse && (found - expected_lse).abs() >= 1e-5 {
                        let text = format!("{what}: lse is {found}, not {expected_lse}");
                        return Ok(Verdict::Wrong(text));
                    }
                    if found.is_nan() {
                        return Ok(Verdict::Wrong(format!("{what}: lse is NaN")));
                    }
                }
            }
        }
        let outside = out
            .iter()
            .zip(&untouched)
            .position(|(x, &outside)| outside && x.to_bits() != 0xffff);
        Ok(match outside {
            Some(at) => Verdict::Wrong(format!("element {at}, outside o, was written")),
            None => Verdict::Right,
        })
    }

    /// Batch and first token of a sequence.
    fn start(&self, lens: &[usize], sequence: usize) -> (usize, usize) {
        if self.ragged {
            (0, lens[..sequence].iter().sum())
        } else {
            (sequence, 0)
        }
    }
}

/// Three tokens, each 2^30 and some elements after the one before.
fn far_apart(device: &Device) -> Result<Verdict, Error> {
    const HEAD_DIM: usize = 32;
    const STRIDE: usize = (1 << 30) + 64;
    const TOKENS: usize = 3;
    let len = (TOKENS - 1) * STRIDE + HEAD_DIM;
    let mut near_by = Tokens::poisoned([4, TOKENS, 1, HEAD_DIM]);
    let mut far = [(); 4].map(|()| SparseMemory::<f16>::new(device, len));
    for (i, tensor) in far.iter_mut().enumerate().take(3) {
        near_by.fill(i, 0, TOKENS, 4);
        for token in 0..TOKENS {
            let row = near_by.row(i, token, 0);
            tensor
                .elements(token * STRIDE, HEAD_DIM)
                .copy_from_slice(row);
        }
    }
    let strides = Strides {
        batch: 0,
        token: STRIDE,
        head: 0,
    };
    let shape = [1, TOKENS, 1, HEAD_DIM];
    let [q, k, v, o] = &mut far;
    ops::prefill(
        device,
        ops::PrefillParams {
            q: Tensor::strided(q.view(), shape, strides, 0)?,
            k: Tensor::strided(k.view(), shape, strides, 0)?,
            v: Tensor::strided(v.view(), shape, strides, 0)?,
            o: TensorMut::strided(o.view_mut(), shape, strides, 0)?,
            lse: None,
            sequences_q: Sequences::padded(TOKENS),
            sequences_kv: Sequences::padded(TOKENS),
            softmax_scale: SCALE,
            flags: None,
        },
    )?;
    for token in 0..TOKENS {
        let rows = |tensor| {
            (0..=token)
                .map(|j| near_by.row(tensor, j, 0))
                .collect::<Vec<_>>()
        };
        let (expected, _) = attend(near_by.row(0, token, 0), &rows(1), &rows(2), SCALE);
        for (found, expected) in o.elements(token * STRIDE, HEAD_DIM).iter().zip(&expected) {
            if !near(found.to_f64(), *expected) {
                let text = format!("far apart, row {token}: o is {found}, not {expected}");
                return Ok(Verdict::Wrong(text));
            }
        }
    }
    Ok(Verdict::Right)
}
