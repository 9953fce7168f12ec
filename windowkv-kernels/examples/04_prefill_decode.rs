//! Reads a prompt with `prefill`, then attends from one new token with `decode`: the two agree on the last row.
//!
//! ```sh
//! cargo run --release -p windowkv-kernels --example 04_prefill_decode
//! ```

mod common;

use half::bf16;
use windowkv_kernels::{CacheLayout, CacheMut, Sequences, Shape, Tensor, TensorMut, ops};

const SEQLEN: usize = 300;
const NUM_HEADS_Q: usize = 6;
const NUM_HEADS_KV: usize = 2;
const HEAD_DIM: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = common::device()?;
    let mut random = common::Random(4);
    let q = random.numbers(SEQLEN * NUM_HEADS_Q * HEAD_DIM);
    let kv = [
        random.numbers(SEQLEN * NUM_HEADS_KV * HEAD_DIM),
        random.numbers(SEQLEN * NUM_HEADS_KV * HEAD_DIM),
    ];
    let softmax_scale = (HEAD_DIM as f32).powf(-0.5);
    let shape_q = [1, SEQLEN, NUM_HEADS_Q, HEAD_DIM];
    let shape_kv = [1, SEQLEN, NUM_HEADS_KV, HEAD_DIM];

    // All rows at once.
    let q_device = device.upload(&q)?;
    let (mut k, mut v) = (device.upload(&kv[0])?, device.upload(&kv[1])?);
    let mut o = device.poisoned::<bf16>(q.len())?;
    ops::prefill(
        &device,
        ops::PrefillParams {
            q: Tensor::new(q_device.view(), shape_q)?,
            k: Tensor::new(k.view(), shape_kv)?,
            v: Tensor::new(v.view(), shape_kv)?,
            o: TensorMut::new(o.view_mut(), shape_q)?,
            lse: None,
            sequences_q: Sequences::padded(SEQLEN),
            sequences_kv: Sequences::padded(SEQLEN),
            softmax_scale,
            flags: None,
        },
    )?;

    // The last row by itself: the prompt but its last token is the cache, and that token is appended.
    let row = NUM_HEADS_Q * HEAD_DIM;
    let row_kv = NUM_HEADS_KV * HEAD_DIM;
    let last_q = device.upload(&q[q.len() - row..])?;
    let last_k = device.upload(&kv[0][kv[0].len() - row_kv..])?;
    let last_v = device.upload(&kv[1][kv[1].len() - row_kv..])?;
    let cache_lens = device.upload(&[SEQLEN as i32 - 1])?;
    let layout = CacheLayout::contiguous(shape_kv, Shape::new(shape_kv).tokens_outermost());
    let shape_last = [1, 1, NUM_HEADS_Q, HEAD_DIM];
    let bytes = ops::decode_workspace_size::<bf16>(&device, Shape::new(shape_last), &layout)?;
    let mut workspace = device.zeroed::<u8>(bytes)?;
    let mut last = device.poisoned::<bf16>(row)?;
    ops::decode(
        &device,
        ops::DecodeParams {
            q: Tensor::new(last_q.view(), shape_last)?,
            new: Some((
                Tensor::new(last_k.view(), [1, 1, NUM_HEADS_KV, HEAD_DIM])?,
                Tensor::new(last_v.view(), [1, 1, NUM_HEADS_KV, HEAD_DIM])?,
            )),
            o: TensorMut::new(last.view_mut(), shape_last)?,
            lse: None,
            cache: CacheMut {
                k: k.view_mut(),
                v: v.view_mut(),
            },
            layout,
            cache_lens: cache_lens.view(),
            softmax_scale,
            workspace: workspace.view_mut(),
            flags: None,
        },
    )?;

    let (all, last) = (o.download()?, last.download()?);
    let difference = all[all.len() - row..]
        .iter()
        .zip(&last)
        .map(|(a, b)| (a.to_f32() - b.to_f32()).abs())
        .fold(0.0, f32::max);
    println!(
        "{SEQLEN} tokens, {NUM_HEADS_Q} query heads on {NUM_HEADS_KV} KV heads, on {}",
        device.name()
    );
    println!("the last row of prefill and the decoded one differ by at most {difference:.5}");
    println!("first numbers: {:?}", &last[..4]);
    Ok(())
}
