//! The best windows of each sequence.

use crate::device::Device;
use crate::error::Error;
use crate::ffi;
use crate::flags::flag_word;
use crate::view::{Matrix, MatrixMut, Slice, SliceMut};

/// Parameters of [`select`].
#[derive(Debug)]
pub struct SelectParams<'a> {
    /// `[rows, max_windows]`, at most 131,072 windows: a row for each sequence, or for each of its heads.
    pub scores: Matrix<'a, f32>,
    /// `[sequences]`: windows of each sequence; `rows` is a multiple of `sequences`.
    pub num_windows: Slice<'a, i32>,
    /// `[sequences]`: windows to keep in each row.
    pub num_keep: Slice<'a, i32>,
    /// `[rows, max_keep]`: the kept windows, ascending; the rest of a row is left alone.
    pub indices: MatrixMut<'a, i32>,
    /// `[rows]`: how many of a row of `indices` count, `min(num_keep, num_windows, max_keep)`.
    pub num_kept: SliceMut<'a, i32>,
    /// One word; see [`Flags`](crate::Flags).
    pub flags: Option<SliceMut<'a, u32>>,
}

/// The `num_keep` largest scores of each row, exactly: ties go to the lower index, -0 equals 0. A row of which
/// everything is kept needs no scores: they are not read.
///
/// A NaN counts as -inf, with [`Flags::NAN`](crate::Flags::NAN). Numbers below 0 and more windows than a row has are
/// clamped, with [`Flags::RANGE`](crate::Flags::RANGE); of more than `max_keep` windows the best `max_keep` are kept
/// (the first, where all were to be), with [`Flags::CAPACITY`](crate::Flags::CAPACITY).
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::WrongDevice`], [`Error::InvalidArgument`] for more than
/// 131,072 windows; what the launch gives.
pub fn select(device: &Device, mut params: SelectParams<'_>) -> Result<(), Error> {
    params.scores.on("scores", device)?;
    params.num_windows.on("num_windows", device)?;
    params.num_keep.on("num_keep", device)?;
    params.indices.on("indices", device)?;
    params.num_kept.on("num_kept", device)?;
    let rows = params.scores.rows();
    let sequences = params.num_windows.len();
    Error::same(
        "select: the length of num_keep",
        params.num_keep.len(),
        sequences,
    )?;
    Error::same("select: the rows of indices", params.indices.rows(), rows)?;
    Error::same(
        "select: the length of num_kept",
        params.num_kept.len(),
        rows,
    )?;
    if sequences == 0 {
        Error::same("select: the rows of no sequences", rows, 0)?;
        return Ok(());
    }
    if !rows.is_multiple_of(sequences) {
        return Err(Error::Shape(format!(
            "select: {rows} rows for {sequences} sequences: give each equally many"
        )));
    }
    let raw = ffi::wkv_select_params {
        struct_size: size_of::<ffi::wkv_select_params>(),
        scores: params.scores.as_ptr(),
        num_windows: params.num_windows.as_ptr(),
        num_keep: params.num_keep.as_ptr(),
        indices: params.indices.as_mut_ptr(),
        num_kept: params.num_kept.as_mut_ptr(),
        scores_stride: params.scores.stride() as i64,
        indices_stride: params.indices.stride() as i64,
        rows: Error::int32("select: the rows", rows)?,
        rows_per_sequence: Error::int32(
            "select: the rows of a sequence",
            (rows / sequences).max(1),
        )?,
        max_windows: Error::int32("select: the columns of scores", params.scores.columns())?,
        max_keep: Error::int32("select: the columns of indices", params.indices.columns())?,
        flags: flag_word(device, params.flags.as_mut())?,
        stream: device.stream(),
    };
    let function = device.kernel(|kernels| kernels.select, "select")?;
    // SAFETY: the views keep their memory alive and inside its bounds until the call returns, and those that are
    // written are exclusive; it lies where the device's stream orders the kernel before every later use of it.
    device.check(unsafe { function(&raw) })
}
