//! A job's memory on a device, several times over, its launch, and the check of what it wrote.

use std::sync::OnceLock;

use half::bf16;
use windowkv_kernels::{
    Buffer, CacheLayout, CacheMut, Device, Error, InOut, Matrix, MatrixMut, Observation, RowsF32,
    RowsF32Mut, Sequences, Shape, Tensor, TensorMut, ops,
};

use super::Failure;
use super::expected;
use super::floor::{LAYERS, SUFFIX_LEN, WINDOW_LEN, kept, work};
use super::shape::{Job, Kernel};

/// Memory that launches take turns with, so that none finds its inputs in the cache of the one before: several times
/// the L2 cache of the largest GPU so far.
const ROTATED_BYTES: u64 = 512 << 20;
/// The same for a gather, which has many times as much around what it reads.
const GATHERED_BYTES: u64 = 256 << 20;
/// Copies of a job's memory, at most: to make more takes longer than to time them.
const MAX_COPIES: u64 = 2048;
/// Random numbers that all tensors are filled from; odd, so that copies differ.
const POOL: usize = (16 << 20) + 1;

/// What a prepared job is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Launch on copy `i` modulo the number of copies.
    Launch(usize),
    /// Compare what one launch on copy 0 wrote with what the host computes, in a few places; and find outputs that were
    /// not written at all.
    Check,
}

impl Ask {
    fn copy(self) -> usize {
        match self {
            Self::Launch(i) => i,
            Self::Check => 0,
        }
    }
}

/// Does what it is asked.
type Answer = Box<dyn FnMut(Ask) -> Result<(), Failure>>;

/// A job ready to be launched.
pub struct Prepared {
    /// Copies of its memory.
    pub copies: usize,
    answer: Answer,
}

impl Prepared {
    /// Launches it on copy `i % copies`.
    ///
    /// # Errors
    /// What the launch gives.
    pub fn launch(&mut self, i: usize) -> Result<(), Failure> {
        (self.answer)(Ask::Launch(i))
    }

    /// Checks what the first launch, on copy 0, wrote; to be asked before any other launch on it.
    ///
    /// # Errors
    /// [`Failure::Wrong`] with the first wrong place, and what the device gives.
    pub fn check(&mut self) -> Result<(), Failure> {
        (self.answer)(Ask::Check)
    }
}

/// 16 Mi numbers that look random, in [-1, 1).
pub(super) fn pool() -> &'static [bf16] {
    static NUMBERS: OnceLock<Vec<bf16>> = OnceLock::new();
    NUMBERS.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bf16::from_f32((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
        };
        (0..POOL).map(|_| next()).collect()
    })
}

/// The next numbers of the pool, round and round.
#[derive(Default)]
pub(super) struct Random {
    at: usize,
}

impl Random {
    pub(super) fn numbers(&mut self, len: usize) -> Vec<bf16> {
        let mut numbers = Vec::with_capacity(len);
        while numbers.len() < len {
            let part = &pool()[self.at..];
            let part = &part[..part.len().min(len - numbers.len())];
            numbers.extend_from_slice(part);
            self.at = (self.at + part.len()) % POOL;
        }
        numbers
    }
}

/// Copies of a job's memory that keep launches out of each other's caches, as far as that takes no more than 2,048.
pub fn copies(job: &Job) -> usize {
    let rotated = match job.kernel {
        Kernel::Gather => GATHERED_BYTES,
        _ => ROTATED_BYTES,
    };
    rotated
        .div_ceil(work(job).bytes.max(1))
        .clamp(2, MAX_COPIES) as usize
}

/// Puts `copies` copies of a job's memory on the device.
///
/// # Errors
/// What the device gives, [`Error::OutOfMemory`] above all.
pub fn prepare(device: &Device, job: &Job, copies: usize) -> Result<Prepared, Failure> {
    let random = &mut Random::default();
    let answer = match job.kernel {
        Kernel::Prefill => prefill(device, job, copies, random, false)?,
        Kernel::PrefillLse => prefill(device, job, copies, random, true)?,
        Kernel::Score => score(device, job, copies, random)?,
        Kernel::Select => select(device, job, copies, random)?,
        Kernel::Gather => gather(device, job, copies, random)?,
        Kernel::Decode => decode(device, job, copies, random)?,
        Kernel::RmsNorm => rms_norm(device, job, copies, random)?,
        Kernel::Rope => rope(device, job, copies, random)?,
        Kernel::SiluMul => silu_mul(device, job, copies, random)?,
        Kernel::Sample => sample(device, job, copies, random)?,
        Kernel::Embedding => embedding(device, job, copies, random)?,
        Kernel::Advance => advance(device, job, copies)?,
    };
    Ok(Prepared { copies, answer })
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
) -> Result<Answer, Error> {
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
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let (q, k, v, o, rows) = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            let lse = if lse { Some(rows.download()?) } else { None };
            let (q, k, v, o) = (q.download()?, k.download()?, v.download()?, o.download()?);
            let tensors = expected::Attention {
                q: &q,
                k: &k,
                v: &v,
                shape_q,
                shape_kv,
                softmax_scale,
            };
            return tensors.check(&o, lse.as_deref());
        }
        let lse = if lse {
            let shape = [shape_q[0], shape_q[2], seqlen];
            Some(RowsF32Mut::new(rows.view_mut(), shape)?)
        } else {
            None
        };
        Ok(ops::prefill(
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
        )?)
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

fn score(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Answer, Error> {
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
    let lse_of_all = (job.seqlen as f32).ln() + 0.5;
    let lse = device.upload(&vec![lse_of_all; shape_lse.iter().product()])?;
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
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let (q, k, scores) = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            let tensors = expected::Attention {
                q: &q.download()?,
                k: &k.download()?,
                v: &[],
                shape_q,
                shape_kv,
                softmax_scale,
            };
            return tensors.check_scores(lse_of_all, &scores.download()?, windows);
        }
        Ok(ops::score(
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
        )?)
    }))
}

fn select(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Answer, Error> {
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
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let (scores, indices, num_kept) = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            expected::same("num_kept", &num_kept.download()?, &vec![keep as i32; batch])?;
            let scores = scores.download()?;
            return expected::check_selection(&scores, windows, &indices.download()?, keep);
        }
        Ok(ops::select(
            &device,
            ops::SelectParams {
                scores: Matrix::new(scores.view(), batch, windows)?,
                num_windows: num_windows.view(),
                num_keep: num_keep.view(),
                indices: MatrixMut::new(indices.view_mut(), batch, keep)?,
                num_kept: num_kept.view_mut(),
                flags: None,
            },
        )?)
    }))
}

fn gather(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Answer, Error> {
    let (_, shape_kv) = shapes(job);
    let ((tokens, keep), windows, batch) = (kept(job.seqlen), num_windows(job), job.batch);
    let shape_cache = [batch, tokens, shape_kv[2], shape_kv[3]];
    let layout = CacheLayout::contiguous(shape_cache, Shape::new(shape_cache).tokens_outermost());
    // The layers of a group share the source's numbers and not its memory.
    let source = random.numbers(elements(shape_kv));
    let mut sets = each(copies, || {
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
    let chosen: Vec<i32> = (0..keep)
        .map(|i| (i * windows / keep.max(1)) as i32)
        .collect();
    let indices = device.upload(&chosen.repeat(batch))?;
    let num_kept = device.upload(&vec![keep as i32; batch])?;
    let mut kept_lens = device.poisoned::<i32>(batch)?;
    let observations = observations(device, job)?;
    let (device, seqlen) = (device.clone(), job.seqlen);
    Ok(Box::new(move |ask| {
        let count = sets.len();
        if ask == Ask::Check {
            let lens = vec![tokens as i32; batch];
            expected::same("kept_lens", &kept_lens.download()?, &lens)?;
            // All sources hold the same numbers.
            let source = sets[0][0].0[0].download()?;
            for cache in sets[0].iter().flat_map(|(_, caches)| caches) {
                let cache = cache.download()?;
                expected::check_gathered(&source, shape_kv, &cache, tokens, &chosen)?;
            }
            return Ok(());
        }
        let mut layers = Vec::with_capacity(LAYERS);
        for ([k, v], [k_cache, v_cache]) in &mut sets[ask.copy() % count] {
            layers.push(ops::GatherLayer {
                k: Tensor::new(k.view(), shape_kv)?,
                v: Tensor::new(v.view(), shape_kv)?,
                cache: CacheMut {
                    k: k_cache.view_mut(),
                    v: v_cache.view_mut(),
                },
            });
        }
        Ok(ops::gather(
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
        )?)
    }))
}

fn decode(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Answer, Error> {
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
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let (q, new, k_cache, v_cache, o) = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            let tensors = expected::Attention {
                q: &q.download()?,
                k: &k_cache.download()?,
                v: &v_cache.download()?,
                shape_q,
                shape_kv: shape_cache,
                softmax_scale,
            };
            tensors.check_appended(&new.download()?)?;
            return tensors.check(&o.download()?, None);
        }
        let token = Tensor::new(new.view(), shape_new)?;
        Ok(ops::decode(
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
        )?)
    }))
}

fn rms_norm(
    device: &Device,
    job: &Job,
    copies: usize,
    random: &mut Random,
) -> Result<Answer, Error> {
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
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let (x, sum, out) = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            let (sum, weight) = (sum.download()?, weight.download()?);
            return expected::check_norm(&sum, &weight, 1e-5, &out.download()?);
        }
        Ok(ops::rms_norm(
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
        )?)
    }))
}

/// The base of the rotary embedding's frequencies.
const THETA: f64 = 500_000.0;

fn rope(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Answer, Error> {
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
    let turns = device.upload(&ops::rope_turns(model.head_dim, THETA, None)?)?;
    let before = (sets[0].0.download()?, sets[0].1.download()?);
    let head_dim = model.head_dim;
    let device = device.clone();
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let (q, k) = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            for (what, before, after) in [("q", &before.0, q), ("k", &before.1, k)] {
                expected::check_rope(what, before, &after.download()?, tokens, head_dim, THETA)?;
            }
            return Ok(());
        }
        Ok(ops::rope(
            &device,
            ops::RopeParams {
                q: TensorMut::new(q.view_mut(), shape_q)?,
                k: Some(TensorMut::new(k.view_mut(), shape_k)?),
                positions: positions.view(),
                turns: turns.view(),
            },
        )?)
    }))
}

fn silu_mul(
    device: &Device,
    job: &Job,
    copies: usize,
    random: &mut Random,
) -> Result<Answer, Error> {
    let (rows, columns) = (job.batch * job.seqlen, job.model.intermediate);
    let mut sets = each(copies, || {
        Ok((
            device.upload(&random.numbers(rows * columns))?,
            device.upload(&random.numbers(rows * columns))?,
            device.poisoned::<bf16>(rows * columns)?,
        ))
    })?;
    let device = device.clone();
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let (gate, up, out) = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            let (gate, up) = (gate.download()?, up.download()?);
            return expected::check_silu_mul(&gate, &up, columns, &out.download()?);
        }
        Ok(ops::silu_mul(
            &device,
            ops::SiluMulParams {
                gate: InOut::Apart(
                    Matrix::new(gate.view(), rows, columns)?,
                    MatrixMut::new(out.view_mut(), rows, columns)?,
                ),
                up: Matrix::new(up.view(), rows, columns)?,
            },
        )?)
    }))
}

fn sample(device: &Device, job: &Job, copies: usize, random: &mut Random) -> Result<Answer, Error> {
    let (rows, vocab) = (job.batch * job.seqlen, job.model.vocab);
    let mut sets = each(copies, || {
        Ok((
            device.upload(&random.numbers(rows * vocab))?,
            device.poisoned::<i32>(rows)?,
        ))
    })?;
    let device = device.clone();
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let (logits, tokens) = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            return expected::check_sample(&logits.download()?, vocab, &tokens.download()?);
        }
        Ok(ops::sample(
            &device,
            ops::SampleParams {
                logits: Matrix::new(logits.view(), rows, vocab)?,
                sampling: None,
                tokens: tokens.view_mut(),
                flags: None,
            },
        )?)
    }))
}

fn embedding(
    device: &Device,
    job: &Job,
    copies: usize,
    random: &mut Random,
) -> Result<Answer, Error> {
    let (rows, hidden, vocab) = (job.batch * job.seqlen, job.model.hidden, job.model.vocab);
    // One table, as models have it; each copy reads other rows of it.
    let table = device.upload(&random.numbers(vocab * hidden))?;
    let mut next = 0;
    let mut sets = each(copies, || {
        let ids: Vec<i32> = (0..rows)
            .map(|_| {
                // A large odd step: rows far apart, and each once before any comes again.
                next = (next + 48_271) % vocab;
                next as i32
            })
            .collect();
        Ok((
            device.upload(&ids)?,
            device.poisoned::<bf16>(rows * hidden)?,
        ))
    })?;
    let device = device.clone();
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let (ids, out) = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            let (table, ids) = (table.download()?, ids.download()?);
            return expected::check_embedding(&table, &ids, hidden, &out.download()?);
        }
        Ok(ops::embedding(
            &device,
            ops::EmbeddingParams {
                table: Matrix::new(table.view(), vocab, hidden)?,
                ids: ids.view(),
                out: MatrixMut::new(out.view_mut(), rows, hidden)?,
                flags: None,
            },
        )?)
    }))
}

fn advance(device: &Device, job: &Job, copies: usize) -> Result<Answer, Error> {
    let before = vec![job.seqlen as i32; job.batch];
    let mut sets = each(copies, || device.upload(&before))?;
    let device = device.clone();
    Ok(Box::new(move |ask| {
        let count = sets.len();
        let lens = &mut sets[ask.copy() % count];
        if ask == Ask::Check {
            let after: Vec<i32> = before.iter().map(|len| len + 1).collect();
            return expected::same("the lengths", &lens.download()?, &after);
        }
        Ok(ops::advance(&device, lens.view_mut(), 1)?)
    }))
}
