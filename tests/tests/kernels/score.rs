//! The score kernels against the f64 oracle: column scores, window scores, and the windows chosen by them.

use half::{bf16, f16};
use ndarray::{Array2, Array3, s};
use proptest::prelude::*;
use windowkv_kernels::ops::Pooling;
use windowkv_kernels::{
    Buffer, Device, Error, Flags, Matrix, MatrixMut, Observation, RowsF32, RowsF32Mut, Schedule,
    Sequences, Strides, Tensor, ops,
};
use windowkv_ref::policy::{Windows, top_indices};
use windowkv_ref::softmax_scale;
use windowkv_tests::golden::{self, Vectors};
use windowkv_tests::kernels::score::{
    Bounded, column_scores, log_sum_exp, mean_over_groups, pooled, window_scores,
};
use windowkv_tests::kernels::{
    Batching, Half, Lay, Order, Places, SparseMemory, a_device, devices, emulated, fail,
    on_every_device,
};
use windowkv_tests::random::tensor;

/// Bits of a float that nobody wrote.
const POISON: u32 = u32::MAX;

#[derive(Debug, Clone)]
struct SequenceCase {
    seqlen_q: usize,
    seqlen_kv: usize,
    observation: Observation,
    seed: u64,
}

impl SequenceCase {
    fn scored(&self) -> bool {
        self.observation.window_len > 0
    }

    /// Rows that observe.
    fn rows(&self) -> usize {
        self.seqlen_q.min(self.observation.query_len as usize)
    }

    fn windows(&self) -> Windows {
        let Observation {
            suffix_len,
            window_len,
            ..
        } = self.observation;
        let seqlen = if self.scored() { self.seqlen_kv } else { 0 };
        Windows::new(seqlen, suffix_len as usize, window_len.max(1) as usize).expect("windows")
    }
}

#[derive(Debug, Clone)]
struct Case {
    bfloat16: bool,
    num_heads_kv: usize,
    group: usize,
    head_dim: usize,
    softmax_scale: f32,
    /// About the largest score.
    top: f64,
    batching: Batching,
    orders: [Order; 2],
    pooling: Pooling,
    /// Column scores of query heads, and not of KV heads.
    of_query_heads: bool,
    /// Room for columns and windows beyond the most (below 0: too little).
    spare: [i32; 2],
    sequences: Vec<SequenceCase>,
}

/// The edges of a tile of 128 columns and of a warp's 32.
const LENGTHS: [usize; 16] = [
    0, 1, 2, 31, 32, 33, 127, 128, 129, 160, 255, 256, 257, 300, 384, 385,
];
/// The edges of a tile of 16 rows, a chunk of 64, and of what stays in shared memory.
const ROWS: [i32; 14] = [0, 1, 4, 15, 16, 17, 32, 63, 64, 65, 127, 128, 129, i32::MAX];
const WINDOWS: [i32; 14] = [0, 1, 2, 4, 8, 12, 16, 17, 31, 32, 33, 64, 130, 1000];

fn sequence() -> impl Strategy<Value = SequenceCase> {
    let length = prop_oneof![prop::sample::select(&LENGTHS[..]), 1usize..200];
    let rows = prop_oneof![prop::sample::select(&ROWS[..]), 1..40i32];
    let window = prop::sample::select(&WINDOWS[..]);
    (
        (length, 0..5, 0usize..150),
        (rows, 0..4, 0..40i32),
        (window, 0..4, 1..40i32),
        any::<u64>(),
    )
        .prop_map(|((seqlen_kv, which_q, any_q), rows, window, seed)| {
            let (query_len, which_suffix, any_suffix) = rows;
            let (window_len, which_top, any_top) = window;
            let seqlen_q = match which_q {
                0 => any_q,
                1 => (query_len as usize).min(seqlen_kv),
                2 => seqlen_kv + any_q % 20,
                _ => seqlen_kv,
            };
            let suffix_len = match which_suffix {
                0 => any_suffix,
                1 => 0,
                _ => query_len.min(40),
            };
            let top_tokens = match which_top {
                0 => any_top,
                1 => window_len.max(1),
                _ => (window_len / 2).max(1),
            };
            let observation = Observation {
                query_len,
                suffix_len,
                window_len,
                top_tokens,
            };
            SequenceCase {
                seqlen_q,
                seqlen_kv,
                observation,
                seed,
            }
        })
}

fn any_case() -> impl Strategy<Value = Case> {
    let group = prop_oneof![4 => 1usize..=4, 1 => Just(7usize)];
    let width = || (0usize..8).prop_map(|half| 2 * half + 1);
    let pooling = prop_oneof![
        2 => Just(Pooling::None),
        1 => width().prop_map(|width| Pooling::Average { width }),
        1 => width().prop_map(|width| Pooling::Max { width }),
    ];
    let spare = || prop_oneof![5 => 0..9i32, 1 => -20..0i32];
    (
        (
            any::<bool>(),
            1usize..=2,
            group,
            prop::sample::select(&[32usize, 64, 96, 128][..]),
            prop::sample::select(&[0.01, 2.0, 20.0, 300.0][..]),
        ),
        (Batching::any(), [Order::any(), Order::any()]),
        (pooling, any::<bool>(), [spare(), spare()]),
        prop_oneof![8 => prop::collection::vec(sequence(), 1..=2), 1 => prop::collection::vec(sequence(), 0..=3)],
    )
        .prop_map(|(shape, memory, output, mut sequences)| {
            let (bfloat16, num_heads_kv, group, head_dim, top) = shape;
            let (batching, orders) = memory;
            let (pooling, of_query_heads, spare) = output;
            if batching == Batching::Full
                && let Some(&SequenceCase { seqlen_q, seqlen_kv, .. }) = sequences.first()
            {
                for sequence in &mut sequences {
                    (sequence.seqlen_q, sequence.seqlen_kv) = (seqlen_q, seqlen_kv);
                }
            }
            Case { bfloat16, num_heads_kv, group, head_dim,
                softmax_scale: softmax_scale(head_dim),
                top,
                batching, orders, pooling, of_query_heads, spare, sequences }
        })
}

/// One sequence's tensors, exactly as the kernel gets them.
#[derive(Clone)]
struct Tensors {
    /// `[seqlen_q, num_heads_q, head_dim]`
    q: Array3<f64>,
    /// `[seqlen_kv, num_heads_kv, head_dim]`
    k: Array3<f64>,
    /// `[num_heads_q, seqlen_q]`
    lse: Array2<f32>,
}

impl Tensors {
    fn new<T: Half>(case: &Case, sequence: &SequenceCase) -> Self {
        let amplitude = (case.top / (case.head_dim as f64).sqrt()).sqrt();
        let make = |offset, tokens, heads| -> Array3<f64> {
            let seed = sequence.seed.wrapping_add(offset);
            tensor::<f64>(seed, (tokens, heads, case.head_dim), amplitude)
                .mapv(|x| T::of(x).value())
        };
        let q = make(0, sequence.seqlen_q, case.num_heads_kv * case.group);
        let k = make(1, sequence.seqlen_kv, case.num_heads_kv);
        let scale = f64::from(case.softmax_scale);
        let lse = log_sum_exp(q.view(), k.view(), scale).mapv(|x| x as f32);
        Self { q, k, lse }
    }
}

/// What the kernels gave: bits of what a sequence has, by column head, and of its windows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scores {
    columns: Vec<Vec<u32>>,
    windows: Vec<u32>,
}

/// Runs the kernels; what lies outside the sequences' scores must not be written.
fn run<T: Half>(
    device: &Device,
    case: &Case,
    tensors: &[Tensors],
    outputs: [bool; 2],
) -> Result<(Vec<Scores>, Flags), Error> {
    let heads_q = case.num_heads_kv * case.group;
    let lens = |len: fn(&SequenceCase) -> usize| case.sequences.iter().map(len).collect::<Vec<_>>();
    let places_q = Places::new(&lens(|s| s.seqlen_q), case.batching);
    let places_kv = Places::new(&lens(|s| s.seqlen_kv), case.batching);
    let lay = |places: &Places, heads, order| {
        Lay::new([places.batch, places.tokens, heads, case.head_dim], order)
    };
    let q_lay = lay(&places_q, heads_q, case.orders[0]);
    let k_lay = lay(&places_kv, case.num_heads_kv, case.orders[1]);
    let nan = T::of(f64::NAN);
    let (mut q, mut k) = (vec![nan; q_lay.len], vec![nan; k_lay.len]);
    let lse_head_stride = places_q.tokens + 5;
    let lse_batch_stride = heads_q * lse_head_stride + 3;
    let mut lse = vec![f32::NAN; places_q.batch * lse_batch_stride];
    for (b, tensors) in tensors.iter().enumerate() {
        for (memory, lay, values, places) in [
            (&mut q, &q_lay, &tensors.q, &places_q),
            (&mut k, &k_lay, &tensors.k, &places_kv),
        ] {
            let (row, first) = places.starts[b];
            for ((token, head, d), &value) in values.indexed_iter() {
                memory[lay.at(row, first + token, head) + d] = T::of(value);
            }
        }
        let (row, first) = places_q.starts[b];
        for ((head, token), &value) in tensors.lse.indexed_iter() {
            lse[row * lse_batch_stride + head * lse_head_stride + first + token] = value;
        }
    }
    let (q, k, lse) = (device.upload(&q)?, device.upload(&k)?, device.upload(&lse)?);
    let lengths_q = places_q.upload(device)?;
    let lengths_kv = places_kv.upload(device)?;
    let input = ops::ScoreInput {
        q: Tensor::strided(q.view(), dims(&q_lay), q_lay.strides, q_lay.offset)?,
        k: Tensor::strided(k.view(), dims(&k_lay), k_lay.strides, k_lay.offset)?,
        lse: RowsF32::strided(
            lse.view(),
            [places_q.batch, heads_q, places_q.tokens],
            lse_batch_stride,
            lse_head_stride,
            0,
        )?,
        sequences_q: lengths_q.sequences(),
        sequences_kv: lengths_kv.sequences(),
    };

    let batch = case.sequences.len();
    let room = |most: Option<usize>, spare: i32| (most.unwrap_or(0) as i32 + spare).max(0) as usize;
    let windows_of = case.sequences.iter().map(SequenceCase::windows);
    let max_columns = room(
        windows_of.clone().map(|w| w.review_len()).max(),
        case.spare[0],
    );
    let max_windows = room(windows_of.map(|w| w.count()).max(), case.spare[1]);
    let column_heads = if case.of_query_heads {
        heads_q
    } else {
        case.num_heads_kv
    };
    let (head_stride, window_stride) = (max_columns + 3, max_windows + 2);
    let batch_stride = column_heads * head_stride + 1;
    let mut columns = device.poisoned::<f32>(batch * batch_stride)?;
    let mut windows = device.poisoned::<f32>(batch * window_stride)?;
    let mut flags = device.zeroed::<u32>(1)?;
    let observations: Vec<Observation> = case.sequences.iter().map(|s| s.observation).collect();
    let observations = device.upload(&observations)?;
    let mut workspace = device.poisoned::<u8>(ops::score_workspace_size(device, &input)?)?;
    let [with_columns, with_windows] = outputs;
    ops::score(
        device,
        ops::ScoreParams {
            input,
            observations: observations.view(),
            column_scores: if with_columns {
                let shape = [batch, column_heads, max_columns];
                Some(RowsF32Mut::strided(
                    columns.view_mut(),
                    shape,
                    batch_stride,
                    head_stride,
                    0,
                )?)
            } else {
                None
            },
            window_scores: if with_windows {
                let view = windows.view_mut();
                Some(MatrixMut::strided(
                    view,
                    batch,
                    max_windows,
                    window_stride,
                    0,
                )?)
            } else {
                None
            },
            pooling: case.pooling,
            softmax_scale: case.softmax_scale,
            workspace: workspace.view_mut(),
            flags: Some(flags.view_mut()),
        },
    )?;

    let bits = |buffer: &Buffer<f32>| -> Result<Vec<u32>, Error> {
        Ok(buffer.download()?.into_iter().map(f32::to_bits).collect())
    };
    let (columns, windows) = (bits(&columns)?, bits(&windows)?);
    let written = |memory: &[u32], count: usize| {
        assert!(
            memory[count..].iter().all(|&x| x == POISON),
            "written past {count}"
        );
        memory[..count].to_vec()
    };
    let scores = (0..batch).map(|b| {
        let geometry = case.sequences[b].windows();
        let count = if with_columns {
            geometry.review_len().min(max_columns)
        } else {
            0
        };
        let of_batch = &columns[b * batch_stride..][..batch_stride];
        assert_eq!(of_batch[batch_stride - 1], POISON);
        let rows = of_batch[..batch_stride - 1].chunks(head_stride);
        let columns = rows.map(|row| written(row, count)).collect();
        let count = if with_windows {
            geometry.count().min(max_windows)
        } else {
            0
        };
        let windows = written(&windows[b * window_stride..][..window_stride], count);
        Scores { columns, windows }
    });
    Ok((scores.collect(), Flags::from_bits(flags.download()?[0])))
}

fn dims(lay: &Lay) -> [usize; 4] {
    [
        lay.shape.batch,
        lay.shape.tokens,
        lay.shape.heads,
        lay.shape.head_dim,
    ]
}

/// Column scores of the column heads, and window scores, by the oracle.
fn expected(
    case: &Case,
    sequence: &SequenceCase,
    tensors: &Tensors,
) -> (Bounded<Array2<f64>>, Bounded<Vec<f64>>) {
    let first = sequence.seqlen_q - sequence.rows();
    let q = tensors.q.slice(s![first.., .., ..]);
    let lse = tensors.lse.slice(s![.., first..]).mapv(f64::from);
    let scale = f64::from(case.softmax_scale);
    let geometry = sequence.windows();
    let t = column_scores(
        q,
        tensors.k.view(),
        lse.view(),
        scale,
        geometry.review_len(),
    );
    let columns = if case.of_query_heads {
        pooled(&t, case.pooling)
    } else {
        pooled(&mean_over_groups(&t, case.num_heads_kv), case.pooling)
    };
    let top = sequence.observation.top_tokens as usize;
    let windows = window_scores(&pooled(&t, case.pooling), &geometry, top);
    let windows = Bounded {
        exact: windows.exact.to_vec(),
        error: windows.error.to_vec(),
    };
    (columns, windows)
}

fn close(what: &str, found: u32, exact: f64, error: f64) -> Result<(), TestCaseError> {
    let found = f64::from(f32::from_bits(found));
    // A NaN fails.
    prop_assert!(
        (found - exact).abs() <= error,
        "{what} is {found}, not {exact}; allowed {error:e}"
    );
    Ok(())
}

fn is_scored<T: Half>(device: &Device, case: &Case) -> Result<(), TestCaseError> {
    let tensors: Vec<Tensors> = case
        .sequences
        .iter()
        .map(|sequence| Tensors::new::<T>(case, sequence))
        .collect();
    let (found, flags) = run::<T>(device, case, &tensors, [true, true]).map_err(fail)?;
    let mut expected_flags = 0;
    for (b, (sequence, scores)) in case.sequences.iter().zip(&found).enumerate() {
        if !sequence.scored() {
            continue;
        }
        let (columns, windows) = expected(case, sequence, &tensors[b]);
        // Rows that should observe are not there.
        let q_len = sequence.seqlen_q;
        if sequence.observation.query_len as usize > q_len && q_len < sequence.seqlen_kv {
            expected_flags |= Flags::RANGE.bits();
        }
        for (head, row) in scores.columns.iter().enumerate() {
            for (j, &bits) in row.iter().enumerate() {
                let (exact, error) = (columns.exact[[head, j]], columns.error[[head, j]]);
                close(
                    &format!("column {j} of head {head} of {b}"),
                    bits,
                    exact,
                    error,
                )?;
            }
            if row.len() < columns.exact.ncols() {
                expected_flags |= Flags::CAPACITY.bits();
            }
        }
        for (w, &bits) in scores.windows.iter().enumerate() {
            close(
                &format!("window {w} of {b}"),
                bits,
                windows.exact[w],
                windows.error[w],
            )?;
        }
        if scores.windows.len() < windows.exact.len() {
            expected_flags |= Flags::CAPACITY.bits();
        } else {
            is_selected(device, &scores.windows, &windows, sequence.seed)?;
        }
    }
    prop_assert_eq!(flags, Flags::from_bits(expected_flags));

    // The same bits under another schedule and one output at a time, and each sequence alone.
    device.set_schedule(Schedule::default());
    let (columns, _) = run::<T>(device, case, &tensors, [true, false]).map_err(fail)?;
    let (windows, _) = run::<T>(device, case, &tensors, [false, true]).map_err(fail)?;
    for (b, scores) in found.iter().enumerate() {
        prop_assert_eq!(&columns[b].columns, &scores.columns);
        prop_assert_eq!(&windows[b].windows, &scores.windows);
    }
    for b in 0..found.len() {
        let alone = Case {
            sequences: vec![case.sequences[b].clone()],
            batching: Batching::Padded,
            spare: [2, 3],
            ..case.clone()
        };
        let (scores, _) = run::<T>(device, &alone, &tensors[b..=b], [true, true]).map_err(fail)?;
        for (alone, batched) in scores[0].columns.iter().zip(&found[b].columns) {
            prop_assert_eq!(&alone[..batched.len()], &batched[..]);
        }
        let batched = &found[b].windows;
        prop_assert_eq!(&scores[0].windows[..batched.len()], &batched[..]);
    }
    Ok(())
}

/// The selection follows the kernel's own scores always, and the oracle's where they leave no doubt.
fn is_selected(
    device: &Device,
    scores: &[u32],
    oracle: &Bounded<Vec<f64>>,
    seed: u64,
) -> Result<(), TestCaseError> {
    let scores: Vec<f32> = scores.iter().map(|&bits| f32::from_bits(bits)).collect();
    let count = scores.len();
    let keep = seed as usize % (count + 1);
    if count == 0 {
        return Ok(());
    }
    let kept = select(device, &scores, keep).map_err(fail)?;
    prop_assert_eq!(&kept, &top_indices(&scores, keep).expect("no NaN"));
    let chosen = top_indices(&oracle.exact, keep).expect("no NaN");
    let is_chosen = |w: &usize| chosen.binary_search(w).is_ok();
    let least = chosen
        .iter()
        .map(|&w| oracle.exact[w] - oracle.error[w])
        .fold(f64::INFINITY, f64::min);
    let others = (0..count).filter(|w| !is_chosen(w));
    let most = others
        .map(|w| oracle.exact[w] + oracle.error[w])
        .fold(f64::NEG_INFINITY, f64::max);
    if least > most {
        prop_assert_eq!(kept, chosen);
    }
    Ok(())
}

fn select(device: &Device, scores: &[f32], keep: usize) -> Result<Vec<usize>, Error> {
    let scores_buffer = device.upload(scores)?;
    let num_windows = device.upload(&[scores.len() as i32])?;
    let num_keep = device.upload(&[keep as i32])?;
    let mut indices = device.poisoned::<i32>(keep)?;
    let mut num_kept = device.poisoned::<i32>(1)?;
    ops::select(
        device,
        ops::SelectParams {
            scores: Matrix::new(scores_buffer.view(), 1, scores.len())?,
            num_windows: num_windows.view(),
            num_keep: num_keep.view(),
            indices: MatrixMut::new(indices.view_mut(), 1, keep)?,
            num_kept: num_kept.view_mut(),
            flags: None,
        },
    )?;
    Ok(indices
        .download()?
        .into_iter()
        .map(|i| i as usize)
        .collect())
}

#[test]
fn scores_are_those_of_the_softmax_matrix() {
    on_every_device(150, any_case(), |device, case| {
        if case.bfloat16 {
            is_scored::<bf16>(device, &case)
        } else {
            is_scored::<f16>(device, &case)
        }
    });
}

/// One sequence of f16 that is all its own prompt, and is observed by its last rows.
fn plain_case(seqlen: usize, observation: Observation) -> Case {
    Case {
        bfloat16: false,
        num_heads_kv: 1,
        group: 2,
        head_dim: 64,
        softmax_scale: softmax_scale(64),
        top: 4.0,
        batching: Batching::Padded,
        orders: [Order::Tokens, Order::Heads],
        pooling: Pooling::None,
        of_query_heads: true,
        spare: [0, 0],
        sequences: vec![SequenceCase {
            seqlen_q: seqlen,
            seqlen_kv: seqlen,
            observation,
            seed: 7,
        }],
    }
}

fn observation(query_len: i32, suffix_len: i32, window_len: i32, top_tokens: i32) -> Observation {
    Observation {
        query_len,
        suffix_len,
        window_len,
        top_tokens,
    }
}

/// Many tiles a block, many chunks a tile, and rows that do not stay in shared memory.
#[test]
fn long_sequences() {
    for device in devices() {
        let suffix = Case {
            head_dim: 128,
            softmax_scale: softmax_scale(128),
            ..plain_case(4_500, observation(32, 32, 16, 8))
        };
        let all_rows = Case {
            group: 1,
            head_dim: 32,
            softmax_scale: softmax_scale(32),
            ..plain_case(1_100, observation(i32::MAX, 16, 200, 100))
        };
        for case in [suffix, all_rows] {
            is_scored::<bf16>(&device, &case).expect("scores are right");
        }
    }
}

#[test]
fn nan_stays_where_it_is_seen() {
    for device in devices() {
        for (window_len, top_tokens) in [(8, 8), (8, 1), (40, 40), (40, 3)] {
            let case = plain_case(90, observation(20, 4, window_len, top_tokens));
            let sequence = &case.sequences[0];
            let clean = Tensors::new::<f16>(&case, sequence);
            let (before, _) =
                run::<f16>(&device, &case, std::slice::from_ref(&clean), [true, true])
                    .expect("it runs");
            let broken = |tensors: Tensors| {
                let found = run::<f16>(&device, &case, &[tensors], [true, true]).expect("it runs");
                assert!(found.1.is_empty(), "the selection tells of NaN");
                found.0.into_iter().next().expect("one sequence")
            };
            let is_nan = |&bits: &u32| f32::from_bits(bits).is_nan();

            // A key: its column and its window, of all heads.
            let mut tensors = clean.clone();
            tensors.k[[37, 0, 5]] = f64::NAN;
            let after = broken(tensors);
            for (head, row) in after.columns.iter().enumerate() {
                for (j, bits) in row.iter().enumerate() {
                    assert_eq!(is_nan(bits), j == 37, "column {j}");
                    assert!(is_nan(bits) || *bits == before[0].columns[head][j]);
                }
            }
            for (w, bits) in after.windows.iter().enumerate() {
                assert_eq!(is_nan(bits), w == 37 / window_len as usize, "window {w}");
                assert!(is_nan(bits) || *bits == before[0].windows[w]);
            }

            // A key behind the review context, in the same tile: nothing.
            let mut tensors = clean.clone();
            tensors.k[[88, 0, 5]] = f64::NAN;
            assert_eq!(broken(tensors), before[0]);

            // A row that observes: what it sees, in its head alone.
            let mut tensors = clean.clone();
            tensors.lse[[1, 73]] = f32::NAN;
            let after = broken(tensors);
            assert_eq!(after.columns[0], before[0].columns[0]);
            assert!(after.columns[1][..74].iter().all(is_nan));
            assert_eq!(after.columns[1][74..], before[0].columns[1][74..]);

            // A row that does not observe: nothing.
            let mut tensors = clean.clone();
            tensors.q[[69, 1, 0]] = f64::NAN;
            tensors.lse[[1, 69]] = f32::NAN;
            assert_eq!(broken(tensors), before[0]);
        }
    }
}

/// A log-sum-exp of -inf says that the row saw nothing, one far too low overflows the exponential.
#[test]
fn infinite_log_sum_exps() {
    for device in devices() {
        for (window_len, top_tokens) in [(8, 3), (48, 5)] {
            let case = plain_case(52, observation(16, 4, window_len, top_tokens));
            let mut tensors = Tensors::new::<f16>(&case, &case.sequences[0]);
            tensors.lse.slice_mut(s![0, ..]).fill(f32::NEG_INFINITY);
            let run = |tensors: &Tensors| {
                let (mut found, _) =
                    run::<f16>(&device, &case, std::slice::from_ref(tensors), [true, true])
                        .expect("it runs");
                found.remove(0)
            };
            let found = run(&tensors);
            assert!(found.columns[0].iter().all(|&bits| bits == 0));
            assert!(
                found.columns[1]
                    .iter()
                    .all(|&bits| f32::from_bits(bits) > 0.0)
            );
            assert!(found.windows.iter().all(|&bits| f32::from_bits(bits) > 0.0));

            tensors.lse.slice_mut(s![0, ..]).fill(-1e30);
            let found = run(&tensors);
            let infinite = |&bits: &u32| f32::from_bits(bits) == f32::INFINITY;
            assert!(found.columns[0].iter().all(infinite));
            assert!(found.windows.iter().all(infinite));
        }
    }
}

/// Zeros everywhere and lse 0, so that each row gives 1 to each column that it sees; 40 tokens a sequence. Lengths
/// and observations are what device memory says, and not checked by anybody but the kernel.
fn ones(
    device: &Device,
    lens: (&[i32], Batching),
    observations: &[Observation],
) -> (Vec<Vec<f32>>, Flags) {
    let batch = observations.len();
    let (lens, batching) = lens;
    let places = match batching {
        Batching::Padded => [batch, 40],
        _ => [1, 40 * batch],
    };
    let [of_tensor, tokens] = places;
    let zeros = device.zeroed::<f16>(batch * 40 * 32).expect("memory");
    let lse = device.zeroed::<f32>(batch * 40).expect("memory");
    let lens = device.upload(lens).expect("memory");
    let sequences = match batching {
        Batching::Padded => Sequences::padded(40).with_seqlens(lens.view()),
        _ => Sequences::ragged(lens.view(), 40),
    };
    let tensor = Tensor::new(zeros.view(), [of_tensor, tokens, 1, 32]).expect("it fits");
    let input = ops::ScoreInput {
        q: tensor,
        k: tensor,
        lse: RowsF32::new(lse.view(), [of_tensor, 1, tokens]).expect("it fits"),
        sequences_q: sequences,
        sequences_kv: sequences,
    };
    let observations = device.upload(observations).expect("memory");
    let bytes = ops::score_workspace_size(device, &input).expect("a size");
    let mut workspace = device.poisoned::<u8>(bytes).expect("memory");
    let mut windows = device.upload(&vec![-1.0f32; batch * 40]).expect("memory");
    let mut flags = device.zeroed::<u32>(1).expect("memory");
    let params = ops::ScoreParams {
        input,
        observations: observations.view(),
        column_scores: None,
        window_scores: Some(MatrixMut::new(windows.view_mut(), batch, 40).expect("it fits")),
        pooling: Pooling::None,
        softmax_scale: 1.0,
        workspace: workspace.view_mut(),
        flags: Some(flags.view_mut()),
    };
    ops::score(device, params).expect("it runs");
    let windows = windows.download().expect("memory");
    let written = windows.chunks(40).map(|row| {
        let count = row.iter().position(|&x| x == -1.0).unwrap_or(40);
        assert!(row[count..].iter().all(|&x| x == -1.0));
        row[..count].to_vec()
    });
    let flags = flags.download().expect("memory")[0];
    (written.collect(), Flags::from_bits(flags))
}

/// Numbers in device memory that the launcher cannot see.
#[test]
fn numbers_out_of_range_are_clamped_and_flagged() {
    let fine = observation(8, 8, 8, 8);
    for device in devices() {
        let padded = |seqlen, given| {
            let (mut windows, flags) = ones(&device, (&[seqlen], Batching::Padded), &[given]);
            (windows.remove(0), flags)
        };
        let all = vec![8.0; 4];
        let none = Flags::default();
        assert_eq!(padded(40, fine), (all.clone(), none));
        assert_eq!(
            padded(40, observation(8, 8, 8, i32::MAX)),
            (all.clone(), none)
        );
        assert_eq!(padded(40, observation(8, i32::MAX, 8, 8)), (vec![], none));
        assert_eq!(
            padded(40, observation(8, 8, i32::MAX, 8)),
            (vec![8.0], none)
        );
        assert_eq!(padded(40, observation(8, 8, 0, 0)), (vec![], none));
        // All rows observe; column j is seen by 40 - j of them.
        let mean = |first: usize| (0..20).map(|j| (40 - first - j) as f32).sum::<f32>() / 20.0;
        let given = observation(i32::MAX, 0, 20, 20);
        assert_eq!(padded(40, given), (vec![mean(0), mean(20)], none));

        for (given, windows) in [
            (observation(-1, 8, 8, 8), vec![0.0; 4]),
            (observation(i32::MIN, 8, 8, 8), vec![0.0; 4]),
            (observation(8, -1, 8, 8), vec![8.0, 8.0, 8.0, 8.0, 4.5]),
            (observation(8, 8, -1, 8), vec![]),
            (observation(8, 8, i32::MIN, 8), vec![]),
            (observation(8, 8, 8, 0), all.clone()),
            (observation(8, 8, 8, i32::MIN), all.clone()),
        ] {
            assert_eq!(padded(40, given), (windows, Flags::RANGE), "{given:?}");
        }
        assert_eq!(padded(i32::MAX, fine), (all.clone(), Flags::RANGE));
        assert_eq!(padded(-1, fine), (vec![], Flags::RANGE));
        assert_eq!(padded(i32::MIN, fine), (vec![], Flags::RANGE));

        let ragged =
            |cu_seqlens: [i32; 3]| ones(&device, (&cu_seqlens, Batching::Ragged), &[fine, fine]);
        assert_eq!(ragged([0, 40, 56]), (vec![all.clone(), vec![8.0]], none));
        for (cu_seqlens, windows) in [
            ([0, 41, 80], [all.clone(), vec![8.0; 4]]),
            ([-9, 40, 40], [all.clone(), vec![]]),
            ([40, 24, 40], [vec![], vec![8.0]]),
            ([0, 16, i32::MAX], [vec![8.0], all.clone()]),
            ([i32::MAX, i32::MIN, 7], [vec![], vec![]]),
        ] {
            let (found, flags) = ragged(cu_seqlens);
            assert_eq!(flags, Flags::RANGE, "{cu_seqlens:?}");
            assert_eq!(found, windows, "{cu_seqlens:?}");
        }
    }
}

/// A probability rounded to half precision and summed in it, as the released code does, is worse.
#[test]
fn better_than_sums_in_half_precision() {
    for device in devices() {
        for seed in 0..8 {
            let mut case = plain_case(200 + 31 * seed, observation(32, 32, 8, 8));
            case.sequences[0].seed = seed as u64;
            let sequence = &case.sequences[0];
            let tensors = Tensors::new::<f16>(&case, sequence);
            let (found, _) =
                run::<f16>(&device, &case, std::slice::from_ref(&tensors), [true, true])
                    .expect("it runs");
            let (oracle, _) = expected(&case, sequence, &tensors);
            let first = sequence.seqlen_q - sequence.rows();
            let (mut ours, mut plain) = (0.0f64, 0.0f64);
            for ((head, j), exact) in oracle.exact.indexed_iter() {
                let key = tensors.k.slice(s![j, 0, ..]);
                let mut sum = f16::ZERO;
                for row in first..sequence.seqlen_q {
                    let score: f64 = tensors.q.slice(s![row, head, ..]).dot(&key);
                    let lse = f64::from(tensors.lse[[head, row]]);
                    let p = f16::of((score * f64::from(case.softmax_scale) - lse).exp());
                    sum = f16::of(sum.value() + p.value());
                }
                plain = plain.max((sum.value() - exact).abs());
                let bits = found[0].columns[head][j];
                ours = ours.max((f64::from(f32::from_bits(bits)) - exact).abs());
            }
            assert!(100.0 * ours <= plain, "{ours:e} against {plain:e}");
        }
    }
}

/// A number in two f16 parts, whose sum has its 22 leading bits.
fn parts(x: f32) -> [f64; 2] {
    let high = f16::of(f64::from(x)).value();
    [high, f16::of(f64::from(x) - high).value()]
}

/// Golden queries and keys are float32 of few dimensions. Each dimension becomes four, `q = [qh qh ql ql]` and
/// `k = [kh kl kh kl]`, so that f16 products of the longer heads add up to those of the numbers themselves, to 22
/// bits. Heads are outermost in the files.
fn golden_tensors(q: &Array3<f32>, k: &Array3<f32>, softmax_scale: f32) -> Tensors {
    let split = |x: &Array3<f32>, order: [usize; 4]| {
        let (heads, tokens, head_dim) = x.dim();
        let split_dim = (4 * head_dim).next_multiple_of(32);
        Array3::from_shape_fn((tokens, heads, split_dim), |(token, head, d)| {
            if d < 4 * head_dim {
                parts(x[[head, token, d / 4]])[order[d % 4]]
            } else {
                0.0
            }
        })
    };
    let (q, k) = (split(q, [0, 0, 1, 1]), split(k, [0, 1, 0, 1]));
    let lse = log_sum_exp(q.view(), k.view(), f64::from(softmax_scale)).mapv(|x| x as f32);
    Tensors { q, k, lse }
}

fn golden_case(tensors: &Tensors, softmax_scale: f32, observation: Observation) -> Case {
    let (seqlen_q, num_heads_q, head_dim) = tensors.q.dim();
    let (seqlen_kv, num_heads_kv, _) = tensors.k.dim();
    Case {
        num_heads_kv,
        group: num_heads_q / num_heads_kv,
        head_dim,
        softmax_scale,
        sequences: vec![SequenceCase {
            seqlen_q,
            seqlen_kv,
            observation,
            seed: 0,
        }],
        ..plain_case(0, observation)
    }
}

fn near(what: &str, found: &[u32], golden: &[f32]) {
    assert_eq!(found.len(), golden.len(), "{what}");
    for (i, (&bits, &golden)) in found.iter().zip(golden).enumerate() {
        let (found, golden) = (f64::from(f32::from_bits(bits)), f64::from(golden));
        // What the oracle is held to as well.
        assert!(
            (found - golden).abs() <= 1e-5 * golden.abs(),
            "{what} {i}: {found}, not {golden}"
        );
    }
}

/// The released code's column scores, window scores and windows, and the tokens of the methods it is compared with,
/// from its queries and keys through the kernels.
#[test]
fn golden_selections() {
    let [mut layers, mut methods] = [0, 0];
    for path in golden::entries("selection") {
        let vectors = Vectors::read(&path);
        let name = path.display();
        let scale = softmax_scale(vectors.parameter("head_dim"));
        let method = vectors.parameter::<String>("method");
        for device in devices() {
            if method == "windowkv" {
                let suffix_len: i32 = vectors.parameter("suffix_size");
                let window_len: i32 = vectors.parameter("review_window_size");
                let strategy = vectors.parameter::<String>("window_select_strategy");
                let top_tokens = if strategy == "max" {
                    window_len / 2
                } else {
                    window_len
                };
                for layer in vectors.suffixes("window_scores.layer") {
                    let of_layer = |what: &str| format!("{what}.layer{layer}");
                    let q = vectors.array3(&of_layer("q_suffix"));
                    let tensors = golden_tensors(&q, &vectors.array3(&of_layer("k")), scale);
                    let observed = observation(suffix_len, suffix_len, window_len, top_tokens);
                    let case = golden_case(&tensors, scale, observed);
                    let (found, _) =
                        run::<f16>(&device, &case, &[tensors], [true, true]).expect("it runs");
                    let columns = vectors.array2(&of_layer("column_scores"));
                    for (found, golden) in found[0].columns.iter().zip(columns.rows()) {
                        near(
                            &format!("{name} layer {layer} column"),
                            found,
                            &golden.to_vec(),
                        );
                    }
                    let golden = vectors.array2(&of_layer("window_scores")).row(0).to_vec();
                    near(
                        &format!("{name} layer {layer} window"),
                        &found[0].windows,
                        &golden,
                    );
                    let scores: Vec<f32> = found[0]
                        .windows
                        .iter()
                        .map(|&x| f32::from_bits(x))
                        .collect();
                    let expected = vectors.indices(&of_layer("selected_windows")).remove(0);
                    let kept = select(&device, &scores, expected.len()).expect("it runs");
                    assert_eq!(kept, expected, "{name} layer {layer}");
                    layers += 1;
                }
                continue;
            }
            // StreamingLLM has no scores.
            if method == "streamingllm" {
                continue;
            }
            let recent_len: i32 = vectors.parameter("window_size");
            let (queries, query_len, pooling) = if method == "h2o" {
                ("q", i32::MAX, Pooling::None)
            } else {
                let width = vectors.parameter("kernel_size");
                let pooling = match vectors.parameter::<String>("pooling").as_str() {
                    "avgpool" => Pooling::Average { width },
                    _ => Pooling::Max { width },
                };
                ("q_suffix", recent_len, pooling)
            };
            let tensors = golden_tensors(&vectors.array3(queries), &vectors.array3("k"), scale);
            let observed = observation(query_len, recent_len, 1, 1);
            let case = Case {
                pooling,
                of_query_heads: vectors.parameter::<String>("granularity") == "query_head",
                ..golden_case(&tensors, scale, observed)
            };
            let seqlen = case.sequences[0].seqlen_kv;
            let (found, _) =
                run::<f16>(&device, &case, &[tensors], [true, false]).expect("it runs");
            let expected = vectors.indices("kept_positions");
            assert_eq!(found[0].columns.len(), expected.len(), "{name}");
            for (head, (columns, expected)) in found[0].columns.iter().zip(&expected).enumerate() {
                let scores: Vec<f32> = columns.iter().map(|&x| f32::from_bits(x)).collect();
                let keep = expected.len() - recent_len as usize;
                let mut kept = select(&device, &scores, keep).expect("it runs");
                kept.extend(seqlen - recent_len as usize..seqlen);
                assert_eq!(&kept, expected, "{name} head {head}");
            }
            methods += 1;
        }
    }
    println!("{layers} golden layers of WindowKV, {methods} golden cases of other methods");
    assert!(layers > 0 && methods > 0);
}

#[test]
fn wrong_parameters_are_named() {
    let device = a_device();
    let mut case = plain_case(20, observation(4, 4, 4, 4));
    let tensors = Tensors::new::<f16>(&case, &case.sequences[0]);
    let refused = |case: &Case, outputs, word: &str| {
        let error =
            run::<f16>(&device, case, std::slice::from_ref(&tensors), outputs).expect_err(word);
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(
        &case,
        [false, false],
        "column_scores and window_scores are both null",
    );
    for width in [0, 2, 8] {
        case.pooling = Pooling::Average { width };
        refused(
            &case,
            [true, true],
            &format!("pooling_width is {width}, not odd"),
        );
    }
    case.pooling = Pooling::Max { width: 4097 };
    refused(&case, [true, true], "pooling_width is 4097, over 4095");
    case.pooling = Pooling::Max { width: usize::MAX };
    refused(
        &case,
        [true, true],
        "the pooling width is 18446744073709551615, the limit is 2147483647",
    );
    case.pooling = Pooling::None;
    case.softmax_scale = f32::NAN;
    refused(&case, [true, true], "softmax_scale is nan");

    // Views that do not fit each other.
    let halves = device.zeroed::<f16>(8 * 4 * 64).expect("memory");
    let floats = device.zeroed::<f32>(8 * 4).expect("memory");
    let observations = device.zeroed::<Observation>(1).expect("memory");
    let attempt = |heads: [usize; 4], head_dim, workspace: usize, of_columns: usize| {
        let [heads_q, heads_kv, heads_lse, batch] = heads;
        let mut workspace = device.poisoned::<u8>(workspace).expect("memory");
        let mut columns = device.poisoned::<f32>(8 * of_columns).expect("memory");
        let input = ops::ScoreInput {
            q: Tensor::new(halves.view(), [1, 8, heads_q, head_dim])?,
            k: Tensor::new(halves.view(), [batch, 4, heads_kv, head_dim])?,
            lse: RowsF32::new(floats.view(), [1, heads_lse, 8])?,
            sequences_q: Sequences::padded(8),
            sequences_kv: Sequences::padded(4),
        };
        let columns = RowsF32Mut::new(columns.view_mut(), [1, of_columns, 8])?;
        ops::score(
            &device,
            ops::ScoreParams {
                input,
                observations: observations.view(),
                column_scores: Some(columns),
                window_scores: None,
                pooling: Pooling::None,
                softmax_scale: 1.0,
                workspace: workspace.view_mut(),
                flags: None,
            },
        )
    };
    assert_eq!(attempt([4, 2, 4, 1], 64, 64, 2), Ok(()));
    for (heads, head_dim, workspace, of_columns, word) in [
        (
            [4, 2, 4, 1],
            64,
            63,
            2,
            "workspace_bytes is 63, the call needs 64",
        ),
        (
            [4, 2, 4, 1],
            64,
            64,
            3,
            "column_heads is 3, neither num_heads_q (4) nor num_heads_kv (2)",
        ),
        (
            [4, 3, 4, 1],
            64,
            64,
            3,
            "num_heads_q (4) is not a multiple of num_heads_kv (3)",
        ),
        ([4, 2, 3, 1], 64, 64, 2, "the heads of lse is 3, expected 4"),
        (
            [4, 2, 4, 2],
            64,
            128,
            2,
            "sequences_q: the batch is 1, expected 2",
        ),
        (
            [4, 2, 4, 1],
            48,
            64,
            2,
            "head_dim is 48, not 32, 64, 96 or 128",
        ),
    ] {
        let error = attempt(heads, head_dim, workspace, of_columns).expect_err(word);
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// Tokens, heads and scores more than 2^31 elements apart.
#[test]
fn heads_and_tokens_far_apart() {
    const FAR: usize = (1 << 31) + 8;
    let Some(device) = emulated() else {
        return;
    };
    let case = plain_case(20, observation(4, 4, 8, 8));
    let tensors = Tensors::new::<f16>(&case, &case.sequences[0]);
    let (near, _) = run::<f16>(
        &device,
        &case,
        std::slice::from_ref(&tensors),
        [true, false],
    )
    .expect("it runs");

    let mut q = SparseMemory::<f16>::new(&device, FAR + 20 * 64);
    let mut k = SparseMemory::<f16>::new(&device, 20 * FAR);
    let mut lse = SparseMemory::<f32>::new(&device, FAR + 20);
    let mut columns = SparseMemory::<f32>::new(&device, FAR + 16);
    for ((token, head, d), &value) in tensors.q.indexed_iter() {
        q.elements(head * FAR + token * 64 + d, 1)[0] = f16::of(value);
    }
    for ((token, _, d), &value) in tensors.k.indexed_iter() {
        k.elements(token * FAR + d, 1)[0] = f16::of(value);
    }
    for ((head, token), &value) in tensors.lse.indexed_iter() {
        lse.elements(head * FAR + token, 1)[0] = value;
    }
    let strides = |token, head| Strides {
        batch: 0,
        token,
        head,
    };
    let input = ops::ScoreInput {
        q: Tensor::strided(q.view(), [1, 20, 2, 64], strides(64, FAR), 0).expect("it fits"),
        k: Tensor::strided(k.view(), [1, 20, 1, 64], strides(FAR, 0), 0).expect("it fits"),
        lse: RowsF32::strided(lse.view(), [1, 2, 20], 0, FAR, 0).expect("it fits"),
        sequences_q: Sequences::padded(20),
        sequences_kv: Sequences::padded(20),
    };
    let observations = device
        .upload(&[case.sequences[0].observation])
        .expect("memory");
    let bytes = ops::score_workspace_size(&device, &input).expect("a size");
    let mut workspace = device.poisoned::<u8>(bytes).expect("memory");
    let rows = RowsF32Mut::strided(columns.view_mut(), [1, 2, 16], 0, FAR, 0).expect("it fits");
    let params = ops::ScoreParams {
        input,
        observations: observations.view(),
        column_scores: Some(rows),
        window_scores: None,
        pooling: Pooling::None,
        softmax_scale: case.softmax_scale,
        workspace: workspace.view_mut(),
        flags: None,
    };
    ops::score(&device, params).expect("it runs");
    for head in 0..2 {
        let bits: Vec<u32> = columns
            .elements(head * FAR, 16)
            .iter()
            .map(|x| x.to_bits())
            .collect();
        assert_eq!(bits, near[0].columns[head], "head {head}");
    }
}
