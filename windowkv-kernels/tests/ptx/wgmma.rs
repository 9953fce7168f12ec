//! wgmma: every N, both types, all placements of the operands, all swizzles.
//!
//! The operands are laid out here as the manual's "Strides" and "Shared Memory Matrix Layout" describe:
//! core matrices of 8 rows of 16 bytes, in which the rows of a K-major operand run along k and those of an
//! MN-major one along m or n.

use proptest::test_runner::TestCaseError;
use windowkv_kernels::Device;
use windowkv_kernels::probe::Probe;

use crate::sums::{Numbers, Operand, to_bits};
use crate::{Random, check, run};

const IMAGE_A: usize = 32 * 1024;
const IMAGE_B: usize = 64 * 1024;
const SIZES: [usize; 12] = [8, 16, 32, 64, 80, 96, 112, 128, 160, 176, 192, 256];

/// How an operand of `extent` rows (m or n) and 16 `steps` columns (k) lies in shared memory.
struct Layout {
    swizzle: usize,
    along_k: bool,
    leading: usize,
    stride: usize,
    /// Bytes from the operand of one step to that of the next.
    step: usize,
}

impl Layout {
    fn new(swizzle: usize, along_k: bool, extent: usize, random: &mut Random) -> Layout {
        let row = 16 << swizzle;
        let padding = 128 * random.below(2);
        match (along_k, swizzle) {
            // [extent / 8][2 of k] core matrices of 128 bytes, the whole once more a step.
            (true, 0) => Layout {
                swizzle,
                along_k,
                leading: 128,
                stride: 256 + padding,
                step: (256 + padding) * (extent / 8),
            },
            // Rows of the swizzle: as many steps as fit lie side by side in a row.
            (true, _) => Layout {
                swizzle,
                along_k,
                leading: 0,
                stride: 8 * row,
                step: 32,
            },
            // [2 of k][extent / 8] core matrices.
            (false, 0) => Layout {
                swizzle,
                along_k,
                leading: 128 * (extent / 8) + padding,
                stride: 128,
                step: 2 * (128 * (extent / 8) + padding),
            },
            // Blocks of 16 k (two groups of 8 rows) and row / 2 of m or n.
            (false, _) => Layout {
                swizzle,
                along_k,
                leading: 16 * row,
                stride: 8 * row,
                step: 16 * row * extent.div_ceil(row / 2),
            },
        }
    }

    /// Steps of k that fit into `room` bytes.
    fn steps(&self, room: usize, extent: usize) -> usize {
        match (self.along_k, self.swizzle) {
            (true, swizzle @ 1..) => (16 << swizzle) / 32,
            (true, _) | (false, _) => (room / self.step.max(extent)).min(3),
        }
    }

    /// The byte of element (mn, k) of the image.
    fn byte(&self, mn: usize, k: usize) -> usize {
        let (step, k) = (k / 16, k % 16);
        let row = 16 << self.swizzle;
        let plain = step * self.step
            + match (self.along_k, self.swizzle) {
                (true, 0) => mn / 8 * self.stride + k / 8 * self.leading + mn % 8 * 16 + k % 8 * 2,
                (true, _) => mn / 8 * self.stride + mn % 8 * row + k * 2,
                (false, 0) => mn / 8 * self.stride + k / 8 * self.leading + k % 8 * 16 + mn % 8 * 2,
                (false, _) => {
                    let in_row = row / 2;
                    mn / in_row * self.leading + k / 8 * self.stride + k % 8 * row + mn % in_row * 2
                }
            };
        // The piece's number within its row is xored with the number of the 128 bytes that it lies in.
        let mask = (1 << self.swizzle) - 1;
        plain ^ (((plain / 128) & mask) << 4)
    }
}

fn product(
    device: &Device,
    random: &mut Random,
    name: &str,
    (bfloat16, n, a_along_k, b_along_k): (bool, usize, bool, bool),
) -> Result<(), TestCaseError> {
    let in_registers = a_along_k && random.below(2) == 1;
    // The descriptors share one swizzle; an MN-major row must not be longer than n.
    let swizzle = loop {
        let swizzle = random.below(4);
        if b_along_k || n % (8 << swizzle) == 0 {
            break swizzle;
        }
    };
    let a = Layout::new(swizzle, a_along_k, 64, random);
    let b = Layout::new(swizzle, b_along_k, n, random);
    let steps = a.steps(IMAGE_A, 64).min(b.steps(IMAGE_B, n)).max(1);
    let k = 16 * steps;

    let numbers = Numbers::draw_any(random);
    let mut draw = |len: usize, operand| -> Vec<f32> {
        (0..len)
            .map(|_| numbers.draw(random, operand, bfloat16))
            .collect()
    };
    let a_values = draw(64 * k, Operand::A);
    let b_values = draw(n * k, Operand::B);
    let d_values: Vec<f32> = (0..64 * n)
        .map(|_| numbers.draw_accumulator(random))
        .collect();
    let mut image = vec![0u8; IMAGE_A + IMAGE_B];
    let mut put = |at: usize, value: f32| {
        image[at..at + 2].copy_from_slice(&to_bits(value, bfloat16).to_le_bytes());
    };
    for kk in 0..k {
        for m in 0..64 {
            put(a.byte(m, kk), a_values[m * k + kk]);
        }
        for nn in 0..n {
            put(IMAGE_A + b.byte(nn, kk), b_values[nn * k + kk]);
        }
    }
    let mut input: Vec<u32> = image
        .chunks(4)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    // D: the manual's row and column of register i of a thread.
    let place = |thread: usize, i: usize| {
        let (warp, lane) = (thread / 32, thread % 32);
        let row = 16 * warp + lane / 4 + if i % 4 < 2 { 0 } else { 8 };
        (row, 8 * (i / 4) + 2 * (lane % 4) + (i & 1))
    };
    for thread in 0..128 {
        for i in 0..n / 2 {
            let (row, column) = place(thread, i);
            input.push(d_values[row * n + column].to_bits());
        }
    }
    for thread in 0..128 {
        let (warp, lane) = (thread / 32, thread % 32);
        for step in 0..steps {
            for register in 0..4 {
                let row = 16 * warp + lane / 4 + 8 * (register % 2);
                let column = 16 * step + 2 * (lane % 4) + 8 * (register / 2);
                let pair = |c: usize| u32::from(to_bits(a_values[row * k + c], bfloat16));
                input.push(pair(column) | pair(column + 1) << 16);
            }
        }
    }

    let probe = Probe::new(name).arguments(&[
        i64::from(in_registers),
        swizzle as i64,
        a.leading as i64,
        a.stride as i64,
        b.leading as i64,
        b.stride as i64,
        (a.step | b.step << 32) as i64,
        steps as i64,
    ]);
    let got: Vec<f32> = run(device, probe, &input, 64 * n)?;
    for thread in 0..128 {
        for i in 0..n / 2 {
            let (row, column) = place(thread, i);
            let products: Vec<_> = (0..k)
                .map(|kk| (a_values[row * k + kk], b_values[column * k + kk]))
                .collect();
            let got = got[thread * (n / 2) + i];
            let d = d_values[row * n + column];
            let checked = numbers.check(device, got, d, &products, bfloat16);
            checked.map_err(|error| {
                TestCaseError::fail(format!(
                    "{name}, swizzle {swizzle}, a in registers: {in_registers}, row {row}, column {column}: {error}"
                ))
            })?;
        }
    }
    Ok(())
}

fn dtype(bfloat16: bool) -> &'static str {
    if bfloat16 { "bf16" } else { "f16" }
}

#[test]
fn every_n_with_b_along_k_and_along_n() {
    check(8, 90, |device, random| {
        for n in SIZES {
            let half = matches!(n, 8 | 32 | 80 | 112 | 160 | 192);
            let name = format!("wgmma_{}_{n}_k_k", dtype(!half));
            product(device, random, &name, (!half, n, true, true))?;
            let name = format!("wgmma_{}_{n}_k_mn", dtype(half));
            product(device, random, &name, (half, n, true, false))?;
        }
        Ok(())
    });
}

#[test]
fn a_along_m() {
    check(30, 90, |device, random| {
        let bfloat16 = random.below(2) == 1;
        let b_along_k = random.below(2) == 1;
        let name = format!(
            "wgmma_{}_64_mn_{}",
            dtype(bfloat16),
            if b_along_k { "k" } else { "mn" }
        );
        product(device, random, &name, (bfloat16, 64, false, b_along_k))
    });
}

/// Groups of products in flight, each with accumulators of its own, which are added to or written over.
#[test]
fn groups_are_awaited_one_by_one() {
    check(60, 90, |device, random| {
        let accumulate = random.below(2) == 1;
        let in_flight = [0, 1, 3][random.below(3)];
        let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| random.small()).collect() };
        let (a, b, mut d) = (draw(4 * 64 * 16), draw(4 * 8 * 16), draw(4 * 64 * 8));
        if !accumulate {
            d.fill(f32::NAN);
        }
        // Core matrices of 8 rows of 16 bytes, two along k side by side.
        let place = |row: usize, k: usize| row / 8 * 128 + k / 8 * 64 + row % 8 * 8 + k % 8;
        let mut halves = vec![0u16; 4 * (64 + 8) * 16];
        let (a_image, b_image) = halves.split_at_mut(4 * 64 * 16);
        for (image, values, rows) in [(a_image, &a, 64), (b_image, &b, 8)] {
            for (index, &value) in values.iter().enumerate() {
                let (row, k) = (index / 16, index % 16);
                image[row / rows * rows * 16 + place(row % rows, k)] = to_bits(value, false);
            }
        }
        let mut input: Vec<u32> = halves
            .chunks(2)
            .map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16)
            .collect();
        // The fragment of d: element i of a thread of a product.
        let element = |product: usize, thread: usize, i: usize| {
            let row = thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2);
            (product * 64 + row, 2 * (thread % 4) + i % 2)
        };
        let fragments = || (0..4 * 128 * 4).map(|at| element(at / 512, at / 4 % 128, at % 4));
        input.extend(fragments().map(|(row, column)| d[row * 8 + column].to_bits()));

        let probe =
            Probe::new(&format!("wgmma_groups_{in_flight}")).arguments(&[i64::from(accumulate)]);
        let got: Vec<f32> = run(device, probe, &input, 4 * 64 * 8)?;
        for ((row, column), got) in fragments().zip(got) {
            let products: Vec<_> = (0..16)
                .map(|k| (a[row * 16 + k], b[(row / 64 * 8 + column) * 16 + k]))
                .collect();
            let start = if accumulate { d[row * 8 + column] } else { 0.0 };
            Numbers::Exact.check(device, got, start, &products, false)?;
        }
        Ok(())
    });
}
