//! What a child process runs: one sample kernel of one library, over shapes and schedules.

use std::ffi::CString;

use half::f16;
use windowkv_kernels::{Device, Error, Matrix, MatrixMut, Schedule, ffi, ops};

/// What a run of the cases showed.
pub(crate) enum Verdict {
    Right,
    Wrong(String),
    Report(String),
}

/// Opens a library that this tool built.
pub(crate) fn open(path: &str) -> Device {
    let path = CString::new(path).expect("a path");
    // SAFETY: the library was built by this tool from this source tree and is never closed, so its tables
    // are static; the symbols have the types of ffi.rs.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(
            !library.is_null(),
            "{}",
            std::ffi::CStr::from_ptr(libc::dlerror()).to_string_lossy()
        );
        let kernels = libc::dlsym(library, c"wkv_emulated_kernels".as_ptr());
        let testing = libc::dlsym(library, c"wkv_emulated_testing".as_ptr());
        assert!(!kernels.is_null() && !testing.is_null());
        let kernels: extern "C" fn() -> &'static ffi::wkv_kernels = std::mem::transmute(kernels);
        let testing: extern "C" fn() -> &'static ffi::wkv_testing = std::mem::transmute(testing);
        Device::from_library("library", kernels(), testing()).expect("this version's tables")
    }
}

/// Runs the cases until the first fault.
pub(crate) fn run(device: &Device, sample: &str, seeds: u64) -> Verdict {
    // The last shapes end exactly where their memory ends.
    let shapes: &[(usize, usize, usize)] = match sample {
        "reduction" => &[(2, 700, 0), (1, 256, 0), (3, 1, 0)],
        "mma_product" => &[(60, 50, 232), (8, 8, 8), (70, 66, 40)],
        _ => &[(60, 56, 328), (8, 8, 8), (70, 72, 72)],
    };
    for seed in 0..seeds {
        for &(m, n, k) in shapes {
            device.set_schedule(Schedule { seed, workers: 1 });
            let verdict = match sample {
                "reduction" => row_sum(device, m, n),
                _ => product(device, sample == "wgmma_product", m, n, k),
            };
            match verdict {
                Ok(None) => {}
                Ok(Some(text)) => return Verdict::Wrong(format!("seed {seed}: {text}")),
                Err(error) => return Verdict::Report(error.to_string()),
            }
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

fn row_sum(device: &Device, rows: usize, columns: usize) -> Result<Option<String>, Error> {
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
            return Ok(Some(format!(
                "row {row} of {columns} sums to {got}, not {sum}"
            )));
        }
    }
    Ok(None)
}

fn product(
    device: &Device,
    wgmma: bool,
    m: usize,
    n: usize,
    k: usize,
) -> Result<Option<String>, Error> {
    let (a, b) = (numbers(m * k, 2), numbers(n * k, 3));
    let halves = |values: &[f32]| values.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>();
    let a_buffer = device.upload(&halves(&a))?;
    let b_buffer = device.upload(&halves(&b))?;
    let (a_view, b_view) = (
        Matrix::new(a_buffer.view(), m, k)?,
        Matrix::new(b_buffer.view(), n, k)?,
    );
    let c_stride = n.next_multiple_of(8);
    let got: Vec<f32> = if wgmma {
        let mut c = device.poisoned::<f16>(m * c_stride)?;
        let mut view = MatrixMut::strided(c.view_mut(), m, n, c_stride, 0)?;
        ops::wgmma_product(device, &a_view, &b_view, &mut view)?;
        c.download()?.into_iter().map(f16::to_f32).collect()
    } else {
        let mut c = device.poisoned::<f32>(m * c_stride)?;
        let mut view = MatrixMut::strided(c.view_mut(), m, n, c_stride, 0)?;
        ops::mma_product(device, &a_view, &b_view, &mut view)?;
        c.download()?
    };
    for i in 0..m {
        for j in 0..c_stride {
            let got = got[i * c_stride + j];
            let sum: f32 = if j < n {
                (0..k).map(|l| a[i * k + l] * b[j * k + l]).sum()
            } else {
                f32::NAN
            };
            let expected = if wgmma {
                f16::from_f32(sum).to_f32()
            } else {
                sum
            };
            if got != expected && !(got.is_nan() && expected.is_nan()) {
                return Ok(Some(format!(
                    "c({i}, {j}) of {m} x {n} x {k} is {got}, not {expected}"
                )));
            }
        }
    }
    Ok(None)
}
