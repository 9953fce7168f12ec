//! Choosing the next token, against the same choice in f64.

use std::sync::atomic::{AtomicUsize, Ordering};

use half::{bf16, f16};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windowkv_kernels::{Device, Flags, Float, Matrix, Sampling, Schedule, ops};
use windowkv_tests::kernels::{devices, fail, on_every_device};

/// Half an ulp of float32 at 1.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// Philox4x32-10 with counter (step, 0, 0, 0): its first 64 bits.
fn philox(seed: u64, step: i32) -> u64 {
    let words = philox_block([step as u32, 0, 0, 0], [seed as u32, (seed >> 32) as u32]);
    u64::from(words[0]) | u64::from(words[1]) << 32
}

fn philox_block([mut a, mut b, mut c, mut d]: [u32; 4], [mut low, mut high]: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let x = u64::from(a) * 0xd251_1f53;
        let y = u64::from(c) * 0xcd9e_8d57;
        (a, b, c, d) = (
            (y >> 32) as u32 ^ b ^ low,
            y as u32,
            (x >> 32) as u32 ^ d ^ high,
            x as u32,
        );
        low = low.wrapping_add(0x9e37_79b9);
        high = high.wrapping_add(0xbb67_ae85);
    }
    [a, b, c, d]
}

#[test]
fn philox_gives_the_published_numbers() {
    // Known answers of Random123.
    assert_eq!(
        philox_block([0; 4], [0; 2]),
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
    );
    assert_eq!(
        philox_block([u32::MAX; 4], [u32::MAX; 2]),
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
    );
    assert_eq!(
        philox_block(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0]
        ),
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    );
}

/// The tokens that a draw may give: one, or several where a boundary lies within the rounding of float32.
fn admissible(logits: &[f64], sampling: Sampling, step: i32) -> Vec<usize> {
    let value = |token: &usize| {
        if logits[*token].is_nan() {
            f64::NEG_INFINITY
        } else {
            logits[*token]
        }
    };
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // Stable: ties stay in ascending order.
    order.sort_by(|a, b| value(b).partial_cmp(&value(a)).expect("no NaN"));
    let max = value(&order[0]);
    if sampling.temperature == 0.0 {
        return vec![order[0]];
    }
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k as usize);
    }
    let exponent = |token: &usize| {
        let value = value(token);
        if value == max {
            0.0
        } else {
            (value - max) / f64::from(sampling.temperature)
        }
    };
    let weights: Vec<f64> = order.iter().map(|token| exponent(token).exp()).collect();
    // An exponent is off by 4 units a unit of it (difference, quotient, product, log2(e)), its power of two by 4; the
    // weight is a multiple of 2^-s, s >= 62 - 32.
    let error: f64 = order
        .iter()
        .zip(&weights)
        .map(|(token, &weight)| {
            let relative = (4.0 * -exponent(token) + 8.0) * UNIT;
            let s = 62 - (usize::BITS - logits.len().leading_zeros()) as i32;
            let rounding = if weight > 0.0 { weight * relative } else { 0.0 };
            rounding + 2.0f64.powi(-s)
        })
        .sum();

    let total: f64 = weights.iter().sum();
    let wanted = f64::from(sampling.top_p) * total;
    let mut lengths = Vec::new();
    let mut sum = 0.0;
    for (index, weight) in weights.iter().enumerate() {
        let before = sum;
        sum += weight;
        if sum >= wanted - error && before < wanted + error {
            lengths.push(index + 1);
        }
    }
    if sampling.top_p == 1.0 {
        lengths = vec![weights.len()];
    }
    assert!(!lengths.is_empty());

    let random = philox(sampling.seed, step) as f64 / 2.0f64.powi(64);
    let mut tokens = Vec::new();
    // Of many lengths (a tail of weights within the error) those in between give nothing new.
    let (first, last) = (lengths[0], *lengths.last().expect("a length"));
    let lengths = if lengths.len() > 8 {
        (first..=last)
            .step_by((last - first).div_ceil(64))
            .chain([last])
            .collect()
    } else {
        lengths
    };
    for length in lengths {
        let mut members: Vec<(usize, f64)> = order[..length]
            .iter()
            .copied()
            .zip(weights.iter().copied())
            .collect();
        members.sort_by_key(|&(token, _)| token);
        let total: f64 = members.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0.0;
        for (token, weight) in members {
            let before = sum;
            sum += weight;
            if before - error <= random * total
                && random * total < sum + error
                && weight + error > 0.0
            {
                tokens.push(token);
            }
        }
    }
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

/// Logits as a model may give them.
trait Logit: Float {
    fn of(value: f64) -> Self;
    fn value(self) -> f64;
}
macro_rules! logits {
    ($($type:ident, $of:expr, $value:expr;)*) => {$(
        impl Logit for $type {
            fn of(value: f64) -> Self {
                $of(value)
            }
            fn value(self) -> f64 {
                $value(self)
            }
        }
    )*};
}
logits! {
    f16, f16::from_f64, f16::to_f64;
    bf16, bf16::from_f64, bf16::to_f64;
    f32, |value| value as f32, f64::from;
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Spread over about 30.
    Wide,
    /// Few values: many ties.
    Ties,
    /// All the same.
    Flat,
    /// With NaN, infinities and zeros of both signs.
    Special,
}

#[derive(Debug, Clone)]
struct Case {
    dtype: usize,
    vocab: usize,
    gap: usize,
    kind: Kind,
    rows: Vec<Sampling>,
    steps: Vec<i32>,
    data: u64,
}

fn samplings(vocab: usize) -> impl Strategy<Value = (Sampling, i32)> {
    let temperature = prop_oneof![
        2 => Just(0.0f32),
        1 => Just(1e-30f32),
        1 => Just(1e30f32),
        8 => 0.1f32..3.0
    ];
    let top_p = prop_oneof![3 => Just(1.0f32), 1 => Just(1e-9f32), 6 => 0.01f32..1.0];
    let top_k =
        prop_oneof![3 => Just(0i32), 1 => Just(1i32), 1 => Just(i32::MAX), 6 => 1..=vocab as i32];
    let step = prop_oneof![1 => Just(-1i32), 8 => 0..i32::MAX];
    (any::<u64>(), temperature, top_p, top_k, step).prop_map(
        |(seed, temperature, top_p, top_k, step)| {
            let sampling = Sampling {
                seed,
                temperature,
                top_p,
                top_k,
                ..Sampling::default()
            };
            (sampling, step)
        },
    )
}

fn cases(
    vocab: impl Strategy<Value = usize>,
    rows: std::ops::Range<usize>,
) -> impl Strategy<Value = Case> {
    let kind = prop_oneof![
        Just(Kind::Wide),
        Just(Kind::Ties),
        Just(Kind::Flat),
        Just(Kind::Special)
    ];
    (vocab, 0..3usize, 0..5usize, kind, any::<u64>())
        .prop_flat_map(move |fixed| {
            (
                Just(fixed),
                prop::collection::vec(samplings(fixed.0), rows.clone()),
            )
        })
        .prop_map(|((vocab, dtype, gap, kind, data), rows)| {
            let (rows, steps) = rows.into_iter().unzip();
            Case {
                dtype,
                vocab,
                gap,
                kind,
                rows,
                steps,
                data,
            }
        })
}

fn numbers(case: &Case) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(case.data);
    let stride = case.vocab + case.gap;
    (0..case.rows.len() * stride)
        .map(|i| {
            let wide = random.random::<f64>() * 30.0 - 15.0;
            match case.kind {
                // Between the rows.
                _ if i % stride >= case.vocab => f64::NAN,
                Kind::Wide => wide,
                Kind::Ties => (wide / 4.0).round(),
                Kind::Flat => 1.5,
                Kind::Special => match random.random_range(0..10) {
                    0 => f64::NAN,
                    1 => f64::NEG_INFINITY,
                    2 => 0.0,
                    3 => -0.0,
                    4 if case.data.is_multiple_of(8) => f64::INFINITY,
                    _ => wide - 12.0,
                },
            }
        })
        .collect()
}

fn choose<T: Logit>(
    device: &Device,
    case: &Case,
    logits: &[T],
) -> Result<(Vec<i32>, Flags), TestCaseError> {
    let rows = case.rows.len();
    let logits = device.upload(logits).map_err(fail)?;
    let sampling = device.upload(&case.rows).map_err(fail)?;
    let steps = device.upload(&case.steps).map_err(fail)?;
    let mut tokens = device.upload(&vec![-7; rows]).map_err(fail)?;
    let mut flags = device.zeroed::<u32>(1).map_err(fail)?;
    let params = ops::SampleParams {
        logits: Matrix::strided(logits.view(), rows, case.vocab, case.vocab + case.gap, 0)
            .map_err(fail)?,
        sampling: Some((sampling.view(), steps.view())),
        tokens: tokens.view_mut(),
        flags: Some(flags.view_mut()),
    };
    ops::sample(device, params).map_err(fail)?;
    let flags = Flags::from_bits(flags.download().map_err(fail)?[0]);
    Ok((tokens.download().map_err(fail)?, flags))
}

/// How many draws there were, and of how many the boundary lay within rounding.
#[derive(Default)]
struct Counts {
    draws: AtomicUsize,
    unclear: AtomicUsize,
}

fn sampled<T: Logit>(device: &Device, case: &Case, counts: &Counts) -> Result<(), TestCaseError> {
    let stride = case.vocab + case.gap;
    let logits: Vec<T> = numbers(case)
        .into_iter()
        .map(T::of)
        .take((case.rows.len() * stride).saturating_sub(case.gap))
        .collect();
    let (tokens, flags) = choose(device, case, &logits)?;
    let mut nan = false;
    for (row, (&sampling, &step)) in case.rows.iter().zip(&case.steps).enumerate() {
        if step < 0 {
            prop_assert_eq!(tokens[row], -7);
            continue;
        }
        let own = &logits[row * stride..][..case.vocab];
        let values: Vec<f64> = own.iter().map(|logit| logit.value()).collect();
        nan |= values.iter().any(|value| value.is_nan());
        let expected = admissible(&values, sampling, step);
        counts.draws.fetch_add(1, Ordering::Relaxed);
        if expected.len() > 1 {
            counts.unclear.fetch_add(1, Ordering::Relaxed);
        }
        prop_assert!(
            expected.contains(&(tokens[row] as usize)),
            "row {row}: token {}, not of {expected:?}",
            tokens[row]
        );
        // Alone, the row gives the same token.
        let alone = Case {
            rows: vec![sampling],
            steps: vec![step],
            gap: 0,
            ..case.clone()
        };
        prop_assert_eq!(choose(device, &alone, own)?.0[0], tokens[row]);
    }
    prop_assert_eq!(flags, if nan { Flags::NAN } else { Flags::default() });
    Ok(())
}

fn check(most: u32, inputs: impl Strategy<Value = Case>) {
    let counts = Counts::default();
    on_every_device(most, inputs, |device, case| match case.dtype {
        0 => sampled::<f16>(device, &case, &counts),
        1 => sampled::<bf16>(device, &case, &counts),
        _ => sampled::<f32>(device, &case, &counts),
    });
    let (draws, unclear) = (counts.draws.into_inner(), counts.unclear.into_inner());
    println!("{draws} draws, {unclear} of them within rounding of a boundary");
    assert!(
        unclear * 50 <= draws,
        "too many draws are unclear to tell right from wrong"
    );
}

#[test]
fn tokens_are_those_of_the_oracle() {
    // Runs of 32 tokens, 256 of them: edges at 32 and 8,192.
    let vocab = prop_oneof![
        4 => 1..700usize,
        1 => prop_oneof![Just(1usize), Just(31), Just(32), Just(33), Just(2048), Just(2049)],
    ];
    check(150, cases(vocab, 0..4));
}

#[test]
fn tokens_of_large_vocabularies_too() {
    let vocab = prop_oneof![
        Just(8192usize),
        Just(8193),
        Just(16383),
        Just(16384),
        Just(32000)
    ];
    check(15, cases(vocab, 1..2));
}

#[test]
fn sampling_out_of_range_is_flagged_and_bent() {
    for device in devices() {
        out_of_range(&device);
    }
}

fn out_of_range(device: &Device) {
    let case = |sampling| Case {
        dtype: 2,
        vocab: 50,
        gap: 0,
        kind: Kind::Wide,
        rows: vec![sampling],
        steps: vec![3],
        data: 5,
    };
    let fair = Sampling {
        temperature: 1.0,
        seed: 9,
        ..Sampling::default()
    };
    let token = |sampling| {
        let case = case(sampling);
        let logits: Vec<f32> = numbers(&case).into_iter().map(f32::of).collect();
        choose(device, &case, &logits).unwrap()
    };
    let (cold, _) = token(Sampling {
        temperature: 0.0,
        ..fair
    });
    let (warm, flags) = token(fair);
    assert_eq!(flags, Flags::default());
    for temperature in [-1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(
            token(Sampling {
                temperature,
                ..fair
            }),
            (cold.clone(), Flags::RANGE)
        );
    }
    for top_p in [0.0, -1.0, 1.5, f32::NAN] {
        assert_eq!(
            token(Sampling { top_p, ..fair }),
            (warm.clone(), Flags::RANGE)
        );
    }
    assert_eq!(token(Sampling { top_k: -1, ..fair }), (warm, Flags::RANGE));
}

#[test]
fn without_sampling_the_largest_logit_wins() {
    on_every_device(
        60,
        (1..900usize, 0..4usize, any::<u64>()),
        |device, (vocab, rows, data)| {
            let mut random = ChaCha8Rng::seed_from_u64(data);
            let logits: Vec<bf16> = (0..rows * vocab)
                .map(|_| bf16::from_f64(f64::from(random.random_range(-20..20i32))))
                .collect();
            let memory = device.upload(&logits).map_err(fail)?;
            let mut tokens = device.poisoned::<i32>(rows).map_err(fail)?;
            let params = ops::SampleParams {
                logits: Matrix::new(memory.view(), rows, vocab).map_err(fail)?,
                sampling: None,
                tokens: tokens.view_mut(),
                flags: None,
            };
            ops::sample(device, params).map_err(fail)?;
            for (row, token) in tokens.download().map_err(fail)?.into_iter().enumerate() {
                let row = &logits[row * vocab..][..vocab];
                let best = row
                    .iter()
                    .map(|x| x.to_f64())
                    .fold(f64::NEG_INFINITY, f64::max);
                let first = row.iter().position(|x| x.to_f64() == best);
                prop_assert_eq!(Some(token as usize), first);
            }
            Ok(())
        },
    );
}

/// Draws with one seed and many steps from one row of logits.
fn many_draws(device: &Device, logits: &[f32], sampling: Sampling, draws: usize) -> Vec<i32> {
    let memory = device.upload(logits).unwrap();
    let samplings = device.upload(&vec![sampling; draws]).unwrap();
    let steps = device
        .upload(&(0..draws as i32).collect::<Vec<_>>())
        .unwrap();
    let mut tokens = device.poisoned::<i32>(draws).unwrap();
    let params = ops::SampleParams {
        // All rows are the same one.
        logits: Matrix::strided(memory.view(), draws, logits.len(), 0, 0).unwrap(),
        sampling: Some((samplings.view(), steps.view())),
        tokens: tokens.view_mut(),
        flags: None,
    };
    ops::sample(device, params).unwrap();
    tokens.download().unwrap()
}

#[test]
fn frequencies_follow_the_probabilities() {
    let logits: Vec<f32> = (0..40).map(|i| ((i * 7) % 40) as f32 / 10.0).collect();
    let sampling = Sampling {
        seed: 42,
        temperature: 1.3,
        top_p: 0.95,
        top_k: 20,
        ..Sampling::default()
    };
    for device in devices() {
        let tokens = many_draws(&device, &logits, sampling, 600);
        // The softmax over the nucleus, by its definition.
        let mut order: Vec<usize> = (0..40).collect();
        order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap());
        order.truncate(20);
        let weight = |token: usize| (f64::from(logits[token]) / 1.3).exp();
        let total: f64 = order.iter().map(|&token| weight(token)).sum();
        let mut sum = 0.0;
        let nucleus = order.iter().position(|&token| {
            sum += weight(token);
            sum >= f64::from(0.95f32) * total
        });
        order.truncate(nucleus.unwrap() + 1);
        let total: f64 = order.iter().map(|&token| weight(token)).sum();
        assert!((10..20).contains(&order.len()));
        let chi_square: f64 = order
            .iter()
            .map(|&token| {
                let expected = weight(token) / total * tokens.len() as f64;
                let seen = tokens.iter().filter(|&&t| t as usize == token).count() as f64;
                (seen - expected).powi(2) / expected
            })
            .sum();
        assert!(
            tokens
                .iter()
                .all(|&token| order.contains(&(token as usize)))
        );
        // With up to 19 degrees of freedom, one fair sampler in a thousand exceeds 43.8. The seed is fixed.
        println!(
            "chi-square {chi_square:.1} with {} degrees of freedom",
            order.len() - 1
        );
        assert!(chi_square < 43.8, "chi-square is {chi_square}");
    }
}

#[test]
fn a_token_does_not_depend_on_the_schedule() {
    let logits: Vec<f32> = (0..300).map(|i| ((i * 77) % 300) as f32 / 50.0).collect();
    let sampling = Sampling {
        seed: 1,
        temperature: 1.0,
        top_p: 0.8,
        top_k: 100,
        ..Sampling::default()
    };
    for device in devices() {
        let draws: Vec<Vec<i32>> = (0..8)
            .map(|seed| {
                device.set_schedule(Schedule {
                    seed,
                    workers: 1 + seed as u32 % 2,
                });
                many_draws(&device, &logits, sampling, 20)
            })
            .collect();
        assert!(draws.iter().all(|other| *other == draws[0]));
    }
}
