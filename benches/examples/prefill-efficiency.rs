//! How much of the GEMM crate's own rate prefill reaches: `peak` is one float32 product of 2048^3, `prefill`
//! the operations of all matrix products of a prompt, attention's included, over its whole time.
//!
//! Everything beside the products (norms, RoPE, softmax, gathering the cache) counts as time without operations.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use ndarray::Array2;
use serde_json::json;
use windowkv_model::config::ModelConfig;
use windowkv_model::runner::Llama;
use windowkv_model::weights::Weights;
use windowkv_ref::linalg::{Threads, matmul};
use windowkv_ref::methods::FullKv;

/// Rows and columns of the product that the peak is measured with.
const PEAK_SIZE: usize = 2048;

/// Compares prefill's rate with the GEMM crate's own
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  \
    cargo run --release -p windowkv-model --example random-checkpoint -- --out llama-150m\n  \
    cargo run --release -p windowkv-benches --example prefill-efficiency -- llama-150m\n  \
    RAYON_NUM_THREADS=1 cargo run --release -p windowkv-benches --example prefill-efficiency -- llama-150m --json")]
struct Args {
    /// Folder of the model
    model_dir: PathBuf,
    /// Length of the prompt
    #[arg(long, value_name = "N", default_value_t = 2048)]
    prompt_tokens: usize,
    /// Rounds, each the peak and then prefill; the ratio is the median of the rounds' ratios
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// One JSON object instead of a line
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let config = ModelConfig::load(&args.model_dir)?;
    let operations = operations(&config, args.prompt_tokens as f64);
    let weights = Weights::open(&args.model_dir, &config)?;
    let llama = Llama::new(config, weights)?;
    let vocab_size = llama.config().vocab_size;
    let ids: Vec<u32> = (0..args.prompt_tokens)
        .map(|i| (i * 7919 % vocab_size) as u32)
        .collect();
    let prefill = || llama.prefill(&ids, &FullKv, 0, &mut |_| ());
    prefill()?; // Maps the weights.

    let (mut peaks, mut rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds.max(1) {
        let peak = peak();
        let start = Instant::now();
        prefill()?;
        let rate = operations / start.elapsed().as_secs_f64();
        peaks.push(peak);
        rates.push(rate);
        ratios.push(rate / peak);
    }
    let (peak, rate, ratio) = (median(&peaks), median(&rates), median(&ratios));
    let threads = rayon::current_num_threads();
    if args.json {
        let report = json!({
            "threads": threads, "prompt_tokens": args.prompt_tokens, "operations": operations,
            "peak_flops": peak, "prefill_flops": rate, "ratio": ratio,
            "rounds": {"peak_flops": peaks, "prefill_flops": rates, "ratio": ratios},
        });
        println!("{report}");
    } else {
        println!(
            "prefill runs at {:.0} % of the GEMM crate's peak: {:.1} of {:.1} GFLOP/s ({threads} threads, \
             {} tokens, median of {} rounds)",
            100.0 * ratio,
            rate / 1e9,
            peak / 1e9,
            args.prompt_tokens,
            ratios.len()
        );
    }
    Ok(())
}

/// Additions and multiplications of the matrix products that prefill does: in the last layer, keys and values
/// for all tokens and the rest for one.
fn operations(c: &ModelConfig, tokens: f64) -> f64 {
    let (hidden, inner) = (c.hidden_size as f64, c.intermediate_size as f64);
    let (q, kv) = (c.q_size() as f64, c.kv_size() as f64);
    let full_layers = (c.num_layers - 1) as f64;
    let keys_and_values = 2.0 * hidden * kv;
    let rest = 2.0 * hidden * q + 3.0 * hidden * inner;
    let dense = tokens * (full_layers * (keys_and_values + rest) + keys_and_values) + rest;
    // Scores and outputs of each query with the keys up to its own.
    let attention = full_layers * tokens * (tokens + 1.0) * q + 2.0 * tokens * q;
    2.0 * (dense + hidden * c.vocab_size as f64) + 2.0 * attention
}

/// Operations a second of the crate on a large product, the best of three.
fn peak() -> f64 {
    let a = Array2::from_elem((PEAK_SIZE, PEAK_SIZE), 0.5f32);
    let b = Array2::from_elem((PEAK_SIZE, PEAK_SIZE), 0.25f32);
    let mut c = Array2::zeros((PEAK_SIZE, PEAK_SIZE));
    let seconds = (0..3).map(|_| {
        let start = Instant::now();
        matmul(a.view(), b.view(), c.view_mut(), false, Threads::All);
        start.elapsed().as_secs_f64()
    });
    2.0 * (PEAK_SIZE as f64).powi(3) / seconds.fold(f64::INFINITY, f64::min)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
