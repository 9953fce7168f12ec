//! A job's memory on a device, several times over, and its launch.

use half::bf16;
use windowkv_kernels::{
    Buffer, CacheLayout, CacheMut, Device, Error, InOut, Matrix, MatrixMut, Observation, RowsF32,
    RowsF32Mut, Sequences, Shape, Tensor, TensorMut, ops,
};

use super::floor::{LAYERS, SUFFIX_LEN, WINDOW_LEN, kept, work};
use super::shape::{Job, Kernel};

/// Memory that launches take turns with, so that none finds its inputs in the cache of the one before: several times
/// the L2 cache of the largest GPU so far.
const ROTATED_BYTES: u64 = 512 << 20;
/// Copies of a job's memory, at most.
const MAX_COPIES: usize = 64;

/// Launches a job on one of the copies of its memory.
pub type Launch = Box<dyn FnMut(usize) -> Result<(), Error>>;

/// A job ready to be launched.
pub struct Prepared {
    /// Copies of its memory.
    pub copies: usize,
    /// Launches it on copy `i % copies`.
    pub launch: Launch,
}

/// Numbers that look random, in [-1, 1).
struct Random(u64);

impl Random {
    fn numbers(&mut self, len: usize) -> Vec<bf16> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bf16::from_f32((self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0)
        };
        (0..len).map(|_| next()).collect()
    }
}

/// Puts a job's memory on the device; `rotate`: as many copies as keep launches out of each other's caches.
///
/// # Errors
/// What the device gives, [`Error::OutOfMemory`] above all.
pub fn prepare(device: &Device, job: &Job, rotate: bool) -> Result<Prepared, Error> {
    let copies = if rotate {
        (ROTATED_BYTES.div_ceil(work(job).bytes.max(1)) as usize).clamp(2, MAX_COPIES)
    } else {
        1
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let launch = match job.kernel {
        Kernel::Prefill => prefill(device, job, copies, &mut random, false)?,
        Kernel::PrefillLse => prefill(device, job, copies, &mut random, true)?,
        Kernel::Score => score(device, job, copies, &mut random)?,
        Kernel::Select => select(device, job, copies, &mut random)?,
        Kernel::Gather => gather(device, job, copies, &mut random)?,
        Kernel::Decode => decode(device, job, copies, &mut random)?,
        Kernel::RmsNorm => rms_norm(device, job, copies, &mut random)?,
        Kernel::Rope => rope(device, job, copies, &mut random)?,
        Kernel::SiluMul => silu_mul(device, job, copies, &mut random)?,
        Kernel::Sample => sample(device, job, copies, &mut random)?,
    };
    Ok(Prepared { copies, launch })
}

/// One of each copy.
fn each<T>(copies: usize, mut make: impl FnMut() -> Result<T, Error>) -> Result<Vec<T>, Error> {
    (0..copies).map(|_| make()).collect()
}

fn shapes(job: &Job) -> ([usize; 4], [usize; 4]) {
    let model = &job.model;
    (
        [job.batch, job.seqlen, model.num_heads_q, model.head_dim],
        [job.batch, job.seqlen, model.num_heads_kv, model.head_dim],
    )
}

fn elements(shape: [usize; 4]) -> usize {
    shape.iter().product()
}

fn scale(job: &Job) -> f32 {
    (job.model.head_dim as f32).powf(-0.5)
}

fn prefill(
    device: &Device,
    job: &Job,
    copies: usize,
    random: &mut Random,
    lse: bool,
) -> Result<Launch, Error> {
    let (shape_q, shape_kv) = shapes(job);
    let mut sets = each(copies, || {
        Ok((
            device.upload(&random.numbers(elements(shape_q)))?,
            device.upload(&random.numbers(elements(shape_kv)))?,
            device.upload(&random.numbers(elements(shape_kv)))?,
            device.poisoned::<bf16>(elements(shape_q))?,
            device.poisoned::<f32>(job.batch * shape_q[2] * job.seqlen)?,
        ))
    })?;
    let (device, softmax_scale, seqlen) = (device.clone(), scale(job), job.seqlen);
    Ok(Box::new(move |i| {
        let count = sets.len();
        let (q, k, v, o, rows) = &mut sets[i % count];
        let lse = if lse {
            let shape = [shape_q[0], shape_q[2], seqlen];
            Some(RowsF32Mut::new(rows.view_mut(), shape)?)
        } else {
            None
        };
        ops::prefill(
            &device,
            ops::PrefillParams {
                q: Tensor::new(q.view(), shape_q)?,
                k: Tensor::new(k.view(), shape_kv)?,
                v: Tensor::new(v.view(), shape_kv)?,
                o: TensorMut::new(o.view_mut(), shape_q)?,
                lse,
                sequences_q: Sequences::padded(seqlen),
                sequences_kv: Sequences::padded(seqlen),
                softmax_scale,
                flags: None,
            },
        )
    }))
}

fn observations(device: &Device, job: &Job) -> Result<Buffer<Observation>, Error> {
    let observation = Observation {
        query_len: SUFFIX_LEN as i32,
        suffix_len: SUFFIX_LEN as i32,
        window_len: WINDOW_LEN as i32,
        top_tokens: WINDOW_LEN as i32,
    };
    device.upload(&vec![observation; job.batch])
}

fn num_windows(job: &Job) -> usize {
    job.seqlen.saturating_sub(SUFFIX_LEN).div_ceil(WINDOW_LEN)
}

fn score(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Launch, Error> {
    let (_, shape_kv) = shapes(job);
    let observing = SUFFIX_LEN.min(job.seqlen);
    let shape_q = [
        job.batch,
        observing,
        job.model.num_heads_q,
        job.model.head_dim,
    ];
    let shape_lse = [job.batch, job.model.num_heads_q, observing];
    // About the log-sum-exp of scores within 1.
    let lse = device.upload(&vec![
        (job.seqlen as f32).ln() + 0.5;
        shape_lse.iter().product()
    ])?;
    let windows = num_windows(job);
    let mut sets = each(copies, || {
        Ok((
            device.upload(&random.numbers(elements(shape_q)))?,
            device.upload(&random.numbers(elements(shape_kv)))?,
            device.poisoned::<f32>(job.batch * windows)?,
        ))
    })?;
    let observations = observations(device, job)?;
    let bytes = ops::score_workspace_size(
        device,
        &ops::ScoreInput {
            q: Tensor::new(sets[0].0.view(), shape_q)?,
            k: Tensor::new(sets[0].1.view(), shape_kv)?,
            lse: RowsF32::new(lse.view(), shape_lse)?,
            sequences_q: Sequences::padded(shape_q[1]),
            sequences_kv: Sequences::padded(shape_kv[1]),
        },
    )?;
    let mut workspace = device.poisoned::<u8>(bytes)?;
    let (device, softmax_scale, batch) = (device.clone(), scale(job), job.batch);
    Ok(Box::new(move |i| {
        let count = sets.len();
        let (q, k, scores) = &mut sets[i % count];
        ops::score(
            &device,
            ops::ScoreParams {
                input: ops::ScoreInput {
                    q: Tensor::new(q.view(), shape_q)?,
                    k: Tensor::new(k.view(), shape_kv)?,
                    lse: RowsF32::new(lse.view(), shape_lse)?,
                    sequences_q: Sequences::padded(shape_q[1]),
                    sequences_kv: Sequences::padded(shape_kv[1]),
                },
                observations: observations.view(),
                column_scores: None,
                window_scores: Some(MatrixMut::new(scores.view_mut(), batch, windows)?),
                pooling: ops::Pooling::None,
                softmax_scale,
                workspace: workspace.view_mut(),
                flags: None,
            },
        )
    }))
}

fn select(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Launch, Error> {
    let (windows, (_, keep), batch) = (num_windows(job), kept(job.seqlen), job.batch);
    let mut sets = each(copies, || {
        let scores = random.numbers(batch * windows);
        let scores: Vec<f32> = scores.iter().map(|x| x.to_f32()).collect();
        Ok((
            device.upload(&scores)?,
            device.poisoned::<i32>(batch * keep)?,
            device.poisoned::<i32>(batch)?,
        ))
    })?;
    let num_windows = device.upload(&vec![windows as i32; batch])?;
    let num_keep = device.upload(&vec![keep as i32; batch])?;
    let device = device.clone();
    Ok(Box::new(move |i| {
        let count = sets.len();
        let (scores, indices, num_kept) = &mut sets[i % count];
        ops::select(
            &device,
            ops::SelectParams {
                scores: Matrix::new(scores.view(), batch, windows)?,
                num_windows: num_windows.view(),
                num_keep: num_keep.view(),
                indices: MatrixMut::new(indices.view_mut(), batch, keep)?,
                num_kept: num_kept.view_mut(),
                flags: None,
            },
        )
    }))
}

fn gather(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Launch, Error> {
    let (_, shape_kv) = shapes(job);
    let ((tokens, keep), windows, batch) = (kept(job.seqlen), num_windows(job), job.batch);
    let shape_cache = [batch, tokens, shape_kv[2], shape_kv[3]];
    let layout = CacheLayout::contiguous(shape_cache, Shape::new(shape_cache).tokens_outermost());
    // The layers of a group share the source's numbers and not its memory.
    let source = random.numbers(elements(shape_kv));
    let mut sets = each(copies.min(4), || {
        each(LAYERS, || {
            Ok((
                [device.upload(&source)?, device.upload(&source)?],
                [
                    device.poisoned::<bf16>(elements(shape_cache))?,
                    device.poisoned::<bf16>(elements(shape_cache))?,
                ],
            ))
        })
    })?;
    // Spread over the prompt, ascending.
    let kept: Vec<i32> = (0..keep)
        .map(|i| (i * windows / keep.max(1)) as i32)
        .collect();
    let indices = device.upload(&kept.repeat(batch))?;
    let num_kept = device.upload(&vec![keep as i32; batch])?;
    let mut kept_lens = device.poisoned::<i32>(batch)?;
    let observations = observations(device, job)?;
    let (device, seqlen) = (device.clone(), job.seqlen);
    Ok(Box::new(move |i| {
        let count = sets.len();
        let mut layers = Vec::with_capacity(LAYERS);
        for ([k, v], [k_cache, v_cache]) in &mut sets[i % count] {
            layers.push(ops::GatherLayer {
                k: Tensor::new(k.view(), shape_kv)?,
                v: Tensor::new(v.view(), shape_kv)?,
                cache: CacheMut {
                    k: k_cache.view_mut(),
                    v: v_cache.view_mut(),
                },
            });
        }
        ops::gather(
            &device,
            ops::GatherParams {
                layers,
                sequences_kv: Sequences::padded(seqlen),
                cache: layout,
                windows: ops::KeptWindows {
                    observations: observations.view(),
                    indices: Matrix::new(indices.view(), batch, keep)?,
                    num_kept: num_kept.view(),
                },
                kept_lens: kept_lens.view_mut(),
                flags: None,
            },
        )
    }))
}

fn decode(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Launch, Error> {
    let model = &job.model;
    let shape_q = [job.batch, 1, model.num_heads_q, model.head_dim];
    let shape_new = [job.batch, 1, model.num_heads_kv, model.head_dim];
    let shape_cache = [
        job.batch,
        job.seqlen + 1,
        model.num_heads_kv,
        model.head_dim,
    ];
    let layout = CacheLayout::contiguous(shape_cache, Shape::new(shape_cache).tokens_outermost());
    let mut sets = each(copies, || {
        Ok((
            device.upload(&random.numbers(elements(shape_q)))?,
            device.upload(&random.numbers(elements(shape_new)))?,
            device.upload(&random.numbers(elements(shape_cache)))?,
            device.upload(&random.numbers(elements(shape_cache)))?,
            device.poisoned::<bf16>(elements(shape_q))?,
        ))
    })?;
    let cache_lens = device.upload(&vec![job.seqlen as i32; job.batch])?;
    let bytes = ops::decode_workspace_size::<bf16>(device, Shape::new(shape_q), &layout)?;
    let mut workspace = device.zeroed::<u8>(bytes)?;
    let (device, softmax_scale) = (device.clone(), scale(job));
    Ok(Box::new(move |i| {
        let count = sets.len();
        let (q, new, k_cache, v_cache, o) = &mut sets[i % count];
        let token = Tensor::new(new.view(), shape_new)?;
        ops::decode(
            &device,
            ops::DecodeParams {
                q: Tensor::new(q.view(), shape_q)?,
                new: Some((token, token)),
                o: TensorMut::new(o.view_mut(), shape_q)?,
                lse: None,
                cache: CacheMut {
                    k: k_cache.view_mut(),
                    v: v_cache.view_mut(),
                },
                layout,
                cache_lens: cache_lens.view(),
                softmax_scale,
                workspace: workspace.view_mut(),
                flags: None,
            },
        )
    }))
}

fn rms_norm(
    device: &Device,
    job: &Job,
    copies: usize,
    random: &mut Random,
) -> Result<Launch, Error> {
    let (rows, hidden) = (job.batch * job.seqlen, job.model.hidden);
    let mut sets = each(copies, || {
        Ok((
            device.upload(&random.numbers(rows * hidden))?,
            device.upload(&random.numbers(rows * hidden))?,
            device.poisoned::<bf16>(rows * hidden)?,
        ))
    })?;
    let weight = device.upload(&random.numbers(hidden))?;
    let device = device.clone();
    Ok(Box::new(move |i| {
        let count = sets.len();
        let (x, sum, out) = &mut sets[i % count];
        ops::rms_norm(
            &device,
            ops::RmsNormParams {
                x: InOut::Apart(
                    Matrix::new(x.view(), rows, hidden)?,
                    MatrixMut::new(out.view_mut(), rows, hidden)?,
                ),
                residual: Some(ops::Residual::AddAndStore(InOut::InPlace(MatrixMut::new(
                    sum.view_mut(),
                    rows,
                    hidden,
                )?))),
                weight: weight.view(),
                eps: 1e-5,
            },
        )
    }))
}

fn rope(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Launch, Error> {
    let tokens = job.batch * job.seqlen;
    let model = &job.model;
    let shape_q = [1, tokens, model.num_heads_q, model.head_dim];
    let shape_k = [1, tokens, model.num_heads_kv, model.head_dim];
    let mut sets = each(copies, || {
        Ok((
            device.upload(&random.numbers(elements(shape_q)))?,
            device.upload(&random.numbers(elements(shape_k)))?,
        ))
    })?;
    let positions: Vec<i32> = (0..tokens as i32).collect();
    let positions = device.upload(&positions)?;
    let turns = device.upload(&ops::rope_turns(model.head_dim, 500_000.0, None)?)?;
    let device = device.clone();
    Ok(Box::new(move |i| {
        let count = sets.len();
        let (q, k) = &mut sets[i % count];
        ops::rope(
            &device,
            ops::RopeParams {
                q: TensorMut::new(q.view_mut(), shape_q)?,
                k: Some(TensorMut::new(k.view_mut(), shape_k)?),
                positions: positions.view(),
                turns: turns.view(),
            },
        )
    }))
}

fn silu_mul(
    device: &Device,
    job: &Job,
    copies: usize,
    random: &mut Random,
) -> Result<Launch, Error> {
    let (rows, columns) = (job.batch * job.seqlen, job.model.intermediate);
    let mut sets = each(copies, || {
        Ok((
            device.upload(&random.numbers(rows * columns))?,
            device.upload(&random.numbers(rows * columns))?,
            device.poisoned::<bf16>(rows * columns)?,
        ))
    })?;
    let device = device.clone();
    Ok(Box::new(move |i| {
        let count = sets.len();
        let (gate, up, out) = &mut sets[i % count];
        ops::silu_mul(
            &device,
            ops::SiluMulParams {
                gate: InOut::Apart(
                    Matrix::new(gate.view(), rows, columns)?,
                    MatrixMut::new(out.view_mut(), rows, columns)?,
                ),
                up: Matrix::new(up.view(), rows, columns)?,
            },
        )
    }))
}

fn sample(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Launch, Error> {
    let (rows, vocab) = (job.batch * job.seqlen, job.model.vocab);
    let mut sets = each(copies, || {
        Ok((
            device.upload(&random.numbers(rows * vocab))?,
            device.poisoned::<i32>(rows)?,
        ))
    })?;
    let device = device.clone();
    Ok(Box::new(move |i| {
        let count = sets.len();
        let (logits, tokens) = &mut sets[i % count];
        ops::sample(
            &device,
            ops::SampleParams {
                logits: Matrix::new(logits.view(), rows, vocab)?,
                sampling: None,
                tokens: tokens.view_mut(),
                flags: None,
            },
        )
    }))
}
