//! The cases, one file a kernel: inputs, a run on a device, and what the result has to be.

mod attention;
pub(crate) mod decode;
pub(crate) mod gather;
pub(crate) mod layer;
pub(crate) mod mma_product;
pub(crate) mod prefill;
pub(crate) mod reduction;
pub(crate) mod score;
pub(crate) mod select;
pub(crate) mod wgmma_product;

use windowkv_kernels::{Device, Schedule};

use crate::kernels::Kernel;

/// What a run of cases showed.
pub(crate) enum Verdict {
    Right,
    /// A wrong result, in words.
    Wrong(String),
    /// The device's report, or a launch that it refused.
    Report(String),
}

/// Runs a kernel's cases under schedules 0 to `schedules` until the first fault.
pub(crate) fn run(device: &Device, kernel: &Kernel, schedules: u64) -> Verdict {
    for seed in 0..schedules {
        device.set_schedule(Schedule { seed, workers: 1 });
        match (kernel.cases)(device) {
            Ok(Verdict::Right) => {}
            Ok(Verdict::Wrong(text)) => return Verdict::Wrong(format!("seed {seed}: {text}")),
            Ok(report) => return report,
            Err(error) => return Verdict::Report(error.to_string()),
        }
    }
    Verdict::Right
}

/// Numbers in eighths, whose sums of products are exact in f32: a right kernel gives exactly these.
fn numbers(len: usize, salt: u32) -> Vec<f32> {
    let mut state = 0x9e37_79b9 ^ salt;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state % 33) as f32 / 8.0 - 2.0
        })
        .collect()
}

/// A product's shape and operands, a [m, k] and b [n, k].
struct Product {
    m: usize,
    n: usize,
    k: usize,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Product {
    fn new((m, n, k): (usize, usize, usize)) -> Product {
        let (a, b) = (numbers(m * k, 2), numbers(n * k, 3));
        Product { m, n, k, a, b }
    }

    /// Elements between the rows of c: the first columns after n lie in 16-byte aligned rows too.
    fn c_stride(&self) -> usize {
        self.n.next_multiple_of(8)
    }

    /// Compares c with a b^T, rounded by `round`. Columns after n must still be NaN.
    fn compare(&self, c: &[f32], round: fn(f32) -> f32) -> Verdict {
        let Product { m, n, k, a, b } = self;
        for (i, row) in c.chunks(self.c_stride()).enumerate() {
            for (j, &got) in row.iter().enumerate() {
                let sum = || (0..*k).map(|l| a[i * k + l] * b[j * k + l]).sum();
                let expected = if j < *n { round(sum()) } else { f32::NAN };
                if got != expected && !(got.is_nan() && expected.is_nan()) {
                    return Verdict::Wrong(format!(
                        "c({i}, {j}) of {m} x {n} x {k} is {got}, not {expected}"
                    ));
                }
            }
        }
        Verdict::Right
    }
}
