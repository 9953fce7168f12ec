//! The prefill kernel against the formula in f64, in every layout, and against itself.

use half::{bf16, f16};
use ndarray::{Array3, s};
use proptest::prelude::*;
use windowkv_kernels::{
    Buffer, Device, Error, Flags, RowsF32Mut, Schedule, Sequences, Shape, Strides, Tensor,
    TensorMut, ops,
};
use windowkv_tests::kernels::{
    Batching, Expected, Filled, Half, LargeScores, Lay, Order, Places, SparseMemory, a_device,
    check_poison, devices, emulated, fail, no_worse_than_plain, on_every_device, value,
};
use windowkv_tests::random::tensor;

/// Of the kernel: rows of a tile, keys of a step.
const TILE_M: usize = 128;
const TILE_N: usize = 64;

#[derive(Debug, Clone)]
struct Case {
    bfloat16: bool,
    num_heads_kv: usize,
    group: usize,
    head_dim: usize,
    batching: Batching,
    /// seqlen_q, seqlen_kv
    sequences: Vec<(usize, usize)>,
    /// q, k, v, o
    orders: [Order; 4],
    lse: bool,
    /// Scores are within this.
    top: f64,
    data: u64,
}

/// Around the edges of tiles, steps, warps and fragments.
fn length() -> impl Strategy<Value = usize> {
    const EDGES: [usize; 17] = [
        0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129,
    ];
    prop_oneof![3 => prop::sample::select(&EDGES[..]).boxed(), 2 => (0..100usize).boxed()]
}

/// Equal lengths, the last chunk of a prompt, more rows than keys, or anything.
fn lengths() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![
        3 => length().prop_map(|n| (n, n)),
        3 => (length(), length()).prop_map(|(a, b)| (a.min(b), a.max(b))),
        1 => (length(), length()).prop_map(|(a, b)| (a.max(b), a.min(b))),
        1 => (0..40usize, 190..260usize),
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let heads = (
        1..=2usize,
        prop::sample::select(&[1usize, 1, 2, 3, 4, 7, 8][..]),
        prop::sample::select(&[32usize, 64, 96, 128][..]),
    );
    let batching = Batching::any();
    let orders = [Order::any(), Order::any(), Order::any(), Order::any()];
    let rest = (any::<bool>(), any::<bool>(), any::<u64>());
    let tops = prop::sample::select(&[0.01, 3.0, 60.0][..]);
    let sequences = prop::collection::vec(lengths(), 0..4);
    (heads, batching, sequences, orders, tops, rest).prop_map(
        |((num_heads_kv, group, head_dim), batching, mut sequences, orders, top, rest)| {
            let (bfloat16, lse, data) = rest;
            // So that many cases run in seconds, the first sequences take what there is of work.
            let mut work = 0;
            sequences.retain(|&(seqlen_q, seqlen_kv)| {
                work +=
                    (seqlen_q * group + TILE_M) * (seqlen_kv + TILE_N) * num_heads_kv * head_dim;
                work < 12_000_000
            });
            if batching == Batching::Full
                && let Some(&longest) = sequences.iter().max()
            {
                sequences.fill(longest);
            }
            Case {
                bfloat16,
                num_heads_kv,
                group,
                head_dim,
                batching,
                sequences,
                orders,
                lse,
                top,
                data,
            }
        },
    )
}

/// One sequence's numbers, rounded to the half-precision type.
#[derive(Clone)]
struct Numbers {
    q: Array3<f64>,
    k: Array3<f64>,
    v: Array3<f64>,
}

/// What a launch wrote for one sequence.
#[derive(Debug, PartialEq)]
struct Output {
    /// Bits, `[seqlen_q, num_heads_q, head_dim]`
    out: Array3<u16>,
    /// Bits, `[num_heads_q, seqlen_q]`
    lse: Vec<Vec<u32>>,
}

impl Case {
    fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }

    fn numbers<T: Half>(&self, sequence: usize) -> Numbers {
        let (seqlen_q, seqlen_kv) = self.sequences[sequence];
        // |q . k| * head_dim^-0.5 is at most amplitude^2 * head_dim^0.5.
        let amplitude = (self.top / (self.head_dim as f64).sqrt()).sqrt();
        let of = |salt: u64, seqlen, heads, amplitude| {
            let seed = self.data.wrapping_add(salt + 3 * sequence as u64);
            let numbers = tensor::<f64>(seed, (seqlen, heads, self.head_dim), amplitude);
            numbers.mapv(|x| T::of(x).value())
        };
        Numbers {
            q: of(0, seqlen_q, self.num_heads_kv * self.group, amplitude),
            k: of(1, seqlen_kv, self.num_heads_kv, amplitude),
            v: of(2, seqlen_kv, self.num_heads_kv, 3.0),
        }
    }

    /// Runs the kernel on a batch of these sequences; nothing outside the outputs may be written.
    fn run<T: Half>(
        &self,
        device: &Device,
        batch: &[Numbers],
    ) -> Result<Vec<Output>, TestCaseError> {
        let heads_q = self.num_heads_kv * self.group;
        let of_q: Vec<usize> = batch.iter().map(|n| n.q.dim().0).collect();
        let of_kv: Vec<usize> = batch.iter().map(|n| n.k.dim().0).collect();
        let side_q = Places::new(&of_q, self.batching);
        let side_kv = Places::new(&of_kv, self.batching);
        let lay = |side: &Places, heads, order| {
            Filled::<T>::poisoned(Lay::new(
                [side.batch, side.tokens, heads, self.head_dim],
                order,
            ))
        };
        let mut q = lay(&side_q, heads_q, self.orders[0]);
        let mut k = lay(&side_kv, self.num_heads_kv, self.orders[1]);
        let mut v = lay(&side_kv, self.num_heads_kv, self.orders[2]);
        let o = lay(&side_q, heads_q, self.orders[3]);
        for (b, numbers) in batch.iter().enumerate() {
            q.put(side_q.starts[b].0, side_q.starts[b].1, &numbers.q);
            k.put(side_kv.starts[b].0, side_kv.starts[b].1, &numbers.k);
            v.put(side_kv.starts[b].0, side_kv.starts[b].1, &numbers.v);
        }
        // Rows of lse, with gaps.
        let (head_stride, lse_offset) = (side_q.tokens + 3, 2);
        let lse_shape = [side_q.batch, heads_q, side_q.tokens];
        let batch_stride = heads_q * head_stride + 1;
        let lse_len = lse_offset + side_q.batch * batch_stride;

        let mut buffers = Buffers {
            q: device.upload(&q.memory).map_err(fail)?,
            k: device.upload(&k.memory).map_err(fail)?,
            v: device.upload(&v.memory).map_err(fail)?,
            o: device.upload(&o.memory).map_err(fail)?,
            lse: device.poisoned::<f32>(lse_len).map_err(fail)?,
        };
        let lens_q = side_q.upload(device).map_err(fail)?;
        let lens_kv = side_kv.upload(device).map_err(fail)?;
        let view = |filled: &Filled<T>| {
            let shape = filled.lay.shape;
            (
                [shape.batch, shape.tokens, shape.heads, shape.head_dim],
                filled.lay.strides,
                filled.lay.offset,
            )
        };
        let tensor = |buffer, filled| {
            let (shape, strides, offset) = view(filled);
            Tensor::strided(Buffer::view(buffer), shape, strides, offset)
        };
        let (shape, strides, offset) = view(&o);
        let params = ops::PrefillParams {
            q: tensor(&buffers.q, &q).map_err(fail)?,
            k: tensor(&buffers.k, &k).map_err(fail)?,
            v: tensor(&buffers.v, &v).map_err(fail)?,
            o: TensorMut::strided(buffers.o.view_mut(), shape, strides, offset).map_err(fail)?,
            lse: if self.lse {
                let rows = RowsF32Mut::strided(
                    buffers.lse.view_mut(),
                    lse_shape,
                    batch_stride,
                    head_stride,
                    lse_offset,
                );
                Some(rows.map_err(fail)?)
            } else {
                None
            },
            sequences_q: lens_q.sequences(),
            sequences_kv: lens_kv.sequences(),
            softmax_scale: self.scale(),
            flags: None,
        };
        ops::prefill(device, params).map_err(fail)?;

        let memory = buffers.o.download().map_err(fail)?;
        let lse = buffers.lse.download().map_err(fail)?;
        let mut written = vec![false; memory.len()];
        let mut lse_written = vec![false; lse.len()];
        let mut outputs = Vec::new();
        for (b, &rows) in of_q.iter().enumerate() {
            let (of_batch, first) = side_q.starts[b];
            let mut out = Array3::zeros((rows, heads_q, self.head_dim));
            for ((row, head, d), bits) in out.indexed_iter_mut() {
                let at = o.lay.at(of_batch, first + row, head) + d;
                *bits = memory[at].bits();
                written[at] = true;
            }
            let mut of_lse = vec![Vec::new(); heads_q];
            for (head, of_head) in of_lse.iter_mut().enumerate() {
                let at = lse_offset + of_batch * batch_stride + head * head_stride + first;
                of_head.extend(lse[at..at + rows].iter().map(|x| x.to_bits()));
                lse_written[at..at + rows].fill(self.lse);
            }
            outputs.push(Output { out, lse: of_lse });
        }
        check_poison(&memory, &written).map_err(TestCaseError::fail)?;
        for (i, x) in lse.iter().enumerate() {
            let left_alone = lse_written[i] || x.to_bits() == u32::MAX;
            prop_assert!(left_alone, "lse element {i} was written: {x}");
        }
        Ok(outputs)
    }

    fn batch<T: Half>(&self) -> Vec<Numbers> {
        (0..self.sequences.len())
            .map(|b| self.numbers::<T>(b))
            .collect()
    }

    fn check<T: Half>(&self, numbers: &Numbers, output: &Output) -> Result<(), TestCaseError> {
        let expected = Expected::new::<T>(
            numbers.q.view(),
            numbers.k.view(),
            numbers.v.view(),
            f64::from(self.scale()),
            TILE_N,
        );
        for ((row, head, d), &bits) in output.out.indexed_iter() {
            let found = T::from_bits(bits).value();
            expected
                .check_out(row, head, d, found)
                .map_err(TestCaseError::fail)?;
        }
        for (head, lse) in output.lse.iter().enumerate().filter(|_| self.lse) {
            for (row, &bits) in lse.iter().enumerate() {
                let found = f64::from(f32::from_bits(bits));
                expected
                    .check_lse(head, row, found)
                    .map_err(TestCaseError::fail)?;
            }
        }
        Ok(())
    }
}

struct Buffers<T: Half> {
    q: Buffer<T>,
    k: Buffer<T>,
    v: Buffer<T>,
    o: Buffer<T>,
    lse: Buffer<f32>,
}

/// Calls a generic function with the case's type.
macro_rules! typed {
    ($case:expr, $function:ident($($argument:expr),*)) => {
        if $case.bfloat16 {
            $function::<bf16>($($argument),*)
        } else {
            $function::<f16>($($argument),*)
        }
    };
}

fn within_the_bound<T: Half>(device: &Device, case: &Case) -> Result<(), TestCaseError> {
    let batch = case.batch::<T>();
    let outputs = case.run::<T>(device, &batch)?;
    for (numbers, output) in batch.iter().zip(&outputs) {
        case.check::<T>(numbers, output)?;
    }
    Ok(())
}

#[test]
fn it_computes_attention() {
    on_every_device(220, cases(), |device, case| {
        typed!(case, within_the_bound(device, &case))
    });
}

/// More query heads to a KV head than a tile has rows, and a prompt of many tiles.
#[test]
fn large_groups_and_long_prompts() {
    let case = |group, sequence, bfloat16| Case {
        bfloat16,
        num_heads_kv: if group > 1 { 2 } else { 1 },
        group,
        head_dim: 32,
        batching: Batching::Ragged,
        sequences: vec![sequence],
        orders: [Order::Tokens; 4],
        lse: true,
        top: 30.0,
        data: 7,
    };
    for device in devices() {
        for case in [
            case(130, (3, 70), true),
            case(257, (2, 2), false),
            case(1, (1000, 1000), false),
        ] {
            typed!(case, within_the_bound(&device, &case)).expect("it is within the bound");
        }
    }
}

/// Alone, in another layout, under another schedule; and its last rows as a chunk of their own.
fn same_bits<T: Half>(
    device: &Device,
    case: &Case,
    other: &Case,
    seed: u64,
) -> Result<(), TestCaseError> {
    let batch = case.batch::<T>();
    let together = case.run::<T>(device, &batch)?;
    device.set_schedule(Schedule { seed, workers: 1 });
    for (numbers, output) in batch.iter().zip(&together) {
        let other = Case {
            batching: other.batching,
            orders: other.orders,
            ..case.clone()
        };
        let alone = other.run::<T>(device, std::slice::from_ref(numbers))?;
        prop_assert_eq!(&alone[0], output, "alone, in another layout");

        let rows = numbers.q.dim().0;
        let first = (seed % (rows as u64 + 1)) as usize;
        let chunk = Numbers {
            q: numbers.q.slice(s![first.., .., ..]).to_owned(),
            ..numbers.clone()
        };
        let alone = other.run::<T>(device, &[chunk])?;
        let out = output.out.slice(s![first.., .., ..]);
        prop_assert_eq!(&alone[0].out, &out, "as a chunk from row {}", first);
        for (of_chunk, of_all) in alone[0].lse.iter().zip(&output.lse) {
            prop_assert_eq!(&of_chunk[..], &of_all[first..], "from row {}", first);
        }
    }
    Ok(())
}

#[test]
fn a_row_has_the_same_bits_in_every_batch_chunk_layout_and_schedule() {
    let inputs = (cases(), cases(), any::<u64>());
    on_every_device(60, inputs, |device, (case, other, seed)| {
        typed!(case, same_bits(device, &case, &other, seed))
    });
}

fn no_worse<T: Half>(device: &Device, case: &Case) -> Result<(), TestCaseError> {
    let numbers = case.numbers::<T>(0);
    let output = &case.run::<T>(device, std::slice::from_ref(&numbers))?[0];
    let out = output.out.mapv(|bits| T::from_bits(bits).value());
    let Numbers { q, k, v } = &numbers;
    no_worse_than_plain::<T>(q.view(), k.view(), v.view(), f64::from(case.scale()), &out)
        .map_err(TestCaseError::fail)
}

/// Never more than 1.0 times the error of the plain computation, in the sum of squares and at most. Scores are spread
/// as a model's are, by about 1.6.
#[test]
fn it_is_no_worse_than_the_plain_computation_in_half_precision() {
    let heads = (
        1..=2usize,
        prop::sample::select(&[32usize, 64, 96, 128][..]),
    );
    let lengths = prop::sample::select(&[(96usize, 96usize), (40, 130), (130, 130)][..]);
    let inputs = (heads, lengths, any::<bool>(), any::<u64>());
    on_every_device(
        16,
        inputs,
        |device, ((group, head_dim), lengths, bfloat16, data)| {
            let case = Case {
                bfloat16,
                num_heads_kv: 1,
                group,
                head_dim,
                batching: Batching::Full,
                sequences: vec![lengths],
                orders: [Order::Tokens; 4],
                lse: true,
                top: 4.8 * (head_dim as f64).sqrt(),
                data,
            };
            typed!(case, no_worse(device, &case))
        },
    );
}

/// Lengths that lie on the device may be anything: nothing outside is touched, the run ends, and a flag tells it.
#[test]
fn lengths_outside_the_tensors_are_clamped_and_flagged() {
    const HEAD_DIM: usize = 32;
    let number = || prop_oneof![2 => -3..24i32, 1 => any::<i32>()];
    let ascending = || {
        prop::collection::vec(0..=20i32, 4).prop_map(|mut cu_seqlens| {
            cu_seqlens.sort_unstable();
            cu_seqlens
        })
    };
    let cu_seqlens = || prop_oneof![1 => prop::collection::vec(number(), 4), 4 => ascending()];
    let inputs = (
        cu_seqlens(),
        cu_seqlens(),
        prop::collection::vec(number(), 3),
        any::<bool>(),
    );
    let inside = |cu: &[i32]| cu.is_sorted() && cu.iter().all(|x| (0..=20).contains(x));
    on_every_device(60, inputs, |device, (cu_q, cu_kv, seqlens, shortened)| {
        let fit = |(pair, &seqlen): (&[i32], &i32)| (0..=pair[1] - pair[0]).contains(&seqlen);
        let expected = inside(&cu_q)
            && inside(&cu_kv)
            && (!shortened || cu_q.windows(2).zip(&seqlens).all(fit));
        let run = || -> Result<bool, Error> {
            let mut flags = device.zeroed::<u32>(1)?;
            let tokens = device.upload(&vec![f16::from_f32(0.5); 20 * HEAD_DIM])?;
            let guard = 3 * HEAD_DIM;
            let mut o = device.poisoned::<f16>(2 * guard + 20 * HEAD_DIM)?;
            let shape = [1, 20, 1, HEAD_DIM];
            let strides = Tensor::new(tokens.view(), shape)?.strides();
            let (cu_q, cu_kv) = (device.upload(&cu_q)?, device.upload(&cu_kv)?);
            let seqlens = device.upload(&seqlens)?;
            let mut sequences_q = Sequences::ragged(cu_q.view(), 20);
            if shortened {
                sequences_q = sequences_q.with_seqlens(seqlens.view());
            }
            ops::prefill(
                device,
                ops::PrefillParams {
                    q: Tensor::new(tokens.view(), shape)?,
                    k: Tensor::new(tokens.view(), shape)?,
                    v: Tensor::new(tokens.view(), shape)?,
                    o: TensorMut::strided(o.view_mut(), shape, strides, guard)?,
                    lse: None,
                    sequences_q,
                    sequences_kv: Sequences::ragged(cu_kv.view(), 20),
                    softmax_scale: 1.0,
                    flags: Some(flags.view_mut()),
                },
            )?;
            let found = Flags::from_bits(flags.download()?[0]);
            let flagged = if expected {
                Flags::default()
            } else {
                Flags::RANGE
            };
            let o = o.download()?;
            let guards = o[..guard].iter().chain(&o[guard + 20 * HEAD_DIM..]);
            // Every value is 0.5, so what was written is 0.5, or 0 without a key.
            let inside = o[guard..guard + 20 * HEAD_DIM].iter();
            let written = [0xffff, 0, f16::from_f32(0.5).to_bits()];
            Ok(found == flagged
                && guards.into_iter().all(|x| x.to_bits() == 0xffff)
                && inside.into_iter().all(|x| written.contains(&x.to_bits())))
        };
        prop_assert!(run().map_err(fail)?);
        Ok(())
    });
}

/// Bits of o and of lse for one head: q and o `[rows, head_dim]`, k and v `[keys, head_dim]`.
fn one_head<T: Half>(
    device: &Device,
    [q, k, v]: [&[f64]; 3],
    head_dim: usize,
    softmax_scale: f32,
) -> Result<(Vec<u16>, Vec<u32>), Error> {
    let upload = |x: &[f64]| device.upload(&x.iter().map(|&x| T::of(x)).collect::<Vec<_>>());
    let (rows, keys) = (q.len() / head_dim, k.len() / head_dim);
    let (q, k, v) = (upload(q)?, upload(k)?, upload(v)?);
    let mut o = device.poisoned::<T>(rows * head_dim)?;
    let mut lse = device.poisoned::<f32>(rows)?;
    ops::prefill(
        device,
        ops::PrefillParams {
            q: Tensor::new(q.view(), [1, rows, 1, head_dim])?,
            k: Tensor::new(k.view(), [1, keys, 1, head_dim])?,
            v: Tensor::new(v.view(), [1, keys, 1, head_dim])?,
            o: TensorMut::new(o.view_mut(), [1, rows, 1, head_dim])?,
            lse: Some(RowsF32Mut::new(lse.view_mut(), [1, 1, rows])?),
            sequences_q: Sequences::padded(rows),
            sequences_kv: Sequences::padded(keys),
            softmax_scale,
            flags: None,
        },
    )?;
    let o = o.download()?.iter().map(|x| x.bits()).collect();
    Ok((o, lse.download()?.iter().map(|x| x.to_bits()).collect()))
}

fn scores_to_the_limit<T: Half>(device: &Device) {
    for size in [0.0, 1.0, 512.0, 2048.0, 4096.0, LargeScores::LAST_FACTOR] {
        for (factor, keys) in [(size, 1), (size, 60), (-size, 130)] {
            let case = LargeScores::new(factor, keys);
            let (o, lse) = one_head::<T>(device, [&case.q, &case.k, &case.v], 32, 1.0).unwrap();
            let (o, lse): (Vec<_>, _) =
                (o.iter().map(value::<T>).collect(), f32::from_bits(lse[0]));
            assert!(
                case.is_found(T::UNIT, &o, lse),
                "{keys} keys, {factor}: {o:?}, {lse}, not {case:?}"
            );
        }
    }
    for size in [LargeScores::FIRST_TOO_LARGE, 8192.0, 32768.0] {
        for factor in [size, -size] {
            let case = LargeScores::new(factor, 70);
            let (o, lse) = one_head::<T>(device, [&case.q, &case.k, &case.v], 32, 1.0).unwrap();
            assert!(o.iter().all(|x| value::<T>(x).is_nan()), "{factor}: {o:?}");
            assert!(f32::from_bits(lse[0]).is_nan(), "{factor}: {lse:?}");
        }
    }
}

/// Up to 2^24 in the exponent of 2 large scores do no harm; a row with larger ones is NaN, never a wrong number.
#[test]
fn scores_are_right_up_to_their_limit() {
    for device in devices() {
        scores_to_the_limit::<f16>(&device);
        scores_to_the_limit::<bf16>(&device);
        // As large as f16 gets.
        for amplitude in [1e4, 6e4] {
            for seed in 0..8 {
                let x = tensor::<f64>(seed, (1, 1, 128), amplitude);
                let (x, ones) = (x.as_slice().expect("in order"), [1.0; 128]);
                let (o, _) = one_head::<f16>(&device, [x, x, &ones], 128, 0.088).unwrap();
                assert!(o.iter().all(|x| value::<f16>(x).is_nan()), "{o:?}");
            }
        }
    }
}

/// Who sees what is not finite: its own row in q; in k the rows that see the key; in v the rows that see it, in its
/// column, and perhaps others of the same 64 keys.
#[test]
fn what_is_not_finite_stays_where_it_is_seen() {
    const ROWS: usize = 90;
    const DIM: usize = 32;
    const AT: usize = 70;
    let of = |seed| {
        tensor::<f64>(seed, (ROWS, 1, DIM), 2.0)
            .into_raw_vec_and_offset()
            .0
    };
    let clean = [of(1), of(2), of(3)];
    for device in devices() {
        let run =
            |[q, k, v]: &[Vec<f64>; 3]| one_head::<bf16>(&device, [q, k, v], DIM, 0.25).unwrap();
        let broken = |tensor: usize, value: f64| {
            let mut inputs = clean.clone();
            inputs[tensor][AT * DIM] = value;
            run(&inputs)
        };
        let (out, lse) = run(&clean);
        let row = |out: &[u16], i: usize| out[i * DIM..][..DIM].to_vec();
        let all_nan = |(out, lse): &(Vec<u16>, Vec<u32>), i: usize| {
            row(out, i).iter().all(|x| value::<bf16>(x).is_nan()) && f32::from_bits(lse[i]).is_nan()
        };
        let same = |(found, found_lse): &(Vec<u16>, Vec<u32>), i: usize| {
            row(found, i) == row(&out, i) && found_lse[i] == lse[i]
        };

        for bad in [f64::NAN, f64::INFINITY] {
            let found = broken(0, bad);
            for i in 0..ROWS {
                assert!(
                    if i == AT {
                        all_nan(&found, i)
                    } else {
                        same(&found, i)
                    },
                    "{bad} in q: {i}"
                );
            }
        }

        let found = broken(1, f64::NAN);
        for i in 0..ROWS {
            assert!(
                if i < AT {
                    same(&found, i)
                } else {
                    all_nan(&found, i)
                },
                "NaN in k: {i}"
            );
        }
        // A score of +inf is NaN. One of -inf is no key, as one that is far below all others.
        let found = broken(1, f64::INFINITY);
        let mut far_below = clean.clone();
        far_below[1][AT * DIM..][..DIM].fill(0.0);
        far_below[1][AT * DIM] = 1e6;
        let expected = run(&far_below);
        for i in 0..ROWS {
            let right = if i < AT {
                same(&found, i)
            } else if clean[0][i * DIM] > 0.0 {
                all_nan(&found, i)
            } else {
                row(&found.0, i) == row(&expected.0, i) && found.1[i] == expected.1[i]
            };
            assert!(right, "inf in k: {i}");
        }

        for bad in [f64::NAN, f64::INFINITY] {
            let found = broken(2, bad);
            assert_eq!(found.1, lse, "{bad} in v");
            for i in 0..ROWS {
                let (found, before) = (row(&found.0, i), row(&out, i));
                assert_eq!(found[1..], before[1..], "{bad} in v: {i}");
                let first = value::<bf16>(&found[0]);
                assert!(i >= 64 || found[0] == before[0], "{bad} in v: {i}");
                assert!(i < AT || !first.is_finite(), "{bad} in v: {i}");
            }
        }
    }
}

/// Tokens, sequences and heads more than 2^32 elements apart have the bits of those side by side.
#[test]
fn offsets_past_32_bits() {
    const APART: usize = (1 << 32) + 64;
    const SHAPE: [usize; 4] = [2, 3, 2, 32];
    let [batch, tokens, heads, head_dim] = SHAPE;
    let Some(device) = emulated() else {
        return;
    };
    let side_by_side = Shape::new(SHAPE).tokens_outermost();
    let inputs = [1, 2, 3].map(|seed| {
        let numbers = tensor::<f64>(seed, (batch * tokens, heads, head_dim), 2.0);
        numbers.iter().map(|&x| f16::of(x)).collect::<Vec<_>>()
    });
    // A tensor's elements, wherever its strides put them.
    let each = |strides: Strides| {
        let rows = (0..batch).flat_map(move |b| (0..tokens).map(move |token| (b, token)));
        rows.flat_map(move |(b, token)| (0..heads).map(move |head| (b, token, head)))
            .map(move |(b, t, h)| b * strides.batch + t * strides.token + h * strides.head)
    };
    let run = |strides: Strides, lse_strides: (usize, usize)| -> Result<_, Error> {
        let len = each(strides).max().unwrap_or(0) + head_dim;
        let mut memory = [(); 4].map(|()| SparseMemory::<f16>::new(&device, len));
        for (tensor, numbers) in memory.iter_mut().zip(&inputs) {
            for (at, row) in each(strides).zip(numbers.chunks(head_dim)) {
                tensor.elements(at, head_dim).copy_from_slice(row);
            }
        }
        let (of_batch, of_head) = lse_strides;
        let lse_len = (batch - 1) * of_batch + (heads - 1) * of_head + tokens;
        let mut lse = SparseMemory::<f32>::new(&device, lse_len);
        let [q, k, v, o] = &mut memory;
        ops::prefill(
            &device,
            ops::PrefillParams {
                q: Tensor::strided(q.view(), SHAPE, strides, 0)?,
                k: Tensor::strided(k.view(), SHAPE, strides, 0)?,
                v: Tensor::strided(v.view(), SHAPE, strides, 0)?,
                o: TensorMut::strided(o.view_mut(), SHAPE, strides, 0)?,
                lse: Some(RowsF32Mut::strided(
                    lse.view_mut(),
                    [batch, heads, tokens],
                    of_batch,
                    of_head,
                    0,
                )?),
                sequences_q: Sequences::padded(tokens),
                sequences_kv: Sequences::padded(tokens),
                softmax_scale: 0.25,
                flags: None,
            },
        )?;
        let out: Vec<u16> = each(strides)
            .flat_map(|at| {
                o.elements(at, head_dim)
                    .iter()
                    .map(|x| x.bits())
                    .collect::<Vec<_>>()
            })
            .collect();
        let lse: Vec<u32> = (0..batch * heads)
            .map(|i| i / heads * of_batch + i % heads * of_head)
            .flat_map(|at| {
                lse.elements(at, tokens)
                    .iter()
                    .map(|x| x.to_bits())
                    .collect::<Vec<_>>()
            })
            .collect();
        Ok((out, lse))
    };
    let near = run(side_by_side, (heads * tokens, tokens)).expect("it runs");
    assert!(near.0.iter().any(|&bits| bits != 0));
    for strides in [
        Strides {
            batch: tokens * APART,
            token: APART,
            head: 40,
        },
        Strides {
            batch: 2 * APART,
            token: 40,
            head: APART,
        },
    ] {
        let far = run(strides, (2 * APART, APART)).expect("it runs");
        assert_eq!(far, near, "{strides:?}");
    }
}

/// What no device could serve is told by name, with the value and the limit.
#[test]
fn bad_parameters_are_typed_errors() {
    let device = a_device();
    struct Sizes {
        q: [usize; 4],
        kv: [usize; 4],
        o: [usize; 4],
        head_stride: usize,
        softmax_scale: f32,
    }
    let good = || Sizes {
        q: [1, 2, 4, 32],
        kv: [1, 3, 2, 32],
        o: [1, 2, 4, 32],
        head_stride: 40,
        softmax_scale: 1.0,
    };
    let run = |sizes: Sizes| -> Result<(), Error> {
        let memory = device.upload(&vec![f16::ONE; 4096])?;
        let mut o = device.poisoned::<f16>(4096)?;
        let strides = Strides {
            batch: 0,
            token: 8 * sizes.head_stride,
            head: sizes.head_stride,
        };
        let tensor = |shape| Tensor::strided(memory.view(), shape, strides, 0);
        ops::prefill(
            &device,
            ops::PrefillParams {
                q: tensor(sizes.q)?,
                k: tensor(sizes.kv)?,
                v: tensor(sizes.kv)?,
                o: TensorMut::strided(o.view_mut(), sizes.o, strides, 0)?,
                lse: None,
                sequences_q: Sequences::padded(sizes.q[1]),
                sequences_kv: Sequences::padded(sizes.kv[1]),
                softmax_scale: sizes.softmax_scale,
                flags: None,
            },
        )
    };
    assert_eq!(run(good()), Ok(()));
    let refused = |sizes: Sizes, words: &[&str]| {
        let text = run(sizes).expect_err("an error").to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    let with = |change: fn(&mut Sizes)| {
        let mut sizes = good();
        change(&mut sizes);
        sizes
    };
    refused(
        with(|s| s.kv[2] = 3),
        &["num_heads_q (4)", "num_heads_kv (3)"],
    );
    refused(with(|s| s.kv[3] = 16), &["head_dim of k is 16", "32"]);
    refused(
        with(|s| s.o[1] = 1),
        &["o is [1, 1, 4, 32]", "[1, 2, 4, 32]"],
    );
    refused(
        with(|s| (s.q[3], s.kv[3], s.o[3]) = (24, 24, 24)),
        &["head_dim is 24", "32, 64, 96 or 128"],
    );
    refused(with(|s| s.head_stride = 36), &["strides", "multiple of 8"]);
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 3e38] {
        let mut sizes = good();
        sizes.softmax_scale = scale;
        refused(sizes, &["softmax_scale"]);
    }
}
