//! A group of layers as WindowKV runs it: prefill each layer, let the leader score and select, gather all of them in
//! one launch, and decode new tokens from the compact caches.
//!
//! ```sh
//! cargo run --release -p windowkv-kernels --example 05_group
//! ```

mod common;

use half::bf16;
use windowkv_kernels::{
    Buffer, CacheLayout, CacheMut, Flags, Matrix, MatrixMut, Observation, RowsF32, RowsF32Mut,
    Sequences, Shape, Tensor, TensorMut, ops,
};

const NUM_LAYERS: usize = 4;
const SEQLEN: usize = 256;
const NUM_HEADS_Q: usize = 4;
const NUM_HEADS_KV: usize = 2;
const HEAD_DIM: usize = 64;
const SUFFIX_LEN: usize = 16;
const WINDOW_LEN: usize = 8;
/// Windows that each layer of the group keeps.
const NUM_KEEP: usize = 6;
const NEW_TOKENS: usize = 4;

/// One layer's queries, keys and values after the rotary embedding, which a model would compute.
struct Layer {
    q: Buffer<bf16>,
    k: Buffer<bf16>,
    v: Buffer<bf16>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = common::device()?;
    let mut random = common::Random(5);
    let softmax_scale = (HEAD_DIM as f32).powf(-0.5);
    let shape_q = [1, SEQLEN, NUM_HEADS_Q, HEAD_DIM];
    let shape_kv = [1, SEQLEN, NUM_HEADS_KV, HEAD_DIM];
    let elements = |shape: [usize; 4]| shape.iter().product::<usize>();

    // Prefill, layer by layer. The log-sum-exp is what the leader's scores are made from.
    let mut lse = device.poisoned::<f32>(NUM_HEADS_Q * SEQLEN)?;
    let mut layers = Vec::new();
    for index in 0..NUM_LAYERS {
        let layer = Layer {
            q: device.upload(&random.numbers(elements(shape_q)))?,
            k: device.upload(&random.numbers(elements(shape_kv)))?,
            v: device.upload(&random.numbers(elements(shape_kv)))?,
        };
        let mut o = device.poisoned::<bf16>(elements(shape_q))?;
        let lse = match index {
            0 => Some(RowsF32Mut::new(lse.view_mut(), [1, NUM_HEADS_Q, SEQLEN])?),
            _ => None,
        };
        ops::prefill(
            &device,
            ops::PrefillParams {
                q: Tensor::new(layer.q.view(), shape_q)?,
                k: Tensor::new(layer.k.view(), shape_kv)?,
                v: Tensor::new(layer.v.view(), shape_kv)?,
                o: TensorMut::new(o.view_mut(), shape_q)?,
                lse,
                sequences_q: Sequences::padded(SEQLEN),
                sequences_kv: Sequences::padded(SEQLEN),
                softmax_scale,
                flags: None,
            },
        )?;
        layers.push(layer);
    }

    // The leader scores its windows and selects the best ones.
    let num_windows = (SEQLEN - SUFFIX_LEN).div_ceil(WINDOW_LEN);
    let observations = device.upload(&[Observation {
        query_len: SUFFIX_LEN as i32,
        suffix_len: SUFFIX_LEN as i32,
        window_len: WINDOW_LEN as i32,
        top_tokens: WINDOW_LEN as i32,
    }])?;
    let input = ops::ScoreInput {
        q: Tensor::new(layers[0].q.view(), shape_q)?,
        k: Tensor::new(layers[0].k.view(), shape_kv)?,
        lse: RowsF32::new(lse.view(), [1, NUM_HEADS_Q, SEQLEN])?,
        sequences_q: Sequences::padded(SEQLEN),
        sequences_kv: Sequences::padded(SEQLEN),
    };
    let mut workspace = device.poisoned::<u8>(ops::score_workspace_size(&device, &input)?)?;
    let mut scores = device.poisoned::<f32>(num_windows)?;
    let mut flags = device.zeroed::<u32>(1)?;
    ops::score(
        &device,
        ops::ScoreParams {
            input,
            observations: observations.view(),
            column_scores: None,
            window_scores: Some(MatrixMut::new(scores.view_mut(), 1, num_windows)?),
            pooling: ops::Pooling::None,
            softmax_scale,
            workspace: workspace.view_mut(),
            flags: Some(flags.view_mut()),
        },
    )?;
    let count_windows = device.upload(&[num_windows as i32])?;
    let count_keep = device.upload(&[NUM_KEEP as i32])?;
    let mut indices = device.poisoned::<i32>(NUM_KEEP)?;
    let mut num_kept = device.poisoned::<i32>(1)?;
    ops::select(
        &device,
        ops::SelectParams {
            scores: Matrix::new(scores.view(), 1, num_windows)?,
            num_windows: count_windows.view(),
            num_keep: count_keep.view(),
            indices: MatrixMut::new(indices.view_mut(), 1, NUM_KEEP)?,
            num_kept: num_kept.view_mut(),
            flags: Some(flags.view_mut()),
        },
    )?;

    // All layers keep the leader's windows; one launch gathers them.
    let capacity = NUM_KEEP * WINDOW_LEN + SUFFIX_LEN + NEW_TOKENS;
    let shape_cache = [1, capacity, NUM_HEADS_KV, HEAD_DIM];
    let layout = CacheLayout::contiguous(shape_cache, Shape::new(shape_cache).tokens_outermost());
    let mut caches = Vec::new();
    for _ in &layers {
        caches.push((
            device.poisoned::<bf16>(elements(shape_cache))?,
            device.poisoned::<bf16>(elements(shape_cache))?,
        ));
    }
    let mut gathered = Vec::new();
    for (layer, (k, v)) in layers.iter().zip(&mut caches) {
        gathered.push(ops::GatherLayer {
            k: Tensor::new(layer.k.view(), shape_kv)?,
            v: Tensor::new(layer.v.view(), shape_kv)?,
            cache: CacheMut {
                k: k.view_mut(),
                v: v.view_mut(),
            },
        });
    }
    let mut cache_lens = device.poisoned::<i32>(1)?;
    ops::gather(
        &device,
        ops::GatherParams {
            layers: gathered,
            sequences_kv: Sequences::padded(SEQLEN),
            cache: layout,
            windows: ops::KeptWindows {
                observations: observations.view(),
                indices: Matrix::new(indices.view(), 1, NUM_KEEP)?,
                num_kept: num_kept.view(),
            },
            kept_lens: cache_lens.view_mut(),
            flags: Some(flags.view_mut()),
        },
    )?;

    // New tokens attend to the compact caches and are appended to them; lengths stay on the device.
    let shape_new = [1, 1, NUM_HEADS_KV, HEAD_DIM];
    let shape_row = [1, 1, NUM_HEADS_Q, HEAD_DIM];
    let bytes = ops::decode_workspace_size::<bf16>(&device, Shape::new(shape_row), &layout)?;
    let mut workspace = device.zeroed::<u8>(bytes)?;
    for _token in 0..NEW_TOKENS {
        for (k_cache, v_cache) in &mut caches {
            let q = device.upload(&random.numbers(elements(shape_row)))?;
            let k = device.upload(&random.numbers(elements(shape_new)))?;
            let v = device.upload(&random.numbers(elements(shape_new)))?;
            let mut o = device.poisoned::<bf16>(elements(shape_row))?;
            ops::decode(
                &device,
                ops::DecodeParams {
                    q: Tensor::new(q.view(), shape_row)?,
                    new: Some((
                        Tensor::new(k.view(), shape_new)?,
                        Tensor::new(v.view(), shape_new)?,
                    )),
                    o: TensorMut::new(o.view_mut(), shape_row)?,
                    lse: None,
                    cache: CacheMut {
                        k: k_cache.view_mut(),
                        v: v_cache.view_mut(),
                    },
                    layout,
                    cache_lens: cache_lens.view(),
                    softmax_scale,
                    workspace: workspace.view_mut(),
                    flags: Some(flags.view_mut()),
                },
            )?;
        }
        ops::advance(&device, cache_lens.view_mut(), 1)?;
    }

    println!("{NUM_LAYERS} layers, {SEQLEN} tokens, on {}", device.name());
    println!("windows kept by all of them: {:?}", indices.download()?);
    println!(
        "{} tokens in each cache after {NEW_TOKENS} new ones, {} bytes for each layer instead of {}",
        cache_lens.download()?[0],
        2 * 2 * elements(shape_cache),
        2 * 2 * (elements(shape_kv) + NEW_TOKENS * NUM_HEADS_KV * HEAD_DIM),
    );
    let flags = Flags::from_bits(flags.download()?[0]);
    println!("nothing went wrong on the device: {}", flags.is_empty());
    Ok(())
}
