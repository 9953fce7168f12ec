//! Caches of one split and of several, in runs and in pages, full ones, sequences that have left, and tokens more than
//! 2^31 elements apart, in f16.

use half::f16;
use windowkv_kernels::{
    CacheLayout, CacheMut, Device, Error, Flags, Pages, Schedule, Shape, Strides, Tensor,
    TensorMut, ops,
};

use super::Verdict;
use super::attention::{Tokens, attend, near};
use crate::sparse::SparseMemory;

struct Case {
    num_heads_kv: usize,
    group: usize,
    head_dim: usize,
    capacity: usize,
    /// 0: no pages
    page_len: usize,
    cache_lens: &'static [i32],
    appends: bool,
}

const CASES: [Case; 6] = [
    // Two splits and one; a sequence that has left, an empty one.
    Case {
        num_heads_kv: 1,
        group: 2,
        head_dim: 64,
        capacity: 210,
        page_len: 0,
        cache_lens: &[200, 37, -1, 0],
        appends: true,
    },
    // Full caches, of one split.
    Case {
        num_heads_kv: 2,
        group: 1,
        head_dim: 32,
        capacity: 20,
        page_len: 0,
        cache_lens: &[20, 9],
        appends: true,
    },
    // Three splits in pages; nothing is appended.
    Case {
        num_heads_kv: 2,
        group: 2,
        head_dim: 32,
        capacity: 272,
        page_len: 16,
        cache_lens: &[0, 267],
        appends: false,
    },
    // Two tiles of heads.
    Case {
        num_heads_kv: 1,
        group: 17,
        head_dim: 32,
        capacity: 40,
        page_len: 8,
        cache_lens: &[33],
        appends: true,
    },
    // Splits of three steps, which take a stage anew.
    Case {
        num_heads_kv: 1,
        group: 1,
        head_dim: 32,
        capacity: 4110,
        page_len: 0,
        cache_lens: &[4109],
        appends: true,
    },
    // A cache that ends where its memory ends.
    Case {
        num_heads_kv: 1,
        group: 1,
        head_dim: 96,
        capacity: 50,
        page_len: 0,
        cache_lens: &[50],
        appends: false,
    },
];
const SCALE: f32 = 0.25;

/// What one call wrote.
struct Output {
    o: Vec<f16>,
    lse: Vec<f32>,
    k: Vec<f16>,
    v: Vec<f16>,
    flags: Flags,
}

struct Inputs {
    q: Tokens,
    k_new: Tokens,
    v_new: Tokens,
    k: Tokens,
    v: Tokens,
    table: Vec<i32>,
}

pub(crate) fn run(device: &Device) -> Result<Verdict, Error> {
    for case in &CASES {
        let mut workspace = Vec::new();
        let all: Vec<usize> = (0..case.cache_lens.len()).collect();
        let first = case.call(device, &all, &mut workspace)?;
        if let Some(text) = case.compare(&first) {
            return Ok(Verdict::Wrong(text));
        }
        // Alone, then together again, each with the workspace as the call before left it.
        let alone = all.iter().map(|&b| case.call(device, &[b], &mut workspace));
        let alone = alone.collect::<Result<Vec<_>, _>>()?;
        let again = case.call(device, &all, &mut workspace)?;
        let stride = case.inputs(&all).q.strides.batch;
        let bits = |o: &[f16], b: usize| -> Vec<u16> {
            let end = ((b + 1) * stride).min(o.len());
            let bits = o[b * stride..end].iter().map(|x| x.to_bits());
            bits.filter(|&bits| bits != 0xffff).collect()
        };
        for &b in &all {
            if bits(&first.o, b) != bits(&again.o, b) || bits(&first.o, b) != bits(&alone[b].o, 0) {
                let text = format!("sequence {b} has other bits alone, or a second time");
                return Ok(Verdict::Wrong(text));
            }
        }
    }
    for special in [side_by_side, unzeroed_workspace, far_apart, no_sequences] {
        let verdict = special(device)?;
        if !matches!(verdict, Verdict::Right) {
            return Ok(verdict);
        }
    }
    small_workspace(device)
}

/// Counters that start at 1: the sequence of two splits is NaN, and a flag says so.
fn unzeroed_workspace(device: &Device) -> Result<Verdict, Error> {
    let case = &CASES[0];
    let all: Vec<usize> = (0..case.cache_lens.len()).collect();
    let output = case.call(device, &all, &mut [1, 0, 0, 0].repeat(1 << 19))?;
    let of_two_splits = case.inputs(&all).q.range(0, 0, 0);
    let told = output.flags == Flags::RANGE && output.o[of_two_splits].iter().all(|x| x.is_nan());
    // What was poisoned is NaN as well.
    Ok(if told && output.lse[0].to_bits() != u32::MAX {
        Verdict::Right
    } else {
        Verdict::Wrong(format!(
            "a workspace that was not zeroed: {:?}, lse {}",
            output.flags, output.lse[0]
        ))
    })
}

/// A batch that everybody has left.
fn no_sequences(device: &Device) -> Result<Verdict, Error> {
    CASES[0].call(device, &[], &mut Vec::new())?;
    Ok(Verdict::Right)
}

/// Blocks on two OS threads, where nothing but fences and counters orders them.
fn side_by_side(device: &Device) -> Result<Verdict, Error> {
    device.set_schedule(Schedule {
        seed: 1,
        workers: 2,
    });
    let case = &CASES[0];
    let all: Vec<usize> = (0..case.cache_lens.len()).collect();
    let output = case.call(device, &all, &mut Vec::new())?;
    Ok(match case.compare(&output) {
        Some(text) => Verdict::Wrong(text),
        None => Verdict::Right,
    })
}

impl Case {
    fn pages_each(&self) -> usize {
        self.capacity.checked_div(self.page_len).unwrap_or(0)
    }

    /// Page and place in it, or sequence and token.
    fn place(&self, batch: usize, b: usize, token: usize) -> (usize, usize) {
        match token.checked_div(self.page_len) {
            None => (b, token),
            // Dealt out backwards.
            Some(page) => (
                batch * self.pages_each() - 1 - (b * self.pages_each() + page),
                token % self.page_len,
            ),
        }
    }

    fn cached(&self, sequence: usize) -> usize {
        (self.cache_lens[sequence].max(0) as usize).min(self.capacity)
    }

    fn inputs(&self, sequences: &[usize]) -> Inputs {
        let batch = sequences.len();
        let token = |heads| Tokens::poisoned([batch, 1, heads, self.head_dim]);
        let cache = || {
            Tokens::poisoned(match self.page_len {
                0 => [batch, self.capacity, self.num_heads_kv, self.head_dim],
                len => [
                    batch * self.pages_each(),
                    len,
                    self.num_heads_kv,
                    self.head_dim,
                ],
            })
        };
        let mut inputs = Inputs {
            q: token(self.num_heads_kv * self.group),
            k_new: token(self.num_heads_kv),
            v_new: token(self.num_heads_kv),
            k: cache(),
            v: cache(),
            table: Vec::new(),
        };
        for (b, &sequence) in sequences.iter().enumerate() {
            // The same numbers wherever the sequence lies.
            let alone = |x: &mut Tokens, salt: u32| {
                let mut one = Tokens::poisoned([1, 1, x.shape[2], self.head_dim]);
                one.fill(0, 0, 1, salt + 1000 * sequence as u32);
                for head in 0..x.shape[2] {
                    let range = x.range(b, 0, head);
                    x.memory[range].copy_from_slice(one.row(0, 0, head));
                }
            };
            alone(&mut inputs.q, 1);
            alone(&mut inputs.k_new, 2);
            alone(&mut inputs.v_new, 3);
            for i in 0..self.cached(sequence) {
                let (page, inside) = self.place(batch, b, i);
                for (x, salt) in [(&mut inputs.k, 4), (&mut inputs.v, 5)] {
                    let mut one = Tokens::poisoned([1, 1, self.num_heads_kv, self.head_dim]);
                    one.fill(0, 0, 1, salt + 1000 * sequence as u32 + 10 * i as u32);
                    for head in 0..self.num_heads_kv {
                        let range = x.range(page, inside, head);
                        x.memory[range].copy_from_slice(one.row(0, 0, head));
                    }
                }
            }
            let needed = self.cached(sequence) + usize::from(self.appends);
            for page in 0..self.pages_each() {
                let first = page * self.page_len;
                // Pages that nobody needs are not there.
                let there = first < needed;
                inputs.table.push(if there {
                    self.place(batch, b, first).0 as i32
                } else {
                    -1
                });
            }
        }
        inputs
    }

    fn call(
        &self,
        device: &Device,
        sequences: &[usize],
        workspace: &mut Vec<u8>,
    ) -> Result<Output, Error> {
        let batch = sequences.len();
        let inputs = self.inputs(sequences);
        let lens: Vec<i32> = sequences.iter().map(|&b| self.cache_lens[b]).collect();
        let (q, k_new) = (
            device.upload(&inputs.q.memory)?,
            device.upload(&inputs.k_new.memory)?,
        );
        let (v_new, lens) = (device.upload(&inputs.v_new.memory)?, device.upload(&lens)?);
        let (mut k, mut v) = (
            device.upload(&inputs.k.memory)?,
            device.upload(&inputs.v.memory)?,
        );
        let table = device.upload(&inputs.table)?;
        let mut o = device.poisoned::<f16>(inputs.q.memory.len())?;
        let mut lse = device.poisoned::<f32>(batch * self.num_heads_kv * self.group)?;
        let mut flags = device.zeroed::<u32>(1)?;
        let layout = match self.page_len {
            0 => CacheLayout::contiguous(
                [batch, self.capacity, self.num_heads_kv, self.head_dim],
                inputs.k.strides,
            ),
            page_len => CacheLayout::paged(
                batch,
                self.num_heads_kv,
                self.head_dim,
                inputs.k.strides,
                Pages {
                    table: table.view(),
                    pages_per_sequence: self.pages_each(),
                    page_len,
                    num_pages: batch * self.pages_each(),
                },
            )?,
        };
        let needed =
            ops::decode_workspace_size::<f16>(device, Shape::new(inputs.q.shape), &layout)?;
        workspace.resize(needed.max(workspace.len()), 0);
        let mut workspace_buffer = device.upload(workspace)?;
        let new = |x: &Tokens, buffer| Tensor::strided(buffer, x.shape, x.strides, 0);
        ops::decode(
            device,
            ops::DecodeParams {
                q: new(&inputs.q, q.view())?,
                new: if self.appends {
                    Some((
                        new(&inputs.k_new, k_new.view())?,
                        new(&inputs.v_new, v_new.view())?,
                    ))
                } else {
                    None
                },
                o: TensorMut::strided(o.view_mut(), inputs.q.shape, inputs.q.strides, 0)?,
                lse: Some(lse.view_mut()),
                cache: CacheMut {
                    k: k.view_mut(),
                    v: v.view_mut(),
                },
                layout,
                cache_lens: lens.view(),
                softmax_scale: SCALE,
                workspace: workspace_buffer.view_mut(),
                flags: Some(flags.view_mut()),
            },
        )?;
        *workspace = workspace_buffer.download()?;
        Ok(Output {
            o: o.download()?,
            lse: lse.download()?,
            k: k.download()?,
            v: v.download()?,
            flags: Flags::from_bits(flags.download()?[0]),
        })
    }

    /// What is wrong with a call for all sequences.
    fn compare(&self, output: &Output) -> Option<String> {
        let batch = self.cache_lens.len();
        let all: Vec<usize> = (0..batch).collect();
        let mut inputs = self.inputs(&all);
        let heads_q = self.num_heads_kv * self.group;
        let mut written = vec![false; output.o.len()];
        for b in 0..batch {
            let there = self.cache_lens[b] >= 0;
            let cached = self.cached(b);
            for head in 0..heads_q {
                let head_kv = head / self.group;
                let of = |x: &Tokens, new: &Tokens| -> Vec<Vec<f16>> {
                    let mut rows: Vec<Vec<f16>> = (0..cached)
                        .map(|i| {
                            let (page, inside) = self.place(batch, b, i);
                            x.row(page, inside, head_kv).to_vec()
                        })
                        .collect();
                    if there && self.appends {
                        rows.push(new.row(b, 0, head_kv).to_vec());
                    }
                    rows
                };
                let (keys, values) = (of(&inputs.k, &inputs.k_new), of(&inputs.v, &inputs.v_new));
                let keys: Vec<&[f16]> = keys.iter().map(Vec::as_slice).collect();
                let values: Vec<&[f16]> = values.iter().map(Vec::as_slice).collect();
                let (expected, lse) = attend(inputs.q.row(b, 0, head), &keys, &values, SCALE);
                let range = inputs.q.range(b, 0, head);
                written[range.clone()].fill(true);
                for (found, expected) in output.o[range].iter().zip(&expected) {
                    if !near(found.to_f64(), *expected) {
                        return Some(format!(
                            "sequence {b}, head {head}: o is {found}, not {expected}"
                        ));
                    }
                }
                let found = f64::from(output.lse[b * heads_q + head]);
                if found.is_nan() || (found != lse && (found - lse).abs() > 1e-5) {
                    return Some(format!(
                        "sequence {b}, head {head}: lse is {found}, not {lse}"
                    ));
                }
            }
        }
        for b in 0..batch {
            let cached = self.cached(b);
            if self.appends && self.cache_lens[b] >= 0 && cached < self.capacity {
                let (page, inside) = self.place(batch, b, cached);
                for head in 0..self.num_heads_kv {
                    let range = inputs.k.range(page, inside, head);
                    let (k_new, v_new) =
                        (inputs.k_new.row(b, 0, head), inputs.v_new.row(b, 0, head));
                    inputs.k.memory[range.clone()].copy_from_slice(k_new);
                    inputs.v.memory[range].copy_from_slice(v_new);
                }
            }
        }
        let differ =
            |x: &[f16], y: &[f16]| x.iter().zip(y).any(|(x, y)| x.to_bits() != y.to_bits());
        if differ(&output.k, &inputs.k.memory) || differ(&output.v, &inputs.v.memory) {
            return Some("the cache is not what it was with the new tokens behind".into());
        }
        let outside = output.o.iter().zip(&written);
        if outside
            .into_iter()
            .any(|(x, &written)| !written && x.to_bits() != 0xffff)
        {
            return Some("something outside o was written".into());
        }
        let full = |&len: &i32| self.appends && len >= self.capacity as i32;
        let expected = if self.cache_lens.iter().any(full) {
            Flags::CAPACITY
        } else {
            Flags::default()
        };
        (output.flags != expected).then(|| format!("{:?}, not {expected:?}", output.flags))
    }
}

/// A workspace that is too small is refused.
fn small_workspace(device: &Device) -> Result<Verdict, Error> {
    let case = &CASES[0];
    let mut workspace = device.zeroed::<u8>(1 << 20)?;
    let mut o = device.poisoned::<f16>(case.head_dim)?;
    let cache = vec![f16::ZERO; 200 * case.head_dim];
    let (mut k, mut v) = (device.upload(&cache)?, device.upload(&cache)?);
    let q = device.upload(&cache[..case.head_dim])?;
    let lens = device.upload(&[200])?;
    let shape = [1, 1, 1, case.head_dim];
    let layout_shape = [1, 200, 1, case.head_dim];
    let layout = CacheLayout::contiguous(layout_shape, CacheLayout::tokens_outermost(layout_shape));
    let needed = ops::decode_workspace_size::<f16>(device, Shape::new(shape), &layout)?;
    let result = ops::decode(
        device,
        ops::DecodeParams {
            q: Tensor::new(q.view(), shape)?,
            new: None,
            o: TensorMut::new(o.view_mut(), shape)?,
            lse: None,
            cache: CacheMut {
                k: k.view_mut(),
                v: v.view_mut(),
            },
            layout,
            cache_lens: lens.view(),
            softmax_scale: SCALE,
            workspace: workspace.view_mut().range(0..needed - 1)?,
            flags: None,
        },
    );
    Ok(match result {
        Err(Error::InvalidArgument(_)) => Verdict::Right,
        other => Verdict::Wrong(format!("a workspace one byte short gives {other:?}")),
    })
}

/// Three tokens, each 2^32 and some elements after the one before: with 32 bits, the first three places of the cache.
fn far_apart(device: &Device) -> Result<Verdict, Error> {
    const HEAD_DIM: usize = 32;
    const STRIDE: usize = (1 << 32) + HEAD_DIM;
    const TOKENS: usize = 3;
    let mut near_by = Tokens::poisoned([3, TOKENS, 1, HEAD_DIM]);
    let len = (TOKENS - 1) * STRIDE + HEAD_DIM;
    let [mut k, mut v] = [(); 2].map(|()| SparseMemory::<f16>::new(device, len));
    for (i, tensor) in [&mut k, &mut v].into_iter().enumerate() {
        near_by.fill(i, 0, TOKENS, 4);
        for token in 0..TOKENS {
            tensor
                .elements(token * STRIDE, HEAD_DIM)
                .copy_from_slice(near_by.row(i, token, 0));
        }
    }
    near_by.fill(2, 0, 1, 4);
    let query = near_by.row(2, 0, 0);
    let q = device.upload(query)?;
    let mut o = device.poisoned::<f16>(HEAD_DIM)?;
    let lens = device.upload(&[TOKENS as i32])?;
    let shape = [1, 1, 1, HEAD_DIM];
    let strides = Strides {
        batch: 0,
        token: STRIDE,
        head: 0,
    };
    ops::decode(
        device,
        ops::DecodeParams {
            q: Tensor::new(q.view(), shape)?,
            new: None,
            o: TensorMut::new(o.view_mut(), shape)?,
            lse: None,
            cache: CacheMut {
                k: k.view_mut(),
                v: v.view_mut(),
            },
            layout: CacheLayout::contiguous([1, TOKENS, 1, HEAD_DIM], strides),
            cache_lens: lens.view(),
            softmax_scale: SCALE,
            workspace: device.zeroed::<u8>(0)?.view_mut(),
            flags: None,
        },
    )?;
    let rows = |i| {
        (0..TOKENS)
            .map(|token| near_by.row(i, token, 0))
            .collect::<Vec<_>>()
    };
    let (expected, _) = attend(query, &rows(0), &rows(1), SCALE);
    for (found, expected) in o.download()?.iter().zip(&expected) {
        if !near(found.to_f64(), *expected) {
            let text = format!("far apart: o is {found}, not {expected}");
            return Ok(Verdict::Wrong(text));
        }
    }
    Ok(Verdict::Right)
}
