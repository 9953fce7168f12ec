//! The kernels, each at many sizes: on GPU 0 with the feature `cuda`, timed by CUDA events; without it, or without a
//! GPU, on the emulated one at a tiny size, whose times are those of the emulation.
//!
//! `gpu-bench` makes the record beside PyTorch; this one is for a change that is being worked on, with a filter such as
//! `kernels/prefill/Llama-3-8B`.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windowkv_benches::gpu::Failure;
use windowkv_benches::gpu::clock::{Batch, Clock};
use windowkv_benches::gpu::floor::work;
use windowkv_benches::gpu::launch::{Prepared, copies, prepare};
use windowkv_benches::gpu::measure::ROUND_SECONDS;
use windowkv_benches::gpu::shape::{Job, JobSet};
use windowkv_kernels::Device;

/// Launches of a graph: criterion asks for millions, which are replays.
const MOST: usize = 256;

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

/// A job on the device, checked, and its launches.
fn ready(clock: &Clock, job: &Job) -> Result<(Prepared, Batch), Failure> {
    let copies = if clock.is_gpu() { copies(job) } else { 1 };
    let mut prepared = prepare(clock.device(), job, copies)?;
    prepared.launch(0)?;
    prepared.check()?;
    let batch = clock.batch(&mut prepared, ROUND_SECONDS, MOST)?;
    clock.warm_up(&mut prepared, &batch)?;
    Ok((prepared, batch))
}

fn kernels(c: &mut Criterion<DeviceTime>) {
    let (clock, jobs) = match Clock::cuda() {
        Ok(clock) => {
            let mut jobs = JobSet::Main.jobs();
            jobs.extend(JobSet::Rest.jobs());
            (clock, jobs)
        }
        Err(why) => {
            eprintln!("skipped, the sizes of models: {why}");
            eprintln!("on the emulated GPU instead, a tiny layer:");
            (Clock::Emulated(Device::emulated()), JobSet::Tiny.jobs())
        }
    };
    for job in jobs {
        // Only when it is run: a filter may leave it out.
        let mut made: Option<Result<(Prepared, Batch), Failure>> = None;
        let mut group = c.benchmark_group(format!("kernels/{}", job.kernel.name()));
        group.throughput(Throughput::Bytes(work(&job).bytes));
        let name = format!("{}/{}x{}", job.model.name, job.batch, job.seqlen);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            let made = made.get_or_insert_with(|| ready(&clock, &job));
            b.iter_custom(|iterations| match made {
                Ok((prepared, batch)) => {
                    let replays = iterations.div_ceil(batch.launches() as u64);
                    let seconds: f64 = (0..replays)
                        .map(|_| clock.time(prepared, batch).expect("it ran before"))
                        .sum();
                    Duration::from_secs_f64(seconds / replays as f64 * iterations as f64)
                }
                Err(why) => panic!("{}: {why}", job.name()),
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
