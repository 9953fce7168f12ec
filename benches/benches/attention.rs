//! Attention and scoring of one layer: 12 query heads over 4 KV heads of 64, float32.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array2, s};
use windowkv_benches::random;
use windowkv_ref::{attention, scoring, softmax_scale};

const NUM_HEADS_Q: usize = 12;
const NUM_HEADS_KV: usize = 4;
const HEAD_DIM: usize = 64;
/// Query rows that WindowKV observes.
const OBSERVED: usize = 32;

/// Elements of throughput are multiply-adds that causal attention needs.
fn prefill(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention/prefill");
    for seqlen in [512, 2048] {
        let q = random((seqlen, NUM_HEADS_Q, HEAD_DIM), 1);
        let k = random((seqlen, NUM_HEADS_KV, HEAD_DIM), 2);
        let v = random((seqlen, NUM_HEADS_KV, HEAD_DIM), 3);
        let scale = softmax_scale(HEAD_DIM);
        let pairs = seqlen * (seqlen + 1) / 2;
        group.throughput(Throughput::Elements(
            (2 * pairs * NUM_HEADS_Q * HEAD_DIM) as u64,
        ));
        group.bench_function(BenchmarkId::from_parameter(seqlen), |b| {
            b.iter(|| attention::prefill(q.view(), k.view(), v.view(), black_box(scale)).unwrap())
        });
    }
    group.finish();
}

/// Bytes of throughput are the cache's keys and values.
fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention/decode");
    for cache_len in [256, 2048, 8192] {
        let q = random((1, NUM_HEADS_Q, HEAD_DIM), 1);
        // As the cache stores them: the tokens of a head lie together.
        let k = random((NUM_HEADS_KV, cache_len, HEAD_DIM), 2);
        let v = random((NUM_HEADS_KV, cache_len, HEAD_DIM), 3);
        let (k, v) = (
            k.view().permuted_axes([1, 0, 2]),
            v.view().permuted_axes([1, 0, 2]),
        );
        let q = q.slice(s![0, .., ..]);
        let scale = softmax_scale(HEAD_DIM);
        group.throughput(Throughput::Bytes(4 * (k.len() + v.len()) as u64));
        group.bench_function(BenchmarkId::from_parameter(cache_len), |b| {
            b.iter(|| attention::decode(q, k, v, black_box(scale)).unwrap())
        });
    }
    group.finish();
}

/// Column scores of the observed rows; elements of throughput are keys.
fn column_scores(c: &mut Criterion) {
    let mut group = c.benchmark_group("scoring/column_scores");
    for seqlen in [2048, 8192] {
        let q = random((OBSERVED, NUM_HEADS_Q, HEAD_DIM), 1);
        let k = random((seqlen, NUM_HEADS_KV, HEAD_DIM), 2);
        let lse = Array2::from_elem((NUM_HEADS_Q, OBSERVED), (seqlen as f32).ln());
        let (scale, columns) = (softmax_scale(HEAD_DIM), seqlen - OBSERVED);
        group.throughput(Throughput::Elements(seqlen as u64));
        group.bench_function(BenchmarkId::from_parameter(seqlen), |b| {
            b.iter(|| {
                scoring::column_scores(q.view(), k.view(), lse.view(), black_box(scale), columns)
                    .unwrap()
            })
        });
    }
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group!(name = benches; config = config(); targets = prefill, decode, column_scores);
criterion_main!(benches);
