//! Sums of rows.

use windowkv_kernels::{Device, Error, Matrix, ops};

use super::{Verdict, numbers};

/// Rows, columns.
const SHAPES: [(usize, usize); 3] = [(2, 700), (1, 256), (3, 1)];

pub(crate) fn run(device: &Device) -> Result<Verdict, Error> {
    for (rows, columns) in SHAPES {
        let values = numbers(rows * columns, 1);
        let input = device.upload(&values)?;
        let mut output = device.poisoned(rows)?;
        ops::row_sum(
            device,
            &Matrix::new(input.view(), rows, columns)?,
            output.view_mut(),
        )?;
        for (row, got) in output.download()?.into_iter().enumerate() {
            let sum: f32 = values[row * columns..][..columns].iter().sum();
            if got != sum {
                return Ok(Verdict::Wrong(format!(
                    "row {row} of {columns} sums to {got}, not {sum}"
                )));
            }
        }
    }
    Ok(Verdict::Right)
}
