//! Prints how fast the emulated GPU is on this machine.
//!
//! ```sh
//! cargo run --release -p windowkv-kernels --example emulator_figures
//! ```

use std::time::Instant;

use half::f16;
use windowkv_kernels::probe::Probe;
use windowkv_kernels::{
    Device, Error, Matrix, MatrixMut, Schedule, Sequences, Tensor, TensorMut, ops,
};

fn main() -> Result<(), Error> {
    let device = Device::emulated();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    println!("cores: {cores}");

    // Four warps that meet at two named barriers a round: little else than switching.
    device.set_schedule(Schedule {
        seed: 1,
        workers: 1,
    });
    let rounds = 5000;
    let input = device.upload(&vec![0u32; rounds * 64])?;
    let mut output = device.poisoned::<u32>(rounds * 64)?;
    let seconds = best(|| {
        let probe = Probe::new("named_barrier").arguments(&[rounds as i64]);
        // SAFETY: it reads and writes a word of each of 64 threads in each round.
        unsafe { probe.run(&device, &input, &mut output) }
    })?;
    println!(
        "switches between threads, one core, all checks on: {:.1} million a second",
        device.switches() as f64 / seconds / 1e6
    );

    let size = 512;
    let a = device.upload(&vec![f16::ONE; size * size])?;
    let matrix = Matrix::new(a.view(), size, size)?;
    for workers in [1, 0] {
        device.set_schedule(Schedule { seed: 1, workers });
        let mut c = device.poisoned::<f32>(size * size)?;
        let seconds = best(|| {
            let mut view = MatrixMut::new(c.view_mut(), size, size)?;
            ops::mma_product(&device, &matrix, &matrix, &mut view)
        })?;
        let instructions = (size / 16 * (size / 8) * (size / 16)) as f64;
        let used = if workers == 1 { 1 } else { cores };
        println!(
            "mma product {size} x {size} x {size} on {used} cores: {seconds:.3} s, {:.0} thousand mma.m16n8k16 a \
             second, {:.1} million switches",
            instructions / seconds / 1e3,
            device.switches() as f64 / 1e6
        );
        let mut c = device.poisoned::<f16>(size * size)?;
        let seconds = best(|| {
            let mut view = MatrixMut::new(c.view_mut(), size, size)?;
            ops::wgmma_product(&device, &matrix, &matrix, &mut view)
        })?;
        println!("wgmma product {size} x {size} x {size} on {used} cores: {seconds:.3} s");
        let seconds = prefill(&device, size)?;
        println!("prefill {size} x {size}, 4 heads of 64, on {used} cores: {seconds:.3} s");
    }
    Ok(())
}

/// Seconds of a causal prefill of one sequence of 4 heads of 64.
fn prefill(device: &Device, seqlen: usize) -> Result<f64, Error> {
    let shape = [1, seqlen, 4, 64];
    // Scores rise and fall, as random ones do: maxima that stay would spare the rescaling.
    let numbers = (0..seqlen * 4 * 64)
        .map(|i| f16::from_f32((i * 2_654_435_761 % 1009) as f32 / 504.5 - 1.0));
    let tokens = device.upload(&numbers.collect::<Vec<_>>())?;
    let mut o = device.poisoned::<f16>(tokens.len())?;
    best(|| {
        let tensor = Tensor::new(tokens.view(), shape)?;
        let params = ops::PrefillParams {
            q: tensor,
            k: tensor,
            v: tensor,
            o: TensorMut::new(o.view_mut(), shape)?,
            lse: None,
            sequences_q: Sequences::padded(seqlen),
            sequences_kv: Sequences::padded(seqlen),
            softmax_scale: 0.125,
            flags: None,
        };
        ops::prefill(device, params)
    })
}

/// The fastest of five runs, in seconds.
fn best(mut run: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
