//! One layer's way from a scored prompt to a new token, in as many launches as a runner would put into a graph.

use half::bf16;
use windowkv_kernels::{
    Buffer, CacheLayout, CacheMut, Device, Error, Flags, Matrix, MatrixMut, Observation, RowsF32,
    RowsF32Mut, Sequences, Shape, Tensor, TensorMut, ops,
};

const SEQLEN: usize = 200;
const NUM_HEADS_Q: usize = 4;
const NUM_HEADS_KV: usize = 2;
const HEAD_DIM: usize = 64;
const SUFFIX_LEN: usize = 16;
const WINDOW_LEN: usize = 16;
const NUM_WINDOWS: usize = (SEQLEN - SUFFIX_LEN).div_ceil(WINDOW_LEN);
const NUM_KEEP: usize = 8;
/// More than one split, so that decode's workspace is used.
const CAPACITY: usize = NUM_KEEP * WINDOW_LEN + SUFFIX_LEN + 4;

const SHAPE_Q: [usize; 4] = [1, SEQLEN, NUM_HEADS_Q, HEAD_DIM];
const SHAPE_KV: [usize; 4] = [1, SEQLEN, NUM_HEADS_KV, HEAD_DIM];
const SHAPE_CACHE: [usize; 4] = [1, CAPACITY, NUM_HEADS_KV, HEAD_DIM];
const SHAPE_ROW: [usize; 4] = [1, 1, NUM_HEADS_Q, HEAD_DIM];
const SHAPE_NEW: [usize; 4] = [1, 1, NUM_HEADS_KV, HEAD_DIM];

fn elements(shape: [usize; 4]) -> usize {
    shape.iter().product()
}

/// All memory of the launches.
pub(crate) struct Compression {
    /// q, k and v of the prompt, then of the new token.
    inputs: [Buffer<bf16>; 6],
    o: Buffer<bf16>,
    lse: Buffer<f32>,
    observations: Buffer<Observation>,
    scores: Buffer<f32>,
    score_workspace: Buffer<u8>,
    num_windows: Buffer<i32>,
    num_keep: Buffer<i32>,
    indices: Buffer<i32>,
    num_kept: Buffer<i32>,
    cache: [Buffer<bf16>; 2],
    cache_lens: Buffer<i32>,
    decode_workspace: Buffer<u8>,
    o_new: Buffer<bf16>,
    flags: Buffer<u32>,
}

/// What they leave behind.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) kept: Vec<i32>,
    pub(crate) cache_len: i32,
    pub(crate) o: Vec<bf16>,
    pub(crate) flags: Flags,
}

fn layout() -> CacheLayout<'static> {
    CacheLayout::contiguous(SHAPE_CACHE, Shape::new(SHAPE_CACHE).tokens_outermost())
}

/// Numbers in [-1, 1).
fn numbers(seed: u64, len: usize) -> Vec<bf16> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bf16::from_f32((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

impl Compression {
    pub(crate) fn new(device: &Device) -> Result<Self, Error> {
        let shapes = [SHAPE_Q, SHAPE_KV, SHAPE_KV, SHAPE_ROW, SHAPE_NEW, SHAPE_NEW];
        let [q, k, v, q_new, k_new, v_new] = shapes.map(|s| device.poisoned::<bf16>(elements(s)));
        let inputs = [q?, k?, v?, q_new?, k_new?, v_new?];
        let lse = device.poisoned::<f32>(NUM_HEADS_Q * SEQLEN)?;
        let score_bytes = ops::score_workspace_size(device, &score_input(&inputs, &lse)?)?;
        let decode_bytes =
            ops::decode_workspace_size::<bf16>(device, Shape::new(SHAPE_ROW), &layout())?;
        assert!(decode_bytes > 0, "one split needs no workspace");
        let cache = || device.poisoned::<bf16>(elements(SHAPE_CACHE));
        Ok(Self {
            o: device.poisoned(elements(SHAPE_Q))?,
            observations: device.upload(&[Observation {
                query_len: SUFFIX_LEN as i32,
                suffix_len: SUFFIX_LEN as i32,
                window_len: WINDOW_LEN as i32,
                top_tokens: 4,
            }])?,
            scores: device.poisoned(NUM_WINDOWS)?,
            score_workspace: device.poisoned(score_bytes)?,
            num_windows: device.upload(&[NUM_WINDOWS as i32])?,
            num_keep: device.upload(&[NUM_KEEP as i32])?,
            indices: device.poisoned(NUM_KEEP)?,
            num_kept: device.poisoned(1)?,
            cache: [cache()?, cache()?],
            cache_lens: device.poisoned(1)?,
            decode_workspace: device.zeroed(decode_bytes)?,
            o_new: device.poisoned(elements(SHAPE_ROW))?,
            flags: device.zeroed(1)?,
            inputs,
            lse,
        })
    }

    /// Another prompt and another token.
    pub(crate) fn set_inputs(&mut self, seed: u64) -> Result<(), Error> {
        for (i, buffer) in self.inputs.iter_mut().enumerate() {
            buffer.write(&numbers(10 * seed + i as u64, buffer.len()))?;
        }
        Ok(())
    }

    /// The launches: prefill, score, select, gather, decode, advance.
    pub(crate) fn launch(&mut self, device: &Device) -> Result<(), Error> {
        let softmax_scale = (HEAD_DIM as f32).powf(-0.5);
        let [q, k, v, q_new, k_new, v_new] = &self.inputs;
        ops::prefill(
            device,
            ops::PrefillParams {
                q: Tensor::new(q.view(), SHAPE_Q)?,
                k: Tensor::new(k.view(), SHAPE_KV)?,
                v: Tensor::new(v.view(), SHAPE_KV)?,
                o: TensorMut::new(self.o.view_mut(), SHAPE_Q)?,
                lse: Some(RowsF32Mut::new(
                    self.lse.view_mut(),
                    [1, NUM_HEADS_Q, SEQLEN],
                )?),
                sequences_q: Sequences::padded(SEQLEN),
                sequences_kv: Sequences::padded(SEQLEN),
                softmax_scale,
                flags: Some(self.flags.view_mut()),
            },
        )?;
        ops::score(
            device,
            ops::ScoreParams {
                input: score_input(&self.inputs, &self.lse)?,
                observations: self.observations.view(),
                column_scores: None,
                window_scores: Some(MatrixMut::new(self.scores.view_mut(), 1, NUM_WINDOWS)?),
                pooling: ops::Pooling::None,
                softmax_scale,
                workspace: self.score_workspace.view_mut(),
                flags: Some(self.flags.view_mut()),
            },
        )?;
        ops::select(
            device,
            ops::SelectParams {
                scores: Matrix::new(self.scores.view(), 1, NUM_WINDOWS)?,
                num_windows: self.num_windows.view(),
                num_keep: self.num_keep.view(),
                indices: MatrixMut::new(self.indices.view_mut(), 1, NUM_KEEP)?,
                num_kept: self.num_kept.view_mut(),
                flags: Some(self.flags.view_mut()),
            },
        )?;
        let [k_cache, v_cache] = &mut self.cache;
        ops::gather(
            device,
            ops::GatherParams {
                layers: vec![ops::GatherLayer {
                    k: Tensor::new(k.view(), SHAPE_KV)?,
                    v: Tensor::new(v.view(), SHAPE_KV)?,
                    cache: CacheMut {
                        k: k_cache.view_mut(),
                        v: v_cache.view_mut(),
                    },
                }],
                sequences_kv: Sequences::padded(SEQLEN),
                cache: layout(),
                windows: ops::KeptWindows {
                    observations: self.observations.view(),
                    indices: Matrix::new(self.indices.view(), 1, NUM_KEEP)?,
                    num_kept: self.num_kept.view(),
                },
                kept_lens: self.cache_lens.view_mut(),
                flags: Some(self.flags.view_mut()),
            },
        )?;
        ops::decode(
            device,
            ops::DecodeParams {
                q: Tensor::new(q_new.view(), SHAPE_ROW)?,
                new: Some((
                    Tensor::new(k_new.view(), SHAPE_NEW)?,
                    Tensor::new(v_new.view(), SHAPE_NEW)?,
                )),
                o: TensorMut::new(self.o_new.view_mut(), SHAPE_ROW)?,
                lse: None,
                cache: CacheMut {
                    k: k_cache.view_mut(),
                    v: v_cache.view_mut(),
                },
                layout: layout(),
                cache_lens: self.cache_lens.view(),
                softmax_scale,
                workspace: self.decode_workspace.view_mut(),
                flags: Some(self.flags.view_mut()),
            },
        )?;
        ops::advance(device, self.cache_lens.view_mut(), 1)
    }

    /// Waits for the launches.
    pub(crate) fn outcome(&self) -> Result<Outcome, Error> {
        Ok(Outcome {
            kept: self.indices.download()?,
            cache_len: self.cache_lens.download()?[0],
            o: self.o_new.download()?,
            flags: Flags::from_bits(self.flags.download()?[0]),
        })
    }
}

fn score_input<'a>(
    inputs: &'a [Buffer<bf16>; 6],
    lse: &'a Buffer<f32>,
) -> Result<ops::ScoreInput<'a, bf16>, Error> {
    Ok(ops::ScoreInput {
        q: Tensor::new(inputs[0].view(), SHAPE_Q)?,
        k: Tensor::new(inputs[1].view(), SHAPE_KV)?,
        lse: RowsF32::new(lse.view(), [1, NUM_HEADS_Q, SEQLEN])?,
        sequences_q: Sequences::padded(SEQLEN),
        sequences_kv: Sequences::padded(SEQLEN),
    })
}
