//! The CUDA backend and cudarc: without a driver a typed error, with a GPU its streams, memory and graphs. Under
//! `WINDOWKV_DEVICE=cuda` a missing GPU is a failure.
#![cfg(feature = "cuda")]

mod compression;
#[path = "../devices/mod.rs"]
mod devices;

use std::time::{Duration, Instant};

use compression::{Compression, Outcome};
use windowkv_kernels::cuda::cudarc::driver::{CudaContext, sys};
use windowkv_kernels::{Device, Error, Flags, Matrix, cuda, ops};

/// cudarc's context where there is a GPU; says so where there is none, and fails where one was asked for.
fn gpu() -> Option<std::sync::Arc<CudaContext>> {
    match cuda::context(0) {
        Ok(context) => Some(context),
        Err(error) => {
            assert!(
                devices::only().is_none_or(|name| name != "cuda"),
                "WINDOWKV_DEVICE is cuda: {error}"
            );
            eprintln!("skipped, no GPU: {error}");
            None
        }
    }
}

#[test]
fn a_machine_without_a_gpu_is_told_what_to_do_within_a_second() {
    let started = Instant::now();
    let device = Device::cuda(0);
    let context = cuda::context(0);
    assert!(started.elapsed() < Duration::from_secs(1) || device.is_ok());
    match (device, context) {
        (Ok(_), Ok(_)) => {}
        (Err(device), Err(context)) => {
            assert!(matches!(device, Error::Unsupported(_)), "{device}");
            assert!(matches!(context, Error::Unsupported(_)), "{context}");
            assert!(device.to_string().contains("driver") || device.to_string().contains("GPU"));
            assert!(context.to_string().contains("driver"), "{context}");
        }
        (device, context) => panic!("the two disagree: {device:?}, {context:?}"),
    }
    assert!(
        Device::all()
            .iter()
            .any(|device| device.name() == "emulated")
    );
}

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    let error = Device::cuda(1000).expect_err("no machine has a thousand GPUs");
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
}

#[test]
fn kernels_run_on_a_cudarc_stream_over_its_memory() {
    let Some(context) = gpu() else { return };
    let stream = context.new_stream().expect("a stream");
    let device = Device::from_cudarc(&stream).expect("a device");
    let other = context.new_stream().expect("a stream");
    // Written on another stream: the borrow makes ours wait for it.
    let input = other
        .clone_htod(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])
        .expect("memory");
    let mut sums = other.alloc_zeros::<f32>(2).expect("memory");
    assert!(matches!(
        device.borrow(&input),
        Err(Error::InvalidArgument(_))
    ));
    {
        // SAFETY: neither borrow is forgotten.
        let input = unsafe { device.borrow_across_streams(&input) }.expect("the same GPU");
        // SAFETY: as above.
        let sums = unsafe { device.borrow_mut_across_streams(&mut sums) };
        let mut sums = sums.expect("the same GPU");
        let rows = Matrix::new(input.view(), 2, 3).expect("it fits");
        ops::row_sum(&device, &rows, sums.view_mut()).expect("it runs");
    }
    // Read on another stream: the end of the borrow has recorded the write.
    assert_eq!(other.clone_dtoh(&sums).expect("a copy"), [6.0, 15.0]);
    // Memory of the default stream's device is not silently used on this one.
    let plain = Device::cuda(0)
        .expect("a device")
        .upload(&[1.0_f32; 6])
        .expect("memory");
    let mut sums = stream.alloc_zeros::<f32>(2).expect("memory");
    let mut out = device.borrow_mut(&mut sums).expect("the same stream");
    let rows = Matrix::new(plain.view(), 2, 3).expect("it fits");
    assert!(matches!(
        ops::row_sum(&device, &rows, out.view_mut()),
        Err(Error::WrongDevice { .. })
    ));
}

/// What the launches leave behind for a prompt.
fn outcome(
    compression: &mut Compression,
    seed: u64,
    launch: impl FnOnce(&mut Compression),
) -> Outcome {
    compression.set_inputs(seed).expect("memory");
    launch(compression);
    compression.outcome().expect("it ran")
}

/// The second prompt over the memory that the first one left.
#[test]
fn a_prompt_is_compressed_and_decoded_in_memory_that_another_has_used() {
    for device in devices::devices() {
        let mut compression = Compression::new(&device).expect("memory");
        let mut run = |seed| {
            outcome(&mut compression, seed, |compression| {
                compression.launch(&device).expect("it runs");
            })
        };
        let (first, second, again) = (run(1), run(2), run(1));
        assert_eq!(first, again);
        assert_ne!(first.kept, second.kept);
        for outcome in [&first, &second] {
            assert_eq!(outcome.flags, Flags::default());
            assert_eq!(outcome.cache_len, 8 * 16 + 16 + 1);
            assert!(outcome.kept.is_sorted() && outcome.o.iter().all(|x| x.is_finite()));
        }
    }
}

/// Prefill, score, select, gather, decode and advance in one graph, which is replayed on other prompts.
#[test]
fn a_captured_compression_replays_on_other_prompts() {
    let Some(context) = gpu() else { return };
    let stream = context.new_stream().expect("a stream");
    let device = Device::from_cudarc(&stream).expect("a device");
    let mut compression = Compression::new(&device).expect("memory");
    let expected = [1, 2, 3].map(|seed| {
        outcome(&mut compression, seed, |compression| {
            compression.launch(&device).expect("it runs");
        })
    });
    let capture = cuda::begin_capture(&device).expect("a capture begins");
    compression.launch(&device).expect("it is captured");
    let graph = capture.end().expect("a graph");
    for (seed, expected) in [1, 2, 3].into_iter().zip(expected) {
        let replayed = outcome(&mut compression, seed, |_| {
            // SAFETY: `compression` holds all memory, and no view of it is alive.
            unsafe { graph.replay() }.expect("it replays")
        });
        assert_eq!(replayed, expected);
    }
}

#[test]
fn a_captured_kernel_replays_on_new_contents() {
    let Some(context) = gpu() else { return };
    // One stream uses the memory; events of other streams may not be waited for inside a capture.
    // SAFETY: nothing here uses the memory on two streams.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().expect("a stream");
    let device = Device::from_cudarc(&stream).expect("a device");
    let mut input = stream.clone_htod(&[1.0_f32; 6]).expect("memory");
    let mut sums = stream.alloc_zeros::<f32>(2).expect("memory");
    stream
        .begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .expect("a capture begins");
    {
        let input = device.borrow(&input).expect("the same GPU");
        let mut sums = device.borrow_mut(&mut sums).expect("the same GPU");
        let rows = Matrix::new(input.view(), 2, 3).expect("it fits");
        ops::row_sum(&device, &rows, sums.view_mut()).expect("it is captured");
    }
    let graph = stream
        .end_capture(sys::CUgraphInstantiate_flags(0))
        .expect("a capture ends")
        .expect("a graph");
    for scale in [1.0_f32, 2.0, -3.0] {
        stream.memcpy_htod(&[scale; 6], &mut input).expect("a copy");
        graph.launch().expect("it replays");
        assert_eq!(stream.clone_dtoh(&sums).expect("a copy"), [3.0 * scale; 2]);
    }
}
