//! Gathers the chosen windows and the suffix of two layers into compact caches, then compacts one in place.
//!
//! ```sh
//! cargo run --release -p windowkv-kernels --example 03_gather
//! ```

mod common;

use half::bf16;
use windowkv_kernels::{CacheLayout, CacheMut, Matrix, Observation, Sequences, Shape, Tensor, ops};

const SEQLEN: usize = 22;
const SUFFIX_LEN: usize = 4;
const WINDOW_LEN: usize = 4;
const HEADS: usize = 2;
const HEAD_DIM: usize = 32;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = common::device()?;
    // Each number of a token is the token's position, so that the cache tells what it holds.
    let positions: Vec<bf16> = (0..SEQLEN * HEADS * HEAD_DIM)
        .map(|i| bf16::from_f32((i / (HEADS * HEAD_DIM)) as f32))
        .collect();
    let (k, v) = (device.upload(&positions)?, device.upload(&positions)?);
    let shape = [1, SEQLEN, HEADS, HEAD_DIM];
    let observations = device.upload(&[Observation {
        query_len: SUFFIX_LEN as i32,
        suffix_len: SUFFIX_LEN as i32,
        window_len: WINDOW_LEN as i32,
        top_tokens: WINDOW_LEN as i32,
    }])?;
    // Windows 1 and 4 of five; the last one has two tokens only.
    let indices = device.upload(&[1_i32, 4])?;
    let num_kept = device.upload(&[2_i32])?;
    let windows = ops::KeptWindows {
        observations: observations.view(),
        indices: Matrix::new(indices.view(), 1, 2)?,
        num_kept: num_kept.view(),
    };

    let shape_cache = [1, 16, HEADS, HEAD_DIM];
    let layout = CacheLayout::contiguous(shape_cache, Shape::new(shape_cache).tokens_outermost());
    let elements: usize = shape_cache.iter().product();
    let mut caches = Vec::new();
    for _layer in 0..2 {
        caches.push((
            device.poisoned::<bf16>(elements)?,
            device.poisoned::<bf16>(elements)?,
        ));
    }
    let mut layers = Vec::new();
    for (k_cache, v_cache) in &mut caches {
        layers.push(ops::GatherLayer {
            k: Tensor::new(k.view(), shape)?,
            v: Tensor::new(v.view(), shape)?,
            cache: CacheMut {
                k: k_cache.view_mut(),
                v: v_cache.view_mut(),
            },
        });
    }
    let mut kept_lens = device.poisoned::<i32>(1)?;
    ops::gather(
        &device,
        ops::GatherParams {
            layers,
            sequences_kv: Sequences::padded(SEQLEN),
            cache: layout,
            windows,
            kept_lens: kept_lens.view_mut(),
            flags: None,
        },
    )?;
    let kept = kept_lens.download()?[0] as usize;
    let held = |memory: Vec<bf16>, kept: usize| -> Vec<f32> {
        memory
            .chunks(HEADS * HEAD_DIM)
            .take(kept)
            .map(|token| token[0].to_f32())
            .collect()
    };
    println!(
        "{kept} of {SEQLEN} tokens kept: {:?}",
        held(caches[0].0.download()?, kept)
    );

    // A second choice among what is left, in the same memory: window 1 of the six review tokens.
    let seqlens = device.upload(&[kept as i32])?;
    let indices = device.upload(&[1_i32])?;
    let num_kept = device.upload(&[1_i32])?;
    let (k_cache, v_cache) = &mut caches[0];
    ops::compact(
        &device,
        ops::CompactParams {
            layers: vec![CacheMut {
                k: k_cache.view_mut(),
                v: v_cache.view_mut(),
            }],
            cache: layout,
            sequences_kv: Sequences::padded(16).with_seqlens(seqlens.view()),
            windows: ops::KeptWindows {
                observations: observations.view(),
                indices: Matrix::new(indices.view(), 1, 1)?,
                num_kept: num_kept.view(),
            },
            kept_lens: kept_lens.view_mut(),
            flags: None,
        },
    )?;
    let kept = kept_lens.download()?[0] as usize;
    println!(
        "{kept} after compaction in place: {:?}",
        held(caches[0].0.download()?, kept)
    );
    Ok(())
}
