//! The small kernels of a layer.

use half::{bf16, f16};
use windowkv_kernels::{Device, Error, Flags, InOut, Matrix, MatrixMut, Sampling, TensorMut, ops};

use super::{Verdict, numbers};

pub(crate) fn run(device: &Device) -> Result<Verdict, Error> {
    let cases = [
        norm(device, 2, 264)?,
        norm(device, 1, 8200)?,
        rope(device)?,
        silu(device)?,
        embedding(device)?,
        sample(device)?,
    ];
    let wrong = cases.into_iter().flatten().next();
    Ok(wrong.map_or(Verdict::Right, Verdict::Wrong))
}

/// The first number that is further from the exact one than its rounding to bf16 and `slack` of it.
fn compare(what: &str, got: &[bf16], exact: &[f64], slack: f64) -> Option<String> {
    let far = |(got, exact): (&bf16, &f64)| {
        let error = (got.to_f64() - exact).abs();
        // A NaN is far too.
        error.is_nan() || error > exact.abs() / 256.0 * (1.0 + slack) + slack
    };
    let i = got.iter().zip(exact).position(far)?;
    Some(format!(
        "{what}: element {i} is {}, not {}",
        got[i], exact[i]
    ))
}

fn halves(numbers: &[f32]) -> Vec<bf16> {
    numbers.iter().map(|&x| bf16::from_f32(x)).collect()
}

/// The residual is updated in place.
fn norm(device: &Device, rows: usize, hidden: usize) -> Result<Option<String>, Error> {
    let [mut x, residual] = [1, 2].map(|salt| numbers(rows * hidden, salt));
    // Large enough that leaving them out shows.
    x[rows * hidden - 8..].fill(48.0);
    let weight = numbers(hidden, 3);
    let (x_memory, weight_memory) = (
        device.upload(&halves(&x))?,
        device.upload(&halves(&weight))?,
    );
    let mut residual_memory = device.upload(&halves(&residual))?;
    let mut out = device.poisoned::<bf16>(rows * hidden)?;
    let params = ops::RmsNormParams {
        x: InOut::Apart(
            Matrix::new(x_memory.view(), rows, hidden)?,
            MatrixMut::new(out.view_mut(), rows, hidden)?,
        ),
        residual: Some(ops::Residual::AddAndStore(InOut::InPlace(MatrixMut::new(
            residual_memory.view_mut(),
            rows,
            hidden,
        )?))),
        weight: weight_memory.view(),
        eps: 0.25,
    };
    ops::rms_norm(device, params)?;
    let y: Vec<f64> = x
        .iter()
        .zip(&residual)
        .map(|(x, residual)| bf16::from_f32(x + residual).to_f64())
        .collect();
    let exact: Vec<f64> = y
        .chunks(hidden)
        .flat_map(|y| {
            let mean = y.iter().map(|y| y * y).sum::<f64>() / hidden as f64;
            let factor = (mean + 0.25).sqrt().recip();
            y.iter()
                .zip(&weight)
                .map(move |(y, weight)| y * factor * f64::from(*weight))
        })
        .collect();
    let what = format!("norm of {hidden}");
    Ok(
        compare(&what, &residual_memory.download()?, &y, 0.0).or(compare(
            &what,
            &out.download()?,
            &exact,
            1e-4,
        )),
    )
}

fn rope(device: &Device) -> Result<Option<String>, Error> {
    const DIM: usize = 32;
    let positions = [3, 1_000_003, -1, 77, 5];
    let turns = ops::rope_turns(DIM, 1e4, None)?;
    let heads = [2, 1];
    let before = heads.map(|heads| numbers(positions.len() * heads * DIM, heads as u32));
    let [mut q, mut k] = [
        device.upload(&halves(&before[0]))?,
        device.upload(&halves(&before[1]))?,
    ];
    let (positions_memory, turns_memory) = (device.upload(&positions)?, device.upload(&turns)?);
    let params = ops::RopeParams {
        q: TensorMut::new(q.view_mut(), [1, positions.len(), heads[0], DIM])?,
        k: Some(TensorMut::new(
            k.view_mut(),
            [1, positions.len(), heads[1], DIM],
        )?),
        positions: positions_memory.view(),
        turns: turns_memory.view(),
    };
    ops::rope(device, params)?;
    for ((heads, before), after) in heads.into_iter().zip(&before).zip([q, k]) {
        let mut exact = Vec::new();
        for (row, x) in before.chunks(DIM).enumerate() {
            let position = positions[row / heads];
            for i in 0..DIM {
                let pair = i % (DIM / 2);
                let (low, high) = (f64::from(x[pair]), f64::from(x[pair + DIM / 2]));
                let angle = f64::from(position) * 1e4f64.powf(-(pair as f64) / (DIM / 2) as f64);
                let (sin, cos) = if position < 0 {
                    (0.0, 1.0)
                } else {
                    angle.sin_cos()
                };
                let low_half = i < DIM / 2;
                exact.push(if low_half {
                    low * cos - high * sin
                } else {
                    high * cos + low * sin
                });
            }
        }
        if let Some(text) = compare("rope", &after.download()?, &exact, 1e-5) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn silu(device: &Device) -> Result<Option<String>, Error> {
    let (rows, columns) = (2, 520);
    let mut gate = numbers(rows * columns, 4);
    (gate[5], gate[300], gate[1039]) = (100.0, -100.0, 1.0);
    let up = numbers(rows * columns, 5);
    let (mut gate_memory, up_memory) =
        (device.upload(&halves(&gate))?, device.upload(&halves(&up))?);
    let params = ops::SiluMulParams {
        gate: InOut::InPlace(MatrixMut::new(gate_memory.view_mut(), rows, columns)?),
        up: Matrix::new(up_memory.view(), rows, columns)?,
    };
    ops::silu_mul(device, params)?;
    let exact: Vec<f64> = gate
        .iter()
        .zip(&up)
        .map(|(&gate, &up)| f64::from(gate) / (1.0 + (-f64::from(gate)).exp()) * f64::from(up))
        .collect();
    Ok(compare("silu", &gate_memory.download()?, &exact, 1e-5))
}

fn embedding(device: &Device) -> Result<Option<String>, Error> {
    let (vocab, hidden, stride) = (3, 16, 24);
    let table: Vec<f16> = (0..(vocab - 1) * stride + hidden)
        .map(|i| f16::from_f32(i as f32))
        .collect();
    let ids = [2, 3, 0, -1];
    let (table_memory, ids_memory) = (device.upload(&table)?, device.upload(&ids)?);
    let mut out = device.poisoned::<f16>(ids.len() * hidden)?;
    let mut flags = device.zeroed::<u32>(1)?;
    let params = ops::EmbeddingParams {
        table: Matrix::strided(table_memory.view(), vocab, hidden, stride, 0)?,
        ids: ids_memory.view(),
        out: MatrixMut::new(out.view_mut(), ids.len(), hidden)?,
        flags: Some(flags.view_mut()),
    };
    ops::embedding(device, params)?;
    let exact = ids.iter().flat_map(|&id| {
        let start = usize::try_from(id)
            .ok()
            .filter(|&id| id < vocab)
            .map(|id| id * stride);
        (0..hidden).map(move |i| start.map_or(0.0, |start| (start + i) as f32))
    });
    let right = out.download()?.iter().map(|x| x.to_f32()).eq(exact)
        && Flags::from_bits(flags.download()?[0]) == Flags::RANGE;
    Ok((!right).then(|| "embedding".to_owned()))
}

/// The first 64 bits of Philox4x32-10 with counter (step, 0, 0, 0).
fn philox(seed: u64, step: i32) -> u64 {
    let (mut low, mut high) = (seed as u32, (seed >> 32) as u32);
    let mut words = [step as u32, 0, 0, 0];
    for _ in 0..10 {
        let x = u64::from(words[0]) * 0xd251_1f53;
        let y = u64::from(words[2]) * 0xcd9e_8d57;
        words = [
            (y >> 32) as u32 ^ words[1] ^ low,
            y as u32,
            (x >> 32) as u32 ^ words[3] ^ high,
            x as u32,
        ];
        low = low.wrapping_add(0x9e37_79b9);
        high = high.wrapping_add(0xbb67_ae85);
    }
    u64::from(words[0]) | u64::from(words[1]) << 32
}

/// The token by the kernel's definition, for logits whose weights are powers of two.
fn token(logits: &[i32], sampling: &Sampling, step: i32) -> usize {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by_key(|&token| -logits[token]);
    if sampling.temperature == 0.0 {
        return order[0];
    }
    let max = logits[order[0]];
    let weight = |&token: &usize| (1u128 << 50) >> (max - logits[token]).min(127);
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k as usize);
    }
    // top_p is a number of 1/256ths.
    let wanted = order.iter().map(weight).sum::<u128>() * (sampling.top_p * 256.0) as u128;
    let mut sum = 0;
    let nucleus = order.iter().position(|token| {
        sum += weight(token) * 256;
        sum >= wanted
    });
    order.truncate(nucleus.map_or(order.len(), |last| last + 1));
    order.sort_unstable();
    let total = order.iter().map(weight).sum::<u128>();
    let wanted = (total * u128::from(philox(sampling.seed, step))) >> 64;
    let mut sum = 0;
    let chosen = order.iter().position(|token| {
        sum += weight(token);
        sum > wanted
    });
    order[chosen.expect("the sum exceeds every part of itself")]
}

fn sample(device: &Device) -> Result<Option<String>, Error> {
    let (vocab, stride) = (601, 607);
    let fair = Sampling {
        // log2(e): a logit less by one has half the weight.
        temperature: std::f32::consts::LOG2_E,
        seed: 0x1234_5678_9abc_def0,
        ..Sampling::default()
    };
    // The first of the largest, though there are many.
    let one = Sampling { top_k: 1, ..fair };
    let samplings = [
        Sampling::default(),
        fair,
        Sampling { top_k: 50, ..fair },
        Sampling {
            top_p: 0.75,
            seed: 7 << 32,
            ..fair
        },
        Sampling {
            top_k: 300,
            top_p: 0.9375,
            ..fair
        },
        one,
        one,
        one,
        one,
        fair,
    ];
    let steps = [0, 1, 2, 3, 4, 5, 6, 7, 8, -1];
    let rows = samplings.len();
    let mut state = 1u32;
    // A NaN between the rows would be flagged, the one inside is.
    let mut logits = vec![f32::NAN; (rows - 1) * stride + vocab];
    let mut integers = Vec::new();
    for row in 0..rows {
        let mut own = Vec::new();
        for token in 0..vocab {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let logit = ((state >> 16) % 5) as i32;
            own.push(logit);
            logits[row * stride + token] = logit as f32;
        }
        integers.push(own);
    }
    // Two of one thread.
    for token in [40, 296] {
        logits[token] = 5.0;
        integers[0][token] = 5;
    }
    let run = |logits: &[f32]| -> Result<(Vec<i32>, Flags), Error> {
        let memory = device.upload(logits)?;
        let (samplings, steps) = (device.upload(&samplings)?, device.upload(&steps)?);
        let mut tokens = device.upload(&vec![-7; rows])?;
        let mut flags = device.zeroed::<u32>(1)?;
        let params = ops::SampleParams {
            logits: Matrix::strided(memory.view(), rows, vocab, stride, 0)?,
            sampling: Some((samplings.view(), steps.view())),
            tokens: tokens.view_mut(),
            flags: Some(flags.view_mut()),
        };
        ops::sample(device, params)?;
        Ok((tokens.download()?, Flags::from_bits(flags.download()?[0])))
    };
    let (mut tokens, flags) = run(&logits)?;
    if flags != Flags::default() {
        return Ok(Some(format!("sample: flags {flags:?}")));
    }
    logits[9] = f32::NAN;
    integers[0][9] = i32::MIN / 2;
    let (with_nan, flags) = run(&logits)?;
    if flags != Flags::NAN {
        return Ok(Some(format!("sample: flags {flags:?} with a NaN")));
    }
    tokens[0] = with_nan[0];
    for (row, token_of_row) in tokens.into_iter().enumerate() {
        let expected = if steps[row] < 0 {
            -7
        } else {
            token(&integers[row], &samplings[row], steps[row]) as i32
        };
        if token_of_row != expected {
            return Ok(Some(format!(
                "sample: row {row} gives {token_of_row}, not {expected}"
            )));
        }
    }
    Ok(None)
}
