//! Column and window scores against their definition in f64.

use half::f16;
use windowkv_kernels::ops::{self, Pooling};
use windowkv_kernels::{
    Device, Error, MatrixMut, Observation, RowsF32, RowsF32Mut, Sequences, Strides, Tensor,
};

use super::{Verdict, numbers};

const HEAD_DIM: usize = 32;
/// Elements between the rows of q and k, and between those of lse: NaN.
const GAP: usize = 8;
const SOFTMAX_SCALE: f32 = 0.5;

/// One launch in f16. Sequence b has `seqlens[b]` queries and keys.
struct Case {
    seqlens: &'static [[usize; 2]],
    ragged: bool,
    num_heads_kv: usize,
    group: usize,
    observation: Observation,
    pooling: Pooling,
    of_query_heads: bool,
    /// What becomes of a row's log-sum-exp: query head, row of sequence 0, value.
    lse: Option<(usize, usize, f32)>,
    /// A key of sequence 0 that is NaN.
    nan: Option<usize>,
    /// Windows that there is no room for.
    missing_windows: usize,
}

fn cases() -> Vec<Case> {
    let observation = |query_len, suffix_len, window_len, top_tokens| Observation {
        query_len,
        suffix_len,
        window_len,
        top_tokens,
    };
    let plain = || Case {
        seqlens: &[[150, 150], [37, 37]],
        ragged: true,
        num_heads_kv: 1,
        group: 2,
        observation: observation(21, 5, 8, 3),
        pooling: Pooling::None,
        of_query_heads: true,
        lse: None,
        nan: None,
        missing_windows: 0,
    };
    vec![
        plain(),
        // Every row observes, and they do not stay in shared memory; more queries than keys; long windows.
        Case {
            seqlens: &[[145, 140]],
            ragged: false,
            num_heads_kv: 1,
            group: 2,
            observation: observation(i32::MAX, 4, 40, 10),
            pooling: Pooling::Max { width: 5 },
            of_query_heads: false,
            nan: Some(60),
            ..plain()
        },
        // A window between the lengths of two sequences, a row that saw nothing.
        Case {
            seqlens: &[[31, 31], [45, 45]],
            ragged: false,
            num_heads_kv: 2,
            group: 1,
            observation: observation(17, 2, 36, 23),
            pooling: Pooling::Average { width: 3 },
            lse: Some((1, 25, f32::NEG_INFINITY)),
            ..plain()
        },
        // Infinite scores, and no room for the last of several windows of a block.
        Case {
            seqlens: &[[40, 40]],
            num_heads_kv: 1,
            group: 1,
            lse: Some((0, 38, -1e30)),
            missing_windows: 1,
            ..plain()
        },
    ]
}

/// The tensors of one sequence, `[tokens, heads, head_dim]` and `[heads, tokens]`.
struct Inputs {
    q: Vec<f64>,
    k: Vec<f64>,
    lse: Vec<f32>,
}

/// Scores by query head: probabilities of the rows that observe, summed.
struct Expected {
    columns: Vec<Vec<f64>>,
    windows: Vec<f64>,
}

impl Case {
    fn heads(&self) -> [usize; 2] {
        [self.num_heads_kv * self.group, self.num_heads_kv]
    }

    fn score(&self, inputs: &Inputs, [row, head, column]: [usize; 3]) -> f64 {
        let [heads_q, heads_kv] = self.heads();
        let query = &inputs.q[(row * heads_q + head) * HEAD_DIM..][..HEAD_DIM];
        let key = &inputs.k[(column * heads_kv + head / self.group) * HEAD_DIM..][..HEAD_DIM];
        let product: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
        product * f64::from(SOFTMAX_SCALE)
    }

    fn inputs(&self, b: usize) -> Inputs {
        let [seqlen_q, seqlen_kv] = self.seqlens[b];
        let [heads_q, heads_kv] = self.heads();
        let draw = |tokens, heads, salt| -> Vec<f64> {
            let all = numbers(tokens * heads * HEAD_DIM, salt + b as u32);
            all.into_iter().map(f64::from).collect()
        };
        let mut inputs = Inputs {
            q: draw(seqlen_q, heads_q, 11),
            k: draw(seqlen_kv, heads_kv, 23),
            lse: vec![f32::NEG_INFINITY; heads_q * seqlen_q],
        };
        for head in 0..heads_q {
            for row in 0..seqlen_q {
                let seen = (row + 1 + seqlen_kv).saturating_sub(seqlen_q);
                let sum: f64 = (0..seen)
                    .map(|column| self.score(&inputs, [row, head, column]).exp())
                    .sum();
                inputs.lse[head * seqlen_q + row] = sum.ln() as f32;
            }
        }
        if let (0, Some((head, row, lse))) = (b, self.lse) {
            inputs.lse[head * seqlen_q + row] = lse;
        }
        if let (0, Some(column)) = (b, self.nan) {
            inputs.k[column * heads_kv * HEAD_DIM] = f64::NAN;
        }
        inputs
    }

    fn expected(&self, b: usize, inputs: &Inputs) -> Expected {
        let [seqlen_q, seqlen_kv] = self.seqlens[b];
        let observation = self.observation;
        let columns = seqlen_kv.saturating_sub(observation.suffix_len as usize);
        let rows = seqlen_q.min(observation.query_len as usize);
        let sum = |head: usize, column: usize| -> f64 {
            (seqlen_q - rows..seqlen_q)
                .filter(|row| column < (row + 1 + seqlen_kv).saturating_sub(seqlen_q))
                .map(|row| match inputs.lse[head * seqlen_q + row] {
                    f32::NEG_INFINITY => 0.0,
                    // Rounded to a float, as it will be.
                    lse => (self.score(inputs, [row, head, column]) - f64::from(lse)).exp() as f32
                        as f64,
                })
                .sum()
        };
        let heads_q = self.heads()[0];
        let t: Vec<Vec<f64>> = (0..heads_q)
            .map(|head| (0..columns).map(|column| sum(head, column)).collect())
            .collect();
        let group = if self.of_query_heads { 1 } else { self.group };
        let means = t.chunks(group).map(|heads| {
            let mean = |j: usize| heads.iter().map(|t| t[j]).sum::<f64>() / group as f64;
            self.pool(&(0..columns).map(mean).collect::<Vec<_>>())
        });
        let pooled: Vec<Vec<f64>> = t.iter().map(|t| self.pool(t)).collect();
        let window = |first: usize| -> f64 {
            let of_head = pooled.iter().map(|t| {
                let last = (first + observation.window_len as usize).min(columns);
                let mut numbers = t[first..last].to_vec();
                // A NaN is the largest.
                numbers.sort_by(|a, b| {
                    b.partial_cmp(a)
                        .unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
                });
                numbers.truncate(observation.top_tokens as usize);
                numbers.iter().sum::<f64>() / numbers.len() as f64
            });
            of_head.sum::<f64>() / heads_q as f64
        };
        Expected {
            columns: means.collect(),
            windows: (0..columns)
                .step_by(observation.window_len as usize)
                .map(window)
                .collect(),
        }
    }

    fn pool(&self, t: &[f64]) -> Vec<f64> {
        let larger = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
        let around = |j: usize, width: usize| {
            &t[j.saturating_sub(width / 2)..(j + width / 2 + 1).min(t.len())]
        };
        (0..t.len())
            .map(|j| match self.pooling {
                Pooling::None => t[j],
                Pooling::Average { width } => around(j, width).iter().sum::<f64>() / width as f64,
                Pooling::Max { width } => around(j, width)
                    .iter()
                    .copied()
                    .fold(f64::NEG_INFINITY, larger),
            })
            .collect()
    }
}

/// `[sequences or 1, tokens, heads, head_dim]` in memory that ends where the last row ends.
struct Memory {
    values: Vec<f16>,
    shape: [usize; 4],
    strides: Strides,
}

impl Memory {
    fn new(sequences: &[&[f64]], heads: usize, ragged: bool) -> Memory {
        let row = HEAD_DIM + GAP;
        let tokens_of = |values: &&[f64]| values.len() / (heads * HEAD_DIM);
        let most = sequences.iter().map(tokens_of).max().unwrap_or(0);
        let all: usize = sequences.iter().map(tokens_of).sum();
        let (shape, batch) = if ragged {
            ([1, all, heads, HEAD_DIM], 0)
        } else {
            ([sequences.len(), most, heads, HEAD_DIM], most * heads * row)
        };
        let mut values = vec![f16::NAN; shape[0] * shape[1] * heads * row - GAP];
        let mut first = 0;
        for sequence in sequences {
            for (i, &value) in sequence.iter().enumerate() {
                values[first + i / HEAD_DIM * row + i % HEAD_DIM] = f16::from_f64(value);
            }
            first += if ragged {
                tokens_of(sequence) * heads * row
            } else {
                batch
            };
        }
        let strides = Strides {
            batch,
            token: heads * row,
            head: row,
        };
        Memory {
            values,
            shape,
            strides,
        }
    }
}

/// Bits of the column scores by sequence and head, and of the window scores.
type Found = (Vec<Vec<Vec<f32>>>, Vec<Vec<f32>>);

fn launch(
    device: &Device,
    case: &Case,
    inputs: &[Inputs],
    most: [usize; 2],
) -> Result<Found, Error> {
    let [heads_q, heads_kv] = case.heads();
    let [max_columns, max_windows] = most;
    let batch = inputs.len();
    let of = |which: fn(&Inputs) -> &[f64]| inputs.iter().map(which).collect::<Vec<_>>();
    let q = Memory::new(&of(|i| &i.q), heads_q, case.ragged);
    let k = Memory::new(&of(|i| &i.k), heads_kv, case.ragged);
    let [lse_batch, lse_tokens, ..] = q.shape;
    let lse_stride = lse_tokens + GAP;
    let mut lse = vec![f32::NAN; lse_batch * heads_q * lse_stride - GAP];
    let (mut first, mut ends) = (0, [vec![0], vec![0]]);
    for inputs in inputs {
        let tokens = inputs.lse.len() / heads_q;
        for (i, &value) in inputs.lse.iter().enumerate() {
            lse[first + i / tokens * lse_stride + i % tokens] = value;
        }
        first += if case.ragged {
            tokens
        } else {
            heads_q * lse_stride
        };
        for (ends, len) in ends
            .iter_mut()
            .zip([tokens, inputs.k.len() / heads_kv / HEAD_DIM])
        {
            ends.push(ends[ends.len() - 1] + len as i32);
        }
    }
    let lens = ends.each_ref().map(|ends| {
        let lens: Vec<i32> = ends.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if case.ragged { ends.clone() } else { lens }
    });
    let [lens_q, lens_kv] = [device.upload(&lens[0])?, device.upload(&lens[1])?];
    let sequences = |lens, tokens| {
        if case.ragged {
            Sequences::ragged(lens, tokens)
        } else {
            Sequences::padded(tokens).with_seqlens(lens)
        }
    };
    let (q_memory, k_memory) = (device.upload(&q.values)?, device.upload(&k.values)?);
    let lse = device.upload(&lse)?;
    let input = ops::ScoreInput {
        q: Tensor::strided(q_memory.view(), q.shape, q.strides, 0)?,
        k: Tensor::strided(k_memory.view(), k.shape, k.strides, 0)?,
        lse: RowsF32::strided(
            lse.view(),
            [lse_batch, heads_q, lse_tokens],
            heads_q * lse_stride,
            lse_stride,
            0,
        )?,
        sequences_q: sequences(lens_q.view(), q.shape[1]),
        sequences_kv: sequences(lens_kv.view(), k.shape[1]),
    };
    let observations = device.upload(&vec![case.observation; batch])?;
    let mut workspace = device.poisoned::<u8>(ops::score_workspace_size(device, &input)?)?;
    let column_heads = if case.of_query_heads {
        heads_q
    } else {
        heads_kv
    };
    let mut columns = device.poisoned::<f32>(batch * column_heads * max_columns)?;
    let mut windows = device.poisoned::<f32>(batch * max_windows)?;
    ops::score(
        device,
        ops::ScoreParams {
            input,
            observations: observations.view(),
            column_scores: Some(RowsF32Mut::new(
                columns.view_mut(),
                [batch, column_heads, max_columns],
            )?),
            window_scores: Some(MatrixMut::new(windows.view_mut(), batch, max_windows)?),
            pooling: case.pooling,
            softmax_scale: SOFTMAX_SCALE,
            workspace: workspace.view_mut(),
            flags: None,
        },
    )?;
    let (columns, windows) = (columns.download()?, windows.download()?);
    let rows = |memory: &[f32], len: usize| {
        memory
            .chunks(len.max(1))
            .map(<[f32]>::to_vec)
            .collect::<Vec<_>>()
    };
    Ok((
        columns
            .chunks(column_heads * max_columns)
            .map(|of| rows(of, max_columns))
            .collect(),
        rows(&windows, max_windows),
    ))
}

/// What is found must be within 1e-4 of what is expected; places beyond must be as they were.
fn compare(what: &str, found: &[f32], expected: &[f64]) -> Option<Verdict> {
    for (i, &found) in found.iter().enumerate() {
        let Some(&expected) = expected.get(i) else {
            if found.to_bits() != u32::MAX {
                return Some(Verdict::Wrong(format!(
                    "{what} {i} lies outside and is {found}"
                )));
            }
            continue;
        };
        let same = f64::from(found) == expected || (found.is_nan() && expected.is_nan());
        let near = (f64::from(found) - expected).abs() <= 1e-4 * expected.abs() + 1e-12;
        let written = found.to_bits() != u32::MAX;
        if !written || !(same || near) {
            return Some(Verdict::Wrong(format!(
                "{what} {i} is {found}, not {expected}"
            )));
        }
    }
    None
}

pub(crate) fn run(device: &Device) -> Result<Verdict, Error> {
    for (index, case) in cases().into_iter().enumerate() {
        let inputs: Vec<Inputs> = (0..case.seqlens.len()).map(|b| case.inputs(b)).collect();
        let expected: Vec<Expected> = inputs
            .iter()
            .enumerate()
            .map(|(b, inputs)| case.expected(b, inputs))
            .collect();
        let max_columns = expected
            .iter()
            .map(|e| e.columns[0].len())
            .max()
            .unwrap_or(0);
        let most = expected.iter().map(|e| e.windows.len()).max().unwrap_or(0);
        let max = [max_columns, most - case.missing_windows];
        let (columns, windows) = launch(device, &case, &inputs, max)?;
        for (b, expected) in expected.iter().enumerate() {
            for (head, found) in columns[b].iter().enumerate() {
                let what = format!("case {index}, sequence {b}, head {head}, column");
                if let Some(wrong) = compare(&what, found, &expected.columns[head]) {
                    return Ok(wrong);
                }
            }
            let what = format!("case {index}, sequence {b}, window");
            let there = &expected.windows[..expected.windows.len().min(max[1])];
            if let Some(wrong) = compare(&what, &windows[b], there) {
                return Ok(wrong);
            }
            // The first sequence alone gives the same bits.
            if b == 0 && inputs.len() > 1 {
                let (_, alone) = launch(device, &case, &inputs[..1], max)?;
                let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                if bits(&alone[0]) != bits(&windows[0]) {
                    return Ok(Verdict::Wrong(format!("case {index} depends on the batch")));
                }
            }
        }
    }
    Ok(Verdict::Right)
}
