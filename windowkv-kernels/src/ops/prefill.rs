//! Causal attention over prompts.

use crate::device::Device;
use crate::element::HalfPrecision;
use crate::error::Error;
use crate::ffi;
use crate::flags::flag_word;
use crate::view::{RowsF32Mut, Sequences, SliceMut, Tensor, TensorMut, no_rows};

/// Parameters of [`prefill`].
#[derive(Debug)]
pub struct PrefillParams<'a, T: HalfPrecision> {
    /// `[batch, q tokens, num_heads_q, head_dim]`, or `[1, q tokens of all sequences, ..]` for a ragged batch.
    pub q: Tensor<'a, T>,
    /// `[batch, kv tokens, num_heads_kv, head_dim]`, or `[1, kv tokens of all sequences, ..]`.
    pub k: Tensor<'a, T>,
    /// The same shape as `k`.
    pub v: Tensor<'a, T>,
    /// The same shape as `q`.
    pub o: TensorMut<'a, T>,
    /// `[batch, num_heads_q, q tokens]`, or `[1, num_heads_q, q tokens of all sequences]`: natural log.
    pub lse: Option<RowsF32Mut<'a>>,
    /// Of q, o and lse.
    pub sequences_q: Sequences<'a>,
    /// Of k and v.
    pub sequences_kv: Sequences<'a>,
    /// Factor of `q . k`, usually `head_dim^-0.5`; positive.
    pub softmax_scale: f32,
    /// One word; see [`Flags`](crate::Flags).
    pub flags: Option<SliceMut<'a, u32>>,
}

/// Causal attention, aligned at the bottom right: row i of a sequence sees the keys
/// `0 ..= i + seqlen_kv - seqlen_q`, so that the last chunk of a prompt sees all of it. A row that sees none gives
/// `o = 0`, `lse = -inf`.
///
/// ```text
/// o   = softmax(q k^T softmax_scale) v
/// lse = log(sum(exp(q k^T softmax_scale)))
/// ```
///
/// Query head h reads KV head `h / (num_heads_q / num_heads_kv)`; head_dim is 32, 64, 96 or 128. Sums are in float32;
/// the probabilities are rounded to `T` before they meet v. For finite v, a row's bits depend on its own query, keys and
/// values alone: not on the batch, nor on how a prompt is cut into chunks. Rows beyond a sequence's length are left alone;
/// lengths outside the tensors, and `cu_seqlens` that descend, are clamped, with
/// [`Flags::RANGE`](crate::Flags::RANGE); where sequences overlap because of that, all of them write the rows that they
/// share.
///
/// Scores stay below 2^24 in the exponent of 2: `|q k^T softmax_scale| < 11,629,079`. A row whose largest does not is
/// NaN, one with another that does not may be, and neither is a wrong number. A NaN in q or k makes the rows that see
/// it NaN, and no others; so does a score of +inf, while one of -inf is as no key. A NaN or an infinity in v makes its
/// column of the rows that see it NaN or infinite, and perhaps that of rows that see another of the same 64 keys.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::WrongDevice`], [`Error::InvalidArgument`] for a head_dim,
/// a scale, an alignment or a stride that the kernel does not take; what the launch gives.
pub fn prefill<T: HalfPrecision>(
    device: &Device,
    mut params: PrefillParams<'_, T>,
) -> Result<(), Error> {
    let (q, k) = (params.q.shape(), params.k.shape());
    let batch = params.sequences_q.batch(q);
    params.q.on("q", device)?;
    params.k.on("k", device)?;
    params.v.on("v", device)?;
    params.o.on("o", device)?;
    params
        .sequences_q
        .check("sequences_q", device, batch, q.batch, q.tokens)?;
    params
        .sequences_kv
        .check("sequences_kv", device, batch, k.batch, k.tokens)?;
    Error::same("prefill: head_dim of k", k.head_dim, q.head_dim)?;
    Error::same_shape("prefill: o", params.o.shape(), q)?;
    Error::same_shape("prefill: v", params.v.shape(), k)?;
    let lse = match &mut params.lse {
        None => no_rows(),
        Some(lse) => {
            lse.on("lse", device)?;
            let [lse_batch, lse_heads, lse_tokens] = lse.shape();
            Error::same("prefill: the batch of lse", lse_batch, q.batch)?;
            Error::same("prefill: the heads of lse", lse_heads, q.heads)?;
            Error::same("prefill: the tokens of lse", lse_tokens, q.tokens)?;
            lse.raw()
        }
    };
    let raw = ffi::wkv_prefill_params {
        struct_size: size_of::<ffi::wkv_prefill_params>(),
        q: params.q.raw(),
        k: params.k.raw(),
        v: params.v.raw(),
        o: params.o.raw(),
        lse,
        sequences_q: params.sequences_q.raw(q.tokens),
        sequences_kv: params.sequences_kv.raw(k.tokens),
        batch: Error::int32("prefill: the batch", batch)?,
        num_heads_q: Error::int32("prefill: the number of query heads", q.heads)?,
        num_heads_kv: Error::int32("prefill: the number of KV heads", k.heads)?,
        head_dim: Error::int32("prefill: head_dim", q.head_dim)?,
        softmax_scale: params.softmax_scale,
        dtype: T::DTYPE,
        flags: flag_word(device, params.flags.as_mut())?,
        stream: device.stream(),
    };
    let function = device.kernel(|kernels| kernels.prefill, "prefill")?;
    // SAFETY: the views keep their memory alive and inside its bounds until the call returns, and those that are
    // written are exclusive; it lies where the device's stream orders the kernel before every later use of it.
    device.check(unsafe { function(&raw) })
}
