//! The small kernels of a layer against their formulas in f64.

use half::{bf16, f16};
use ndarray::{ArrayViewMut3, Axis};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windowkv_kernels::{
    Buffer, Device, Element, Error, Flags, InOut, Matrix, MatrixMut, Schedule, Slice, Tensor,
    TensorMut, ops,
};
use windowkv_ref::layer::{self, Rope};
use windowkv_tests::kernels::{
    Half, Lay, Order, SparseMemory, a_device, devices, emulated, fail, on_every_device,
};

/// Half an ulp of float32 at 1.
const UNIT_F32: f64 = 1.0 / (1u64 << 24) as f64;

/// `[rows, columns]` with rows `stride` apart; what lies between is NaN.
#[derive(Debug, Clone)]
struct Rows<T> {
    rows: usize,
    columns: usize,
    stride: usize,
    data: Vec<T>,
}

impl<T: Half> Rows<T> {
    fn new(rows: usize, columns: usize, gap: usize, mut number: impl FnMut() -> f64) -> Self {
        let stride = columns + gap;
        let mut data = vec![T::from_bits(0xffff); rows * stride];
        for row in 0..rows {
            data[row * stride..][..columns].fill_with(|| T::of(number()));
        }
        Self {
            rows,
            columns,
            stride,
            data,
        }
    }

    fn poisoned(rows: usize, columns: usize, gap: usize) -> Self {
        Self {
            data: vec![T::from_bits(0xffff); rows * (columns + gap)],
            ..Self::new(rows, columns, gap, || 0.0)
        }
    }

    fn row(&self, row: usize) -> Vec<f64> {
        let row = &self.data[row * self.stride..][..self.columns];
        row.iter().map(|x| x.value()).collect()
    }

    fn upload(&self, device: &Device) -> Result<Buffer<T>, TestCaseError> {
        device.upload(&self.data).map_err(fail)
    }

    fn view<'a>(&self, buffer: &'a Buffer<T>) -> Result<Matrix<'a, T>, TestCaseError> {
        Matrix::strided(buffer.view(), self.rows, self.columns, self.stride, 0).map_err(fail)
    }

    fn view_mut<'a>(&self, buffer: &'a mut Buffer<T>) -> Result<MatrixMut<'a, T>, TestCaseError> {
        MatrixMut::strided(buffer.view_mut(), self.rows, self.columns, self.stride, 0).map_err(fail)
    }

    /// The same places in the buffer's memory, whose gaps must still be as they were.
    fn download(&self, buffer: &Buffer<T>) -> Result<Self, TestCaseError> {
        let data = buffer.download().map_err(fail)?;
        for (i, (got, before)) in data.iter().zip(&self.data).enumerate() {
            prop_assert!(
                i % self.stride.max(1) < self.columns || got.bits() == before.bits(),
                "element {i} lies outside the matrix and was written"
            );
        }
        Ok(Self {
            data,
            ..self.clone()
        })
    }
}

/// |got - exact| <= the rounding to T, and `relative` of the exact result before it. A NaN fails.
fn close<T: Half>(
    got: f64,
    exact: f64,
    relative: f64,
    absolute: f64,
    what: &str,
) -> Result<(), TestCaseError> {
    let before = relative * exact.abs() + absolute;
    if exact.abs() + before > T::MAX {
        // Beyond the numbers of T a result may be infinite.
        prop_assert!(
            got == f64::INFINITY.copysign(exact) || got.abs() <= T::MAX && got * exact > 0.0
        );
        return Ok(());
    }
    let bound = before + T::UNIT * (exact.abs() + before) + T::TINY;
    prop_assert!(
        (got - exact).abs() <= bound,
        "{what} is {got:e}, not {exact:e} (within {bound:e})"
    );
    Ok(())
}

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Numbers within `amplitude`, of many sizes.
fn numbers(seed: u64, amplitude: f64) -> impl FnMut() -> f64 {
    let mut random = random(seed);
    move || {
        let size = 2.0f64.powi(-random.random_range(0..6));
        (random.random::<f64>() * 2.0 - 1.0) * size * amplitude
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sum {
    NoResidual,
    Dropped,
    Apart,
    InResidual,
}

#[derive(Debug, Clone)]
struct NormCase {
    rows: usize,
    hidden: usize,
    gaps: [usize; 4],
    sum: Sum,
    in_place: bool,
    amplitude: f64,
    eps: f32,
    data: u64,
}

fn norm_cases() -> impl Strategy<Value = NormCase> {
    // A block covers 2,048 columns at a time, and holds 8,192.
    let hidden = prop_oneof![
        4 => (0..200usize).prop_map(|vectors| vectors * 8),
        1 => prop_oneof![Just(2040usize), Just(2048), Just(2056)],
        1 => prop_oneof![Just(8184usize), Just(8192), Just(8200), Just(12000)],
    ];
    let sum = prop_oneof![
        Just(Sum::NoResidual),
        Just(Sum::Dropped),
        Just(Sum::Apart),
        Just(Sum::InResidual)
    ];
    let gaps = [0..3usize, 0..3usize, 0..3usize, 0..3usize];
    let numbers = (
        prop_oneof![Just(1e-3), Just(1.0), Just(100.0)],
        0..3usize,
        any::<u64>(),
    );
    (0..4usize, hidden, gaps, sum, any::<bool>(), numbers).prop_map(
        |(rows, hidden, gaps, sum, in_place, (amplitude, eps, data))| NormCase {
            rows,
            hidden,
            gaps: gaps.map(|gap| gap * 8),
            sum,
            in_place,
            amplitude,
            eps: [0.0, 1e-6, 1e-5][eps],
            data,
        },
    )
}

fn normed<T: Half>(device: &Device, case: &NormCase) -> Result<(), TestCaseError> {
    let (rows, hidden) = (case.rows, case.hidden);
    let x = Rows::<T>::new(
        rows,
        hidden,
        case.gaps[0],
        numbers(case.data, case.amplitude),
    );
    let residual = Rows::<T>::new(
        rows,
        hidden,
        case.gaps[1],
        numbers(case.data ^ 1, case.amplitude),
    );
    let weight = Rows::<T>::new(1, hidden, 0, numbers(case.data ^ 2, 2.0));
    let out = Rows::<T>::poisoned(rows, hidden, case.gaps[2]);
    let sum = Rows::<T>::poisoned(rows, hidden, case.gaps[3]);
    let (mut x_memory, mut residual_memory) = (x.upload(device)?, residual.upload(device)?);
    let (mut out_memory, mut sum_memory) = (out.upload(device)?, sum.upload(device)?);
    let weight_memory = weight.upload(device)?;
    let params = ops::RmsNormParams {
        x: if case.in_place {
            InOut::InPlace(x.view_mut(&mut x_memory)?)
        } else {
            InOut::Apart(x.view(&x_memory)?, out.view_mut(&mut out_memory)?)
        },
        residual: match case.sum {
            Sum::NoResidual => None,
            Sum::Dropped => Some(ops::Residual::Add(residual.view(&residual_memory)?)),
            Sum::Apart => Some(ops::Residual::AddAndStore(InOut::Apart(
                residual.view(&residual_memory)?,
                sum.view_mut(&mut sum_memory)?,
            ))),
            Sum::InResidual => Some(ops::Residual::AddAndStore(InOut::InPlace(
                residual.view_mut(&mut residual_memory)?,
            ))),
        },
        weight: weight_memory.view(),
        eps: case.eps,
    };
    ops::rms_norm(device, params).map_err(fail)?;

    let got = if case.in_place {
        x.download(&x_memory)?
    } else {
        out.download(&out_memory)?
    };
    let stored = match case.sum {
        Sum::Apart => Some(sum.download(&sum_memory)?),
        Sum::InResidual => Some(residual.download(&residual_memory)?),
        _ => None,
    };
    // A thread adds 8 squares for each 2,048 columns, then come 5 shuffles and 8 warps; the root halves their
    // relative error. Then mean, eps, root, reciprocal and two products.
    let sums = (hidden.div_ceil(2048) * 8 + 5 + 8) as f64;
    let relative = (sums / 2.0 + 6.0) * UNIT_F32;
    for row in 0..rows {
        let (x, residual, weight) = (x.row(row), residual.row(row), weight.row(0));
        let y: Vec<f64> = x
            .iter()
            .zip(&residual)
            .map(|(&x, &residual)| match case.sum {
                Sum::NoResidual => x,
                // In float32, then rounded.
                _ => T::of(f64::from(x as f32 + residual as f32)).value(),
            })
            .collect();
        if let Some(stored) = &stored {
            prop_assert_eq!(stored.row(row), y.clone());
            for ((&y, &x), &residual) in y.iter().zip(&x).zip(&residual) {
                close::<T>(y, x + residual, UNIT_F32, 0.0, "the sum")?;
            }
        }
        let mean = y.iter().map(|y| y * y).sum::<f64>() / hidden.max(1) as f64;
        let factor = (mean + f64::from(case.eps)).sqrt().recip();
        for (i, ((got, y), weight)) in got.row(row).iter().zip(&y).zip(&weight).enumerate() {
            let exact = if *y == 0.0 && factor.is_infinite() {
                f64::NAN
            } else {
                y * factor * weight
            };
            if exact.is_nan() {
                prop_assert!(got.is_nan(), "0 / 0 is {}", got);
                continue;
            }
            close::<T>(
                *got,
                exact,
                relative,
                0.0,
                &format!("row {row}, column {i}"),
            )?;
        }
    }
    Ok(())
}

#[test]
fn rms_norm_of_random_rows() {
    on_every_device(
        200,
        (norm_cases(), any::<bool>()),
        |device, (case, bfloat16)| {
            if bfloat16 {
                normed::<bf16>(device, &case)
            } else {
                normed::<f16>(device, &case)
            }
        },
    );
}

/// The norm computed with each step rounded to half precision, as plain code would.
fn plain_norm<T: Half>(y: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let round = |x: f64| T::of(x).value();
    let mean = round(y.iter().map(|y| y * y).sum::<f64>() / y.len() as f64);
    let factor = round(1.0 / round(mean + eps).sqrt());
    y.iter()
        .zip(weight)
        .map(|(y, weight)| round(round(y * factor) * weight))
        .collect()
}

fn never_worse<T: Half>(device: &Device) {
    let (hidden, eps) = (4096, 1e-5);
    let x = Rows::<T>::new(1, hidden, 0, numbers(7, 3.0));
    let weight = Rows::<T>::new(1, hidden, 0, numbers(8, 2.0));
    let out = Rows::<T>::poisoned(1, hidden, 0);
    let (x_memory, weight_memory) = (x.upload(device).unwrap(), weight.upload(device).unwrap());
    let mut out_memory = out.upload(device).unwrap();
    let params = ops::RmsNormParams {
        x: InOut::Apart(
            x.view(&x_memory).unwrap(),
            out.view_mut(&mut out_memory).unwrap(),
        ),
        residual: None,
        weight: weight_memory.view(),
        eps: eps as f32,
    };
    ops::rms_norm(device, params).unwrap();
    let (x, weight) = (x.row(0), weight.row(0));
    let mean = x.iter().map(|x| x * x).sum::<f64>() / hidden as f64;
    let exact: Vec<f64> = x
        .iter()
        .zip(&weight)
        .map(|(x, weight)| x / (mean + eps).sqrt() * weight)
        .collect();
    let squares = |got: &[f64]| -> f64 {
        got.iter()
            .zip(&exact)
            .map(|(got, exact)| (got - exact).powi(2))
            .sum()
    };
    let ours = squares(&out.download(&out_memory).unwrap().row(0));
    let plain = squares(&plain_norm::<T>(&x, &weight, eps));
    assert!(
        ours <= plain,
        "{ours:e} against {plain:e} of plain half precision"
    );
}

#[test]
fn rms_norm_is_never_worse_than_half_precision() {
    for device in devices() {
        never_worse::<f16>(&device);
        never_worse::<bf16>(&device);
    }
}

#[derive(Debug, Clone)]
struct RopeCase {
    tokens: usize,
    heads: [usize; 2],
    head_dim: usize,
    orders: [Order; 2],
    theta: f64,
    scaling: Option<ops::Llama3Scaling>,
    far: bool,
    data: u64,
}

fn rope_cases() -> impl Strategy<Value = RopeCase> {
    let scaling = prop_oneof![
        Just(None),
        Just(Some(ops::Llama3Scaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192.0,
        }))
    ];
    let theta = prop_oneof![Just(1e4), Just(5e5), Just(1e6), Just(1.0)];
    let head_dim = prop_oneof![Just(32usize), Just(64), Just(96), Just(128)];
    let orders = [Order::any(), Order::any()];
    // A block has 4 tokens.
    let shape = (0..14usize, [1..6usize, 0..4usize], head_dim, orders);
    (shape, theta, scaling, any::<bool>(), any::<u64>()).prop_map(
        |((tokens, heads, head_dim, orders), theta, scaling, far, data)| RopeCase {
            tokens,
            heads,
            head_dim,
            orders,
            theta,
            scaling,
            far,
            data,
        },
    )
}

fn rotated<T: Half>(device: &Device, case: &RopeCase) -> Result<(), TestCaseError> {
    let mut random = random(case.data);
    let most = if case.far { i32::MAX } else { 20000 };
    let positions: Vec<i32> = (0..case.tokens)
        .map(|_| match random.random_range(0..8) {
            0 => -random.random_range(1..9),
            1 => most - random.random_range(0..3),
            _ => random.random_range(0..most),
        })
        .collect();
    let turns = ops::rope_turns(case.head_dim, case.theta, case.scaling).map_err(fail)?;
    let scaling = case.scaling.map(|scaling| layer::Llama3Scaling {
        factor: scaling.factor,
        low_freq_factor: scaling.low_freq_factor,
        high_freq_factor: scaling.high_freq_factor,
        original_max_position_embeddings: scaling.original_max_position_embeddings,
    });
    let rope = Rope::new(case.head_dim, case.theta, scaling).expect("a rope");

    let lays = [0, 1].map(|i| {
        Lay::new(
            [1, case.tokens, case.heads[i], case.head_dim],
            case.orders[i],
        )
    });
    let before = lays.map(|lay| {
        let mut data = vec![T::from_bits(0xffff); lay.len];
        for t in 0..lay.shape.tokens {
            for h in 0..lay.shape.heads {
                let at = lay.at(0, t, h);
                data[at..at + case.head_dim]
                    .fill_with(|| T::of(random.random::<f64>() * 8.0 - 4.0));
            }
        }
        data
    });
    let mut memory = Vec::new();
    for data in &before {
        memory.push(device.upload(data).map_err(fail)?);
    }
    let turns_memory = device.upload(&turns).map_err(fail)?;
    let positions_memory = device.upload(&positions).map_err(fail)?;
    let [q_memory, k_memory] = &mut memory[..] else {
        unreachable!()
    };
    let view = |memory, lay: &Lay| {
        let shape = [1, lay.shape.tokens, lay.shape.heads, lay.shape.head_dim];
        TensorMut::strided(memory, shape, lay.strides, lay.offset).map_err(fail)
    };
    let k = if case.heads[1] > 0 {
        Some(view(k_memory.view_mut(), &lays[1])?)
    } else {
        None
    };
    let params = ops::RopeParams {
        q: view(q_memory.view_mut(), &lays[0])?,
        k,
        positions: positions_memory.view(),
        turns: turns_memory.view(),
    };
    ops::rope(device, params).map_err(fail)?;

    let seen: Vec<usize> = positions.iter().map(|&p| p.max(0) as usize).collect();
    let (cosines, sines) = rope.tables::<f64>(&seen);
    let half = case.head_dim / 2;
    for ((lay, before), memory) in lays.iter().zip(&before).zip(&memory) {
        let after = memory.download().map_err(fail)?;
        let mut touched = vec![false; lay.len];
        for t in (0..lay.shape.tokens).filter(|&t| positions[t] >= 0) {
            for h in 0..lay.shape.heads {
                let at = lay.at(0, t, h);
                touched[at..at + case.head_dim].fill(true);
                let number = |i: usize| before[at + i].value();
                let mut exact: Vec<f64> = (0..case.head_dim).map(number).collect();
                let view =
                    ArrayViewMut3::from_shape((1, 1, case.head_dim), &mut exact).expect("a row");
                let row =
                    |table: &ndarray::Array2<f64>| table.row(t).to_owned().insert_axis(Axis(0));
                layer::apply_rope(view, row(&cosines).view(), row(&sines).view()).expect("shapes");
                for (i, exact) in exact.iter().enumerate() {
                    let size = number(i % half).abs() + number(i % half + half).abs();
                    // Sine and cosine are right to 1.34 ulp, of 2^-23 at most; two products and a sum.
                    let arithmetic = (2.7 + 2.0) * UNIT_F32 * size;
                    // The oracle's frequency is rounded to f64, an error that grows with the position.
                    let angle =
                        seen[t] as f64 * case.theta.powf(-((i % half) as f64) / half as f64);
                    let oracle = if i % half == 0 {
                        0.0
                    } else {
                        angle * f64::EPSILON * 2.0 * size
                    };
                    let what = format!("token {t} at {}, head {h}, dimension {i}", positions[t]);
                    close::<T>(
                        after[at + i].value(),
                        *exact,
                        0.0,
                        arithmetic + oracle,
                        &what,
                    )?;
                }
            }
        }
        for (i, touched) in touched.iter().enumerate() {
            prop_assert!(
                *touched || after[i].bits() == before[i].bits(),
                "element {i} was written"
            );
        }
    }
    Ok(())
}

#[test]
fn rope_of_random_tokens() {
    on_every_device(
        200,
        (rope_cases(), any::<bool>()),
        |device, (case, bfloat16)| {
            if bfloat16 {
                rotated::<bf16>(device, &case)
            } else {
                rotated::<f16>(device, &case)
            }
        },
    );
}

#[test]
fn turns_are_exact_fractions() {
    // Pair 0 turns by 1 radian: 2^64 / (2 pi) = 2935890503282001226.1...
    let turns = ops::rope_turns(128, 1e4, None).unwrap();
    assert_eq!(turns.len(), 64);
    assert!(
        turns[0].abs_diff(2_935_890_503_282_001_226) <= 1,
        "{}",
        turns[0]
    );
    for (pair, &turns) in turns.iter().enumerate() {
        let exact = 1e4f64.powf(-(pair as f64) / 64.0) / std::f64::consts::TAU;
        let got = turns as f64 / 2.0f64.powi(64);
        assert!(
            (got - exact).abs() <= 4.0 * f64::EPSILON * exact + 2.0f64.powi(-64),
            "pair {pair}"
        );
    }
    let named = |result: Result<Vec<u64>, Error>, word: &str| {
        let error = result.expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
    };
    named(ops::rope_turns(7, 1e4, None), "head_dim is 7");
    named(ops::rope_turns(0, 1e4, None), "head_dim is 0");
    named(ops::rope_turns(64, f64::NAN, None), "theta is nan");
    named(ops::rope_turns(64, -1.0, None), "theta is -1");
    let scaling = ops::Llama3Scaling {
        factor: 8.0,
        low_freq_factor: 4.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192.0,
    };
    named(
        ops::rope_turns(64, 1e4, Some(scaling)),
        "low_freq_factor is 4",
    );
    let scaling = ops::Llama3Scaling {
        factor: 0.0,
        high_freq_factor: 5.0,
        ..scaling
    };
    named(ops::rope_turns(64, 1e4, Some(scaling)), "factor is 0");
}

fn multiplied<T: Half>(
    device: &Device,
    (rows, columns): (usize, usize),
    gaps: [usize; 3],
    in_place: bool,
    data: u64,
) -> Result<(), TestCaseError> {
    let mut random = random(data);
    let mut any = move || {
        let special = [
            0.0,
            -0.0,
            0.5,
            -88.0,
            -90.0,
            100.0,
            -1e4,
            1e4,
            T::MAX,
            -T::MAX,
        ];
        match random.random_range(0..12) {
            index @ 0..10 => special[index],
            _ => random.random::<f64>() * 20.0 - 10.0,
        }
    };
    let gate = Rows::<T>::new(rows, columns, gaps[0], &mut any);
    let up = Rows::<T>::new(rows, columns, gaps[1], &mut any);
    let out = Rows::<T>::poisoned(rows, columns, gaps[2]);
    let (mut gate_memory, up_memory) = (gate.upload(device)?, up.upload(device)?);
    let mut out_memory = out.upload(device)?;
    let params = ops::SiluMulParams {
        gate: if in_place {
            InOut::InPlace(gate.view_mut(&mut gate_memory)?)
        } else {
            InOut::Apart(gate.view(&gate_memory)?, out.view_mut(&mut out_memory)?)
        },
        up: up.view(&up_memory)?,
    };
    ops::silu_mul(device, params).map_err(fail)?;
    let got = if in_place {
        gate.download(&gate_memory)?
    } else {
        out.download(&out_memory)?
    };
    for row in 0..rows {
        for ((got, gate), up) in got.row(row).into_iter().zip(gate.row(row)).zip(up.row(row)) {
            let exact = gate / (1.0 + (-gate).exp()) * up;
            // The exponent -|gate| log2(e) is off by 1.5 units a unit of it, its power of two by 4; sum, quotient
            // and two products. A power below 2^-126 is taken for 0.
            let relative = (2.0 * gate.abs().min(100.0) + 10.0) * UNIT_F32;
            let underflow = 128.0 * f64::from(f32::MIN_POSITIVE) * up.abs();
            close::<T>(
                got,
                exact,
                relative,
                underflow,
                &format!("silu({gate}) * {up}"),
            )?;
        }
    }
    Ok(())
}

#[test]
fn silu_mul_of_random_rows() {
    // A block covers 4,096 columns.
    let columns = prop_oneof![
        4 => (0..64usize).prop_map(|vectors| vectors * 8),
        1 => prop_oneof![Just(4088usize), Just(4096), Just(4104), Just(2048)],
    ];
    let gaps = [0..3usize, 0..3usize, 0..3usize];
    let inputs = (0..5usize, columns, gaps, any::<[bool; 2]>(), any::<u64>());
    on_every_device(200, inputs, |device, (rows, columns, gaps, flags, data)| {
        let (shape, gaps) = ((rows, columns), gaps.map(|gap| gap * 8));
        if flags[0] {
            multiplied::<bf16>(device, shape, gaps, flags[1], data)
        } else {
            multiplied::<f16>(device, shape, gaps, flags[1], data)
        }
    });
}

#[test]
fn embedding_copies_rows() {
    let columns = prop_oneof![4 => (0..40usize).prop_map(|v| v * 8), 1 => Just(4104usize)];
    let inputs = (
        0..6usize,
        0..9usize,
        columns,
        [0..3usize, 0..3usize],
        any::<u64>(),
    );
    on_every_device(200, inputs, |device, (rows, vocab, hidden, gaps, data)| {
        let mut random = random(data);
        let table = Rows::<bf16>::new(vocab, hidden, gaps[0] * 8, numbers(data, 5.0));
        let out = Rows::<bf16>::poisoned(rows, hidden, gaps[1] * 8);
        let bad = [-1, vocab as i32, i32::MIN, i32::MAX];
        let ids: Vec<i32> = (0..rows)
            .map(|_| match random.random_range(0..8) {
                index @ 0..4 if vocab == 0 || data.is_multiple_of(2) => bad[index],
                _ if vocab == 0 => 0,
                _ => random.random_range(0..vocab as i32),
            })
            .collect();
        let (table_memory, ids_memory) =
            (table.upload(device)?, device.upload(&ids).map_err(fail)?);
        let mut out_memory = out.upload(device)?;
        let mut flags = device.zeroed::<u32>(1).map_err(fail)?;
        let params = ops::EmbeddingParams {
            table: table.view(&table_memory)?,
            ids: ids_memory.view(),
            out: out.view_mut(&mut out_memory)?,
            flags: Some(flags.view_mut()),
        };
        ops::embedding(device, params).map_err(fail)?;
        let got = out.download(&out_memory)?;
        let inside = |id: i32| (0..vocab as i32).contains(&id);
        for (row, &id) in ids.iter().enumerate() {
            let expected = if inside(id) {
                table.row(id as usize)
            } else {
                vec![0.0; hidden]
            };
            prop_assert_eq!(got.row(row), expected);
        }
        let wrong = hidden > 0 && ids.iter().any(|&id| !inside(id));
        let expected = if wrong {
            Flags::RANGE
        } else {
            Flags::default()
        };
        prop_assert_eq!(
            Flags::from_bits(flags.download().map_err(fail)?[0]),
            expected
        );
        Ok(())
    });
}

fn refused(result: Result<(), Error>, word: &str) {
    let error = result.expect_err(word).to_string();
    assert!(error.contains(word), "{error} lacks {word:?}");
}

fn memory<T: Element>(device: &Device, len: usize) -> Buffer<T> {
    device.zeroed(len).expect("memory")
}

#[test]
fn wrong_parameters_are_named() {
    let device = a_device();
    let (a, weight) = (memory::<f16>(&device, 256), memory::<f16>(&device, 12));
    let mut b = memory::<f16>(&device, 256);
    fn norm<'a>(
        x: InOut<'a, f16>,
        weight: Slice<'a, f16>,
        eps: f32,
    ) -> ops::RmsNormParams<'a, f16> {
        ops::RmsNormParams {
            x,
            residual: None,
            weight,
            eps,
        }
    }
    let apart = InOut::Apart(
        Matrix::strided(a.view(), 4, 12, 16, 0).expect("rows"),
        MatrixMut::strided(b.view_mut(), 4, 12, 16, 0).expect("rows"),
    );
    refused(
        ops::rms_norm(&device, norm(apart, weight.view(), 0.0)),
        "hidden is 12",
    );
    let in_place = InOut::InPlace(MatrixMut::new(b.view_mut(), 4, 16).expect("rows"));
    refused(
        ops::rms_norm(
            &device,
            norm(in_place, a.view().range(0..16).unwrap(), -1.0),
        ),
        "eps is -1",
    );
    let in_place = InOut::InPlace(MatrixMut::new(b.view_mut(), 4, 16).expect("rows"));
    refused(
        ops::rms_norm(&device, norm(in_place, weight.view(), 0.0)),
        "weight is 12, expected 16",
    );
    let odd = InOut::InPlace(MatrixMut::strided(b.view_mut(), 4, 8, 12, 0).expect("rows"));
    let up = Matrix::new(a.view(), 4, 8).expect("rows");
    refused(
        ops::silu_mul(&device, ops::SiluMulParams { gate: odd, up }),
        "gate_stride is 12",
    );
    let shifted = InOut::InPlace(MatrixMut::strided(b.view_mut(), 4, 8, 8, 1).expect("rows"));
    refused(
        ops::silu_mul(&device, ops::SiluMulParams { gate: shifted, up }),
        "gate is not aligned to 16 bytes",
    );
    let (positions, turns) = (memory::<i32>(&device, 2), memory::<u64>(&device, 20));
    fn rope<'a>(
        q: TensorMut<'a, f16>,
        positions: &'a Buffer<i32>,
        turns: &'a Buffer<u64>,
    ) -> ops::RopeParams<'a, f16> {
        ops::RopeParams {
            q,
            k: None,
            positions: positions.view(),
            turns: turns.view(),
        }
    }
    let q = TensorMut::new(b.view_mut(), [1, 2, 1, 40]).expect("a tensor");
    refused(
        ops::rope(&device, rope(q, &positions, &turns)),
        "head_dim is 40",
    );
    let q = TensorMut::new(b.view_mut(), [1, 3, 1, 40]).expect("a tensor");
    refused(
        ops::rope(&device, rope(q, &positions, &turns)),
        "positions is 2, expected 3",
    );
    let q = TensorMut::new(b.view_mut(), [2, 1, 1, 40]).expect("a tensor");
    refused(
        ops::rope(&device, rope(q, &positions, &turns)),
        "batch of q is 2",
    );
    assert!(Tensor::new(a.view(), [1, 2, 1, 40]).is_ok());
    let mut tokens = memory::<i32>(&device, 2);
    let sample = ops::SampleParams {
        logits: Matrix::new(a.view(), 2, 0).expect("rows"),
        sampling: None,
        tokens: tokens.view_mut(),
        flags: None,
    };
    refused(ops::sample(&device, sample), "vocab is 0");
}

#[test]
fn offsets_past_32_bits() {
    const APART: usize = 1 << 30;
    let (rows, columns) = (6, 16);
    let Some(device) = emulated() else {
        return;
    };
    let len = (rows - 1) * APART + columns;
    let [mut table, mut out] = [(); 2].map(|()| SparseMemory::<bf16>::new(&device, len));
    for row in 0..rows {
        table
            .elements(row * APART, columns)
            .fill(bf16::from_f32(row as f32 + 1.0));
    }
    let ids = device.upload(&[5, 3, 0, 4, 1, 2]).expect("memory");
    let params = ops::EmbeddingParams {
        table: Matrix::strided(table.view(), rows, columns, APART, 0).expect("rows"),
        ids: ids.view(),
        out: MatrixMut::strided(out.view_mut(), rows, columns, APART, 0).expect("rows"),
        flags: None,
    };
    ops::embedding(&device, params).expect("an embedding");
    for (row, id) in [5, 3, 0, 4, 1, 2].into_iter().enumerate() {
        let number = bf16::from_f32(id as f32 + 1.0);
        assert!(
            out.elements(row * APART, columns)
                .iter()
                .all(|&x| x == number)
        );
    }
    // Each row is its own mean; a weight of 1 leaves signs.
    let weight = device.upload(&vec![bf16::ONE; columns]).expect("memory");
    let params = ops::RmsNormParams {
        x: InOut::InPlace(
            MatrixMut::strided(out.view_mut(), rows, columns, APART, 0).expect("rows"),
        ),
        residual: None,
        weight: weight.view(),
        eps: 0.0,
    };
    ops::rms_norm(&device, params).expect("a norm");
    for row in 0..rows {
        assert!(
            out.elements(row * APART, columns)
                .iter()
                .all(|&x| x == bf16::ONE)
        );
    }
    // The largest logit of row r is at r.
    for row in 0..rows {
        table.elements(row * APART, columns)[row] = bf16::from_f32(100.0);
    }
    let mut tokens = device.poisoned::<i32>(rows).expect("memory");
    let params = ops::SampleParams {
        logits: Matrix::strided(table.view(), rows, columns, APART, 0).expect("rows"),
        sampling: None,
        tokens: tokens.view_mut(),
        flags: None,
    };
    ops::sample(&device, params).expect("tokens");
    assert_eq!(tokens.download().expect("a copy"), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn bits_do_not_depend_on_the_schedule() {
    for device in devices() {
        let (rows, hidden) = (3, 2600);
        let x = Rows::<f16>::new(rows, hidden, 0, numbers(1, 2.0));
        let weight = Rows::<f16>::new(1, hidden, 0, numbers(2, 2.0));
        let weight = weight.upload(&device).unwrap();
        let run = |x: &Rows<f16>, seed| -> Vec<u16> {
            let mut memory = x.upload(&device).unwrap();
            device.set_schedule(Schedule {
                seed,
                workers: 1 + seed as u32 % 2,
            });
            let params = ops::RmsNormParams {
                x: InOut::InPlace(x.view_mut(&mut memory).unwrap()),
                residual: None,
                weight: weight.view(),
                eps: 1e-5,
            };
            ops::rms_norm(&device, params).unwrap();
            let bits = memory.download().unwrap();
            bits.into_iter().map(|x| x.bits()).collect()
        };
        let together = run(&x, 0);
        assert!((1..8).all(|seed| run(&x, seed) == together));
        // A row alone gives what it gave among others.
        for row in 0..rows {
            let data = x.data[row * hidden..][..hidden].to_vec();
            let alone = Rows {
                rows: 1,
                data,
                ..x.clone()
            };
            assert_eq!(run(&alone, 3), together[row * hidden..][..hidden]);
        }
    }
}
