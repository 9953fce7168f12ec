//! Rows of an embedding table.

use crate::device::Device;
use crate::element::HalfPrecision;
use crate::error::Error;
use crate::ffi;
use crate::flags::flag_word;
use crate::view::{Matrix, MatrixMut, Slice, SliceMut};

/// Parameters of [`embedding`].
#[derive(Debug)]
pub struct EmbeddingParams<'a, T: HalfPrecision> {
    /// `[vocab, hidden]`; `hidden` is a multiple of 8.
    pub table: Matrix<'a, T>,
    /// `[rows]`
    pub ids: Slice<'a, i32>,
    /// `[rows, hidden]`
    pub out: MatrixMut<'a, T>,
    /// One word; see [`Flags`](crate::Flags).
    pub flags: Option<SliceMut<'a, u32>>,
}

/// `out[r] = table[ids[r]]`, bit for bit. An id outside the table gives zeros and
/// [`Flags::RANGE`](crate::Flags::RANGE).
///
/// # Errors
/// As [`rms_norm`](super::rms_norm).
pub fn embedding<T: HalfPrecision>(
    device: &Device,
    params: EmbeddingParams<'_, T>,
) -> Result<(), Error> {
    let EmbeddingParams {
        table,
        ids,
        mut out,
        mut flags,
    } = params;
    table.on("table", device)?;
    ids.on("ids", device)?;
    out.on("out", device)?;
    Error::same("embedding: the number of ids", ids.len(), out.rows())?;
    Error::same(
        "embedding: the columns of out",
        out.columns(),
        table.columns(),
    )?;
    let params = ffi::wkv_embedding_params {
        struct_size: size_of::<ffi::wkv_embedding_params>(),
        table: table.as_ptr().cast(),
        ids: ids.as_ptr(),
        out: out.as_mut_ptr().cast(),
        table_stride: table.stride() as i64,
        out_stride: out.stride() as i64,
        rows: out.rows() as i64,
        vocab: Error::int32("vocab", table.rows())?,
        hidden: Error::int32("hidden", table.columns())?,
        dtype: T::DTYPE,
        flags: flag_word(device, flags.as_mut())?,
        stream: device.stream(),
    };
    let function = device.kernel(|kernels| kernels.embedding, "embedding")?;
    // SAFETY: as in `rms_norm`.
    device.check(unsafe { function(&params) })
}
