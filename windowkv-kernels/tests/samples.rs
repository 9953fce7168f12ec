//! The sample kernels against f64, over random shapes, strides, types and schedules, on every device, or the one that
//! `WINDOWKV_DEVICE` names.

mod devices;

use std::sync::atomic::{AtomicU64, Ordering};

use half::{bf16, f16};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use windowkv_kernels::{Device, Error, HalfPrecision, Matrix, MatrixMut, Schedule, ops};

/// Numbers of about unit size from a seed.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn fail(error: Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

/// A half-precision type with its conversions and the half-ulp of its numbers.
trait Half: HalfPrecision {
    const UNIT: f64;
    fn of(value: f32) -> Self;
    fn value(self) -> f64;
}
impl Half for f16 {
    const UNIT: f64 = 1.0 / 2048.0;
    fn of(value: f32) -> Self {
        f16::from_f32(value)
    }
    fn value(self) -> f64 {
        self.to_f64()
    }
}
impl Half for bf16 {
    const UNIT: f64 = 1.0 / 256.0;
    fn of(value: f32) -> Self {
        bf16::from_f32(value)
    }
    fn value(self) -> f64 {
        self.to_f64()
    }
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
    /// Elements between the rows of a, b and c, beyond the shortest allowed.
    padding: [usize; 3],
    data: u64,
}

fn shapes(max: usize, max_k: usize) -> impl Strategy<Value = Shape> {
    (
        0..=max,
        0..=max,
        1..=max_k / 8,
        [0..3usize, 0..3usize, 0..3usize],
        any::<u64>(),
    )
        .prop_map(|(m, n, k, padding, data)| Shape {
            m,
            n,
            k: k * 8,
            padding: padding.map(|p| p * 8),
            data,
        })
}

/// a [m, k] and b [n, k] in half precision with the rows apart; what lies between is NaN.
fn operands<T: Half>(shape: Shape) -> [(Vec<T>, usize); 2] {
    [(shape.m, 0), (shape.n, 1)].map(|(rows, which)| {
        let stride = shape.k + shape.padding[which];
        let values = numbers(shape.data ^ which as u64, rows * shape.k);
        let mut padded = vec![T::of(f32::NAN); rows * stride];
        for row in 0..rows {
            for column in 0..shape.k {
                padded[row * stride + column] = T::of(values[row * shape.k + column]);
            }
        }
        (padded, stride)
    })
}

/// Compares c with the product in f64; `unit` is the half-ulp of c, f32 sums lose 2^-24 a term. What lies
/// between the rows of c must still hold the bits that it had.
fn compare<T: Half>(
    shape: Shape,
    [(a, a_stride), (b, b_stride)]: [(&[T], usize); 2],
    (c, c_stride): (&[f64], usize),
    unit: f64,
) -> Result<(), TestCaseError> {
    for i in 0..shape.m {
        for j in 0..c_stride {
            let Some(&got) = c.get(i * c_stride + j) else {
                continue;
            };
            if j >= shape.n {
                prop_assert!(got.is_nan(), "({i}, {j}) lies outside and was written");
                continue;
            }
            let (mut sum, mut size) = (0.0, 0.0);
            for k in 0..shape.k {
                let term = a[i * a_stride + k].value() * b[j * b_stride + k].value();
                sum += term;
                size += term.abs();
            }
            let bound = unit * f64::abs(sum) + shape.k as f64 * 2.0_f64.powi(-24) * size + 1e-30;
            // A NaN fails.
            prop_assert!(
                (got - sum).abs() <= bound,
                "c({i}, {j}) of {shape:?} is {got}, not {sum} (within {bound:e})"
            );
        }
    }
    Ok(())
}

fn mma<T: Half>(device: &Device, shape: Shape) -> Result<(), TestCaseError> {
    let [(a, a_stride), (b, b_stride)] = operands::<T>(shape);
    let c_stride = shape.n.next_multiple_of(8) + shape.padding[2];
    let a_buffer = device.upload(&a).map_err(fail)?;
    let b_buffer = device.upload(&b).map_err(fail)?;
    let mut c_buffer = device.poisoned(shape.m * c_stride).map_err(fail)?;
    let mut c =
        MatrixMut::strided(c_buffer.view_mut(), shape.m, shape.n, c_stride, 0).map_err(fail)?;
    ops::mma_product::<T>(
        device,
        &Matrix::strided(a_buffer.view(), shape.m, shape.k, a_stride, 0).map_err(fail)?,
        &Matrix::strided(b_buffer.view(), shape.n, shape.k, b_stride, 0).map_err(fail)?,
        &mut c,
    )
    .map_err(fail)?;
    let got: Vec<f64> = c_buffer
        .download()
        .map_err(fail)?
        .into_iter()
        .map(f64::from)
        .collect();
    compare(
        shape,
        [(&a, a_stride), (&b, b_stride)],
        (&got, c_stride),
        0.0,
    )
}

fn wgmma<T: Half>(device: &Device, shape: Shape) -> Result<(), TestCaseError> {
    let [(a, a_stride), (b, b_stride)] = operands::<T>(shape);
    let c_stride = shape.n.next_multiple_of(8) + shape.padding[2];
    let a_buffer = device.upload(&a).map_err(fail)?;
    let b_buffer = device.upload(&b).map_err(fail)?;
    let mut c_buffer = device.poisoned(shape.m * c_stride).map_err(fail)?;
    let mut c =
        MatrixMut::strided(c_buffer.view_mut(), shape.m, shape.n, c_stride, 0).map_err(fail)?;
    ops::wgmma_product::<T>(
        device,
        &Matrix::strided(a_buffer.view(), shape.m, shape.k, a_stride, 0).map_err(fail)?,
        &Matrix::strided(b_buffer.view(), shape.n, shape.k, b_stride, 0).map_err(fail)?,
        &mut c,
    )
    .map_err(fail)?;
    let got: Vec<f64> = c_buffer
        .download()
        .map_err(fail)?
        .into_iter()
        .map(T::value)
        .collect();
    compare(
        shape,
        [(&a, a_stride), (&b, b_stride)],
        (&got, c_stride),
        T::UNIT,
    )
}

fn row_sum(
    device: &Device,
    rows: usize,
    columns: usize,
    padding: usize,
    data: u64,
) -> Result<Vec<f32>, TestCaseError> {
    let stride = columns + padding;
    let values = numbers(data, rows * stride);
    let input = device.upload(&values).map_err(fail)?;
    let mut output = device.poisoned(rows).map_err(fail)?;
    let view = Matrix::strided(input.view(), rows, columns, stride, 0).map_err(fail)?;
    ops::row_sum(device, &view, output.view_mut()).map_err(fail)?;
    let got = output.download().map_err(fail)?;
    for (r, got) in got.iter().enumerate() {
        let row = &values[r * stride..][..columns];
        let sum: f64 = row.iter().map(|&v| f64::from(v)).sum();
        let size: f64 = row.iter().map(|&v| f64::from(v.abs())).sum();
        // A thread adds columns / 256 numbers, then 5 + 5 steps of shuffles.
        let steps = (columns / 256 + 12) as f64;
        prop_assert!(
            (f64::from(*got) - sum).abs() <= steps * 2.0_f64.powi(-24) * size,
            "row {r} of {rows} x {columns} sums to {got}, not {sum}"
        );
    }
    Ok(got)
}

/// Runs `body` for `cases` random inputs and schedules on every device of the capability.
fn check<S: Strategy>(
    cases: u32,
    capability: u32,
    strategy: S,
    body: impl Fn(&Device, S::Value) -> Result<(), TestCaseError>,
) where
    S::Value: Clone,
{
    let schedules = AtomicU64::new(0);
    let strategy = (strategy, any::<u64>());
    for device in devices::devices() {
        if device.capability() < capability {
            continue;
        }
        let config = ProptestConfig {
            cases,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        TestRunner::new(config)
            .run(&strategy, |(input, seed)| {
                schedules.fetch_add(1, Ordering::Relaxed);
                device.set_schedule(Schedule { seed, workers: 0 });
                body(&device, input)
            })
            .unwrap_or_else(|error| panic!("on {device:?}: {error}"));
    }
    if schedules.into_inner() < u64::from(cases) {
        // The emulated GPU can do all: only a named GPU can be too old.
        assert!(devices::only().is_some(), "too few cases ran");
        eprintln!("skipped, the device is older than sm_{capability}");
    }
}

#[test]
fn row_sums_of_random_shapes() {
    let strategy = (0..5usize, 0..1500usize, 0..3usize, any::<u64>());
    check(
        1000,
        80,
        strategy,
        |device, (rows, columns, padding, data)| {
            row_sum(device, rows, columns, padding, data).map(drop)
        },
    );
}

#[test]
fn mma_products_of_random_shapes() {
    check(
        1000,
        80,
        (shapes(150, 160), any::<bool>()),
        |device, (shape, bfloat16)| {
            if bfloat16 {
                mma::<bf16>(device, shape)
            } else {
                mma::<f16>(device, shape)
            }
        },
    );
}

#[test]
fn wgmma_products_of_random_shapes() {
    check(
        1000,
        90,
        (shapes(150, 320), any::<bool>()),
        |device, (shape, bfloat16)| {
            if bfloat16 {
                wgmma::<bf16>(device, shape)
            } else {
                wgmma::<f16>(device, shape)
            }
        },
    );
}

#[test]
fn bits_do_not_depend_on_the_schedule() {
    for device in devices::devices() {
        let sums: Vec<Vec<u32>> = (0..200)
            .map(|seed| {
                device.set_schedule(Schedule { seed, workers: 0 });
                let sums = row_sum(&device, 3, 1000, 0, 5).expect("the sums are right");
                sums.into_iter().map(f32::to_bits).collect()
            })
            .collect();
        assert!(sums.iter().all(|other| *other == sums[0]));
    }
}

#[test]
fn wrong_parameters_are_named() {
    let device = Device::emulated();
    let a = device.upload(&[f16::ONE; 64]).expect("memory");
    let mut c = device.poisoned::<f32>(64).expect("memory");
    let refused = |result: Result<(), Error>, word: &str| {
        let error = result.expect_err(word);
        assert!(error.to_string().contains(word), "{error}");
    };
    let view = |rows, columns| Matrix::new(a.view(), rows, columns).expect("it fits");

    let mut out = MatrixMut::new(c.view_mut(), 8, 8).expect("it fits");
    refused(
        ops::mma_product(&device, &view(4, 8), &view(8, 8), &mut out),
        "is not 8 x 8",
    );
    refused(
        ops::mma_product(&device, &view(8, 7), &view(8, 7), &mut out),
        "k is not a multiple of 8",
    );
    let odd = Matrix::strided(a.view(), 8, 7, 7, 3).expect("it fits");
    refused(
        ops::mma_product(&device, &odd, &odd, &mut out),
        "multiple of 8",
    );
    let shifted = Matrix::strided(a.view(), 7, 8, 8, 1).expect("it fits");
    let mut out = MatrixMut::new(c.view_mut(), 7, 7).expect("it fits");
    refused(
        ops::mma_product(&device, &shifted, &shifted, &mut out),
        "16-byte aligned",
    );
    let mut sums = device.poisoned::<f32>(3).expect("memory");
    let input = device.upload(&[1.0_f32; 8]).expect("memory");
    let rows = Matrix::new(input.view(), 2, 4).expect("it fits");
    refused(
        ops::row_sum(&device, &rows, sums.view_mut()),
        "the length of output is 3, expected 2",
    );
}
