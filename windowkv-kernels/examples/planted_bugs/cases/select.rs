//! The best of each row: ties, signs, specials, and rows that need no scores.

use windowkv_kernels::{Device, Error, Matrix, MatrixMut, ops};

use super::Verdict;

/// What an output holds before.
const UNWRITTEN: i32 = -1;

/// Rows of a launch, the last of which end where their memory ends: their scores, how many count, how many are kept, and the room for them.
struct Launch {
    rows: Vec<Vec<f32>>,
    num_windows: Vec<i32>,
    num_keep: Vec<i32>,
    max_windows: usize,
    max_keep: usize,
    flags: u32,
}

fn launches() -> Vec<Launch> {
    let spread = |count: usize| (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.37);
    // Ties in all warps' runs, above and below the threshold.
    let ties: Vec<f32> = (0..700)
        .map(|i| [0.5, -0.0, 0.0, 0.25][(7 * i + i / 3) % 4])
        .collect();
    // Neighbouring floats: only the last digit decides.
    let close: Vec<f32> = (0..300u32)
        .map(|i| f32::from_bits(0x3f00_0000 + i * 7 % 250))
        .collect();
    let mut nan: Vec<f32> = spread(90).collect();
    nan[41] = f32::NAN;
    nan[67] = -f32::NAN;
    let launch = |rows: Vec<Vec<f32>>, num_keep: &[i32], flags| Launch {
        num_windows: rows.iter().map(|row| row.len() as i32).collect(),
        max_windows: rows.iter().map(Vec::len).max().unwrap_or(0),
        num_keep: num_keep.to_vec(),
        max_keep: num_keep.iter().map(|&n| n as usize).max().unwrap_or(0),
        rows,
        flags,
    };
    let mut all = vec![
        launch(vec![spread(257).collect(), ties.clone()], &[200, 250], 0),
        launch(vec![close, ties], &[33, 451], 0),
        launch(vec![nan.clone()], &[88], 1),
        // Kept whole: the scores are NaN, and nobody looks.
        launch(vec![vec![f32::NAN; 40], spread(40).collect()], &[40, 3], 0),
    ];
    // Nothing is kept of the second row.
    all.push(launch(
        vec![spread(50).collect(), spread(70).collect()],
        &[6, 0],
        0,
    ));
    // Fewer in the row than device memory says, and less room than is kept.
    let mut lying = launch(vec![spread(64).collect()], &[9], 4);
    lying.num_windows[0] = 65;
    all.push(lying);
    let mut narrow = launch(
        vec![spread(64).collect(), spread(64).collect()],
        &[20, 20],
        2,
    );
    narrow.max_keep = 12;
    all.push(narrow);
    all
}

/// By the definition: in descending order, the lower index first among equals.
fn best(row: &[f32], count: usize) -> Vec<i32> {
    let number = |i: usize| {
        if row[i].is_nan() {
            f32::NEG_INFINITY
        } else {
            row[i]
        }
    };
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| {
        number(b)
            .partial_cmp(&number(a))
            .expect("no NaN")
            .then(a.cmp(&b))
    });
    let mut kept: Vec<i32> = order[..count].iter().map(|&i| i as i32).collect();
    kept.sort_unstable();
    kept
}

pub(crate) fn run(device: &Device) -> Result<Verdict, Error> {
    for (index, launch) in launches().into_iter().enumerate() {
        let rows = launch.rows.len();
        let mut scores = vec![f32::NAN; rows * launch.max_windows];
        for (row, values) in launch.rows.iter().enumerate() {
            scores[row * launch.max_windows..][..values.len()].copy_from_slice(values);
        }
        let scores = device.upload(&scores)?;
        let num_windows = device.upload(&launch.num_windows)?;
        let num_keep = device.upload(&launch.num_keep)?;
        let mut indices = device.upload(&vec![UNWRITTEN; rows * launch.max_keep])?;
        let mut num_kept = device.upload(&vec![UNWRITTEN; rows])?;
        let mut flags = device.zeroed::<u32>(1)?;
        ops::select(
            device,
            ops::SelectParams {
                scores: Matrix::new(scores.view(), rows, launch.max_windows)?,
                num_windows: num_windows.view(),
                num_keep: num_keep.view(),
                indices: MatrixMut::new(indices.view_mut(), rows, launch.max_keep)?,
                num_kept: num_kept.view_mut(),
                flags: Some(flags.view_mut()),
            },
        )?;
        let (indices, counts) = (indices.download()?, num_kept.download()?);
        for (row, values) in launch.rows.iter().enumerate() {
            let count = (launch.num_keep[row] as usize)
                .min(values.len())
                .min(launch.max_keep);
            let mut expected = best(values, count);
            expected.resize(launch.max_keep, UNWRITTEN);
            let found = &indices[row * launch.max_keep..][..launch.max_keep];
            if counts[row] != count as i32 || found != expected {
                return Ok(Verdict::Wrong(format!(
                    "launch {index}, row {row}: {} kept, {found:?}, not {expected:?}",
                    counts[row]
                )));
            }
        }
        let found = flags.download()?[0];
        if found != launch.flags {
            return Ok(Verdict::Wrong(format!(
                "launch {index}: flags {found}, not {}",
                launch.flags
            )));
        }
    }
    Ok(Verdict::Right)
}
