//! The kernels, each at a few sizes: on GPU 0 with the feature `cuda`, timed by CUDA events; without it, or without a
//! GPU, on the emulated one at a tiny size, whose times are those of the emulation.
//!
//! `gpu-bench` makes the record beside PyTorch; this one is for a change that is being worked on.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windowkv_benches::gpu::clock::{Batch, Clock};
use windowkv_benches::gpu::floor::work;
use windowkv_benches::gpu::launch::prepare;
use windowkv_benches::gpu::shape::JobSet;
use windowkv_kernels::Device;

/// Seconds as the device's clock gives them; criterion formats them as it does its own.
struct DeviceTime;

impl Measurement for DeviceTime {
    type Intermediate = ();
    type Value = Duration;

    fn start(&self) -> Self::Intermediate {}
    /// Every bench here gives its own time, by `iter_custom`.
    fn end(&self, (): Self::Intermediate) -> Self::Value {
        Duration::ZERO
    }
    fn add(&self, a: &Self::Value, b: &Self::Value) -> Self::Value {
        *a + *b
    }
    fn zero(&self) -> Self::Value {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Self::Value) -> f64 {
        WallTime.to_f64(value)
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn kernels(c: &mut Criterion<DeviceTime>) {
    let (clock, set) = match Clock::cuda() {
        Ok(clock) => (clock, JobSet::Main),
        Err(why) => {
            eprintln!("skipped, the sizes of models: {why}");
            eprintln!("on the emulated GPU instead, a tiny layer:");
            (Clock::Emulated(Device::emulated()), JobSet::Tiny)
        }
    };
    for job in set.jobs() {
        let mut prepared = match prepare(clock.device(), &job, clock.is_gpu()) {
            Ok(prepared) => prepared,
            Err(why) => {
                eprintln!("skipped, {job:?}: {why}");
                continue;
            }
        };
        let mut group = c.benchmark_group(format!("kernels/{}", job.kernel.name()));
        group.throughput(Throughput::Bytes(work(&job).bytes));
        let name = format!("{}/{}x{}", job.model.name, job.batch, job.seqlen);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            let mut batch: Option<(u64, Batch)> = None;
            b.iter_custom(|iterations| {
                if batch
                    .as_ref()
                    .is_none_or(|(launches, _)| *launches != iterations)
                {
                    let made = clock.batch(&mut prepared, iterations as usize);
                    batch = Some((iterations, made.expect("it was launched before")));
                }
                let (_, batch) = batch.as_ref().expect("it was just made");
                let seconds = clock
                    .time(&mut prepared, batch)
                    .expect("it was launched before");
                Duration::from_secs_f64(seconds * iterations as f64)
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(DeviceTime).sample_size(10);
    targets = kernels
}
criterion_main!(benches);
