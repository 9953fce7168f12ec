//! mma.m16n8k16, with the manual's formulas for which register holds which element.

use windowkv_kernels::probe::Probe;

use crate::sums::{Numbers, Operand, to_bits};
use crate::{check, run};

#[test]
fn multiplies_with_the_fragments_of_the_manual() {
    check(400, 80, |device, random| {
        let dtype = random.below(2) as i64;
        let bfloat16 = dtype == 1;
        let encode = |value: f32| -> u32 { to_bits(value, bfloat16).into() };
        let numbers = Numbers::draw_any(random);
        let mut draw = |operand| numbers.draw(random, operand, bfloat16);
        let a: Vec<Vec<f32>> = (0..16)
            .map(|_| (0..16).map(|_| draw(Operand::A)).collect())
            .collect();
        let b: Vec<Vec<f32>> = (0..16)
            .map(|_| (0..8).map(|_| draw(Operand::B)).collect())
            .collect();
        let c: Vec<Vec<f32>> = (0..16)
            .map(|_| (0..8).map(|_| numbers.draw_accumulator(random)).collect())
            .collect();

        let mut input = Vec::new();
        for lane in 0..32 {
            let (group, thread) = (lane / 4, lane % 4);
            // a_i: row = group for i in {0, 1, 4, 5}, else group + 8; column = 2 thread + (i & 1), + 8 for
            // i >= 4.
            let a_of = |i: usize| {
                let row = if matches!(i, 0 | 1 | 4 | 5) {
                    group
                } else {
                    group + 8
                };
                a[row][2 * thread + (i & 1) + if i >= 4 { 8 } else { 0 }]
            };
            // b_i: row = 2 thread + (i & 1), + 8 for i >= 2; column = group.
            let b_of = |i: usize| b[2 * thread + (i & 1) + if i >= 2 { 8 } else { 0 }][group];
            for i in 0..4 {
                input.push(encode(a_of(2 * i)) | encode(a_of(2 * i + 1)) << 16);
            }
            for i in 0..2 {
                input.push(encode(b_of(2 * i)) | encode(b_of(2 * i + 1)) << 16);
            }
            // c_i: row = group for i < 2, else group + 8; column = 2 thread + (i & 1).
            for i in 0..4 {
                let row = if i < 2 { group } else { group + 8 };
                input.push(c[row][2 * thread + (i & 1)].to_bits());
            }
        }
        let got: Vec<f32> = run(device, Probe::new("mma").arguments(&[dtype]), &input, 128)?;
        for lane in 0..32 {
            let (group, thread) = (lane / 4, lane % 4);
            for i in 0..4 {
                let row = if i < 2 { group } else { group + 8 };
                let column = 2 * thread + (i & 1);
                let products: Vec<_> = (0..16).map(|k| (a[row][k], b[k][column])).collect();
                let c = c[row][column];
                numbers.check(device, got[lane * 4 + i], c, &products, bfloat16)?;
            }
        }
        Ok(())
    });
}
