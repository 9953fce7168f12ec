//! Selects the best windows of each sequence of a batch: exact, ties to the lower index, ascending.
//!
//! How many scores a row has and how many windows it keeps is read on the device: nothing comes back to the host
//! between scoring and gathering.
//!
//! ```sh
//! cargo run --release -p windowkv-kernels --example 02_select_windows
//! ```

mod common;

use windowkv_kernels::{Flags, Matrix, MatrixMut, ops};

const MAX_WINDOWS: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = common::device()?;
    // Three sequences of 8, 5 and 4 windows; what a row has no score for is never looked at.
    let nan = f32::NAN;
    let rows = [
        [0.1, 0.9, 0.3, 0.8, 0.2, 0.9, 0.0, 0.5],
        [0.5, 0.5, 0.5, 0.5, 0.5, nan, nan, nan],
        [0.4, 0.1, 0.3, 0.2, nan, nan, nan, nan],
    ];
    let scores = device.upload(rows.as_flattened())?;
    let num_windows = device.upload(&[8_i32, 5, 4])?;
    let num_keep = device.upload(&[3_i32, 2, 9])?;
    let mut indices = device.poisoned::<i32>(3 * MAX_WINDOWS)?;
    let mut num_kept = device.poisoned::<i32>(3)?;
    let mut flags = device.zeroed::<u32>(1)?;
    ops::select(
        &device,
        ops::SelectParams {
            scores: Matrix::new(scores.view(), 3, MAX_WINDOWS)?,
            num_windows: num_windows.view(),
            num_keep: num_keep.view(),
            indices: MatrixMut::new(indices.view_mut(), 3, MAX_WINDOWS)?,
            num_kept: num_kept.view_mut(),
            flags: Some(flags.view_mut()),
        },
    )?;

    let (indices, num_kept) = (indices.download()?, num_kept.download()?);
    for (row, &kept) in num_kept.iter().enumerate() {
        let windows = &indices[row * MAX_WINDOWS..][..kept as usize];
        println!(
            "sequence {row}: scores {:?}\n    keeps {windows:?}",
            rows[row]
        );
    }
    let flags = Flags::from_bits(flags.download()?[0]);
    println!("a score was NaN: {}", flags.contains(Flags::NAN));
    Ok(())
}
