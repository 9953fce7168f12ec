//! Scores the windows of a random K: which stretches of a prompt do its last tokens attend to?
//!
//! ```sh
//! cargo run --release -p windowkv-kernels --example 01_score_windows            # on the emulated GPU
//! cargo run --release -p windowkv-kernels --features cuda --example 01_score_windows -- cuda
//! ```

mod common;

use half::bf16;
use windowkv_kernels::{MatrixMut, Observation, RowsF32, Sequences, Tensor, ops};

const SEQLEN: usize = 200;
const SUFFIX_LEN: usize = 8;
const WINDOW_LEN: usize = 16;
const NUM_HEADS_Q: usize = 4;
const NUM_HEADS_KV: usize = 2;
const HEAD_DIM: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = common::device()?;
    let mut random = common::Random(1);

    // A prompt's keys, and the queries of its last tokens.
    let q = random.numbers(SUFFIX_LEN * NUM_HEADS_Q * HEAD_DIM);
    let mut k = random.numbers(SEQLEN * NUM_HEADS_KV * HEAD_DIM);
    // Tokens 96 to 111, window 6, are what the last query of each head looks for.
    for token in 96..112 {
        for head in 0..NUM_HEADS_KV {
            let query = (SUFFIX_LEN * NUM_HEADS_Q - NUM_HEADS_Q + head * 2) * HEAD_DIM;
            let key = (token * NUM_HEADS_KV + head) * HEAD_DIM;
            for i in 0..HEAD_DIM {
                k[key + i] = bf16::from_f32(3.0 * q[query + i].to_f32());
            }
        }
    }
    let softmax_scale = (HEAD_DIM as f32).powf(-0.5);
    let lse = log_sum_exps(&q, &k, softmax_scale);

    let (q, k, lse) = (device.upload(&q)?, device.upload(&k)?, device.upload(&lse)?);
    let observations = device.upload(&[Observation {
        query_len: SUFFIX_LEN as i32,
        suffix_len: SUFFIX_LEN as i32,
        window_len: WINDOW_LEN as i32,
        top_tokens: WINDOW_LEN as i32,
    }])?;
    let num_windows = (SEQLEN - SUFFIX_LEN).div_ceil(WINDOW_LEN);
    let mut scores = device.poisoned::<f32>(num_windows)?;

    let input = ops::ScoreInput {
        q: Tensor::new(q.view(), [1, SUFFIX_LEN, NUM_HEADS_Q, HEAD_DIM])?,
        k: Tensor::new(k.view(), [1, SEQLEN, NUM_HEADS_KV, HEAD_DIM])?,
        lse: RowsF32::new(lse.view(), [1, NUM_HEADS_Q, SUFFIX_LEN])?,
        sequences_q: Sequences::padded(SUFFIX_LEN),
        sequences_kv: Sequences::padded(SEQLEN),
    };
    let mut workspace = device.poisoned::<u8>(ops::score_workspace_size(&device, &input)?)?;
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
            flags: None,
        },
    )?;

    println!(
        "{NUM_HEADS_Q} query heads, {SEQLEN} tokens, windows of {WINDOW_LEN}, on {}",
        device.name()
    );
    let scores = scores.download()?;
    let largest = scores.iter().copied().fold(0.0, f32::max);
    for (window, score) in scores.iter().enumerate() {
        let bar = "#".repeat((score / largest * 40.0).round() as usize);
        println!("window {window:2}  {score:.4}  {bar}");
    }
    Ok(())
}

/// What prefill attention gives beside its output, `[NUM_HEADS_Q, SUFFIX_LEN]`; here by plain loops.
fn log_sum_exps(q: &[bf16], k: &[bf16], softmax_scale: f32) -> Vec<f32> {
    let group = NUM_HEADS_Q / NUM_HEADS_KV;
    let mut lse = Vec::new();
    for head in 0..NUM_HEADS_Q {
        for row in 0..SUFFIX_LEN {
            let query = &q[(row * NUM_HEADS_Q + head) * HEAD_DIM..][..HEAD_DIM];
            let visible = SEQLEN - SUFFIX_LEN + row + 1;
            let sum: f32 = (0..visible)
                .map(|token| {
                    let key = &k[(token * NUM_HEADS_KV + head / group) * HEAD_DIM..][..HEAD_DIM];
                    let product: f32 = query
                        .iter()
                        .zip(key)
                        .map(|(q, k)| q.to_f32() * k.to_f32())
                        .sum();
                    (product * softmax_scale).exp()
                })
                .sum();
            lse.push(sum.ln());
        }
    }
    lse
}
