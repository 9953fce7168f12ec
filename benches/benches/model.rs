//! A random Llama of 8 layers, hidden 256: prefill's matrix products and a step of decode, by type of weights.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windowkv_benches::small_llama;
use windowkv_model::weights::DType;
use windowkv_ref::methods::FullKv;

const TYPES: [DType; 3] = [DType::F32, DType::Bf16, DType::F16];

/// Tokens a second of the whole prompt.
fn prefill(c: &mut Criterion) {
    let mut group = c.benchmark_group("model/prefill");
    for dtype in TYPES {
        let (_folder, llama) = small_llama(dtype);
        for seqlen in [128, 1024] {
            let ids: Vec<u32> = (0..seqlen)
                .map(|i| i * 7 % llama.config().vocab_size as u32)
                .collect();
            group.throughput(Throughput::Elements(seqlen.into()));
            group.bench_function(BenchmarkId::new(dtype.name(), seqlen), |b| {
                b.iter(|| llama.prefill(&ids, &FullKv, 0, &mut |_| ()).unwrap())
            });
        }
    }
    group.finish();
}

/// One token after a prompt of 256; bytes of throughput are the weights that it reads.
fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("model/decode");
    for dtype in TYPES {
        let (_folder, llama) = small_llama(dtype);
        let ids: Vec<u32> = (0..256).collect();
        let prefilled = llama.prefill(&ids, &FullKv, 1, &mut |_| ()).unwrap();
        group.throughput(Throughput::Bytes(llama.weights().total_bytes()));
        group.bench_function(dtype.name(), |b| {
            b.iter_batched(
                || prefilled.cache.clone(),
                |mut cache| llama.decode(&mut [(5, &mut cache)]).unwrap(),
                criterion::BatchSize::LargeInput,
            )
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

criterion_group!(name = benches; config = config(); targets = prefill, decode);
criterion_main!(benches);
