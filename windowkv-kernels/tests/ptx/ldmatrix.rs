//! ldmatrix and stmatrix: which lane holds which element.

use proptest::prop_assert_eq;
use windowkv_kernels::probe::Probe;

use crate::{check, run};

/// The lane and half that hold element (row, column) of an 8 x 8 matrix.
fn holder(row: usize, column: usize, transposed: bool) -> (usize, u32) {
    let (r, c) = if transposed {
        (column, row)
    } else {
        (row, column)
    };
    (4 * r + c / 2, 16 * (c % 2) as u32)
}

#[test]
fn loads_fragments() {
    check(120, 80, |device, random| {
        let count = [1, 2, 4][random.below(3)];
        let transposed = random.below(2) == 1;
        let rows = random.halves(32 * 8);
        let probe = Probe::new("ldmatrix").arguments(&[count as i64, i64::from(transposed)]);
        let got: Vec<u32> = run(device, probe, &rows, 32 * count)?;
        for matrix in 0..count {
            for row in 0..8 {
                for column in 0..8 {
                    let (lane, shift) = holder(row, column, transposed);
                    prop_assert_eq!(
                        (got[lane * count + matrix] >> shift) as u16,
                        rows[(matrix * 8 + row) * 8 + column]
                    );
                }
            }
        }
        Ok(())
    });
}

#[test]
fn stores_fragments() {
    check(120, 90, |device, random| {
        let count = [1, 2, 4][random.below(3)];
        let transposed = random.below(2) == 1;
        let registers = random.words(32 * count);
        let probe = Probe::new("stmatrix").arguments(&[count as i64, i64::from(transposed)]);
        let got: Vec<u16> = run(device, probe, &registers, 8 * count * 8)?;
        for matrix in 0..count {
            for row in 0..8 {
                for column in 0..8 {
                    let (lane, shift) = holder(row, column, transposed);
                    prop_assert_eq!(
                        got[(matrix * 8 + row) * 8 + column],
                        (registers[lane * count + matrix] >> shift) as u16
                    );
                }
            }
        }
        Ok(())
    });
}
