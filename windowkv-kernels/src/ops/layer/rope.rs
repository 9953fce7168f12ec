//! Rotary embedding of q and k.

use std::ffi::CStr;

use crate::device::Device;
use crate::element::HalfPrecision;
use crate::error::Error;
use crate::ffi;
use crate::view::{Slice, TensorMut, no_tensor};

/// How the rotary embedding is stretched to longer contexts (`rope_type` llama3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3Scaling {
    /// By how much low frequencies are slowed down.
    pub factor: f64,
    /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are slowed down fully.
    pub low_freq_factor: f64,
    /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are left alone.
    pub high_freq_factor: f64,
    /// Context length that the model was first trained for, in tokens.
    pub original_max_position_embeddings: f64,
}

/// Parameters of [`rope`].
#[derive(Debug)]
pub struct RopeParams<'a, T: HalfPrecision> {
    /// `[1, tokens, num_heads_q, head_dim]`, turned in place.
    pub q: TensorMut<'a, T>,
    /// `[1, tokens, num_heads_kv, head_dim]`, turned in place.
    pub k: Option<TensorMut<'a, T>>,
    /// `[tokens]`: each token's position in the text; below 0, the token is left alone.
    pub positions: Slice<'a, i32>,
    /// `[head_dim / 2]` from [`rope_turns`].
    pub turns: Slice<'a, u64>,
}

/// `turns[i] = 2^64 / (2 pi) * theta^(-2 i / head_dim)`, slowed down by `scaling`: what a token turns from one
/// position to the next, as a 64-bit fraction of a turn, `[head_dim / 2]`.
///
/// # Errors
/// [`Error::InvalidArgument`] when `head_dim` is odd or 0, or a number is not above 0 and finite.
pub fn rope_turns(
    head_dim: usize,
    theta: f64,
    scaling: Option<Llama3Scaling>,
) -> Result<Vec<u64>, Error> {
    let int_head_dim = Error::int32("head_dim", head_dim)?;
    let mut turns = Vec::new();
    turns.try_reserve_exact(head_dim / 2).map_err(|_| {
        Error::OutOfMemory(format!("no room for the turns of a head_dim of {head_dim}"))
    })?;
    turns.resize(head_dim / 2, 0);
    let raw_scaling = scaling.map(|scaling| ffi::wkv_llama3_scaling {
        factor: scaling.factor,
        low_freq_factor: scaling.low_freq_factor,
        high_freq_factor: scaling.high_freq_factor,
        original_max_position_embeddings: scaling.original_max_position_embeddings,
    });
    let raw_scaling = raw_scaling
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `turns` has head_dim / 2 elements, and `raw_scaling` is null or lives across the call.
    let status =
        unsafe { ffi::wkv_rope_turns(turns.as_mut_ptr(), int_head_dim, theta, raw_scaling) };
    Error::check(status, || {
        // SAFETY: the library returns a C string that lives until this thread's next failing call.
        unsafe { CStr::from_ptr(ffi::wkv_last_error()) }
            .to_string_lossy()
            .into_owned()
    })?;
    Ok(turns)
}

/// Turns dimensions `i` and `i + head_dim / 2` of each token and head by `positions[token] * turns[i]`, an angle
/// that is exact at any position.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::InvalidArgument`] for another `head_dim` than 32, 64,
/// 96, 128 or rows that are not 16-byte aligned, [`Error::WrongDevice`]; what the launch gives.
pub fn rope<T: HalfPrecision>(device: &Device, params: RopeParams<'_, T>) -> Result<(), Error> {
    let RopeParams {
        mut q,
        mut k,
        positions,
        turns,
    } = params;
    let shape = q.shape();
    q.on("q", device)?;
    positions.on("positions", device)?;
    turns.on("turns", device)?;
    Error::same("rope: the batch of q", shape.batch, 1)?;
    Error::same(
        "rope: the number of positions",
        positions.len(),
        shape.tokens,
    )?;
    Error::same("rope: the length of turns", turns.len(), shape.head_dim / 2)?;
    let num_heads_kv = k.as_ref().map_or(1, |k| k.shape().heads);
    if let Some(k) = &k {
        k.on("k", device)?;
        Error::same("rope: the batch of k", k.shape().batch, 1)?;
        Error::same("rope: the tokens of k", k.shape().tokens, shape.tokens)?;
        Error::same("rope: head_dim of k", k.shape().head_dim, shape.head_dim)?;
    }
    let params = ffi::wkv_rope_params {
        struct_size: size_of::<ffi::wkv_rope_params>(),
        q: q.raw(),
        k: k.as_mut().map_or(no_tensor(), TensorMut::raw),
        positions: positions.as_ptr(),
        turns: turns.as_ptr(),
        tokens: shape.tokens as i64,
        num_heads_q: Error::int32("num_heads_q", shape.heads)?,
        num_heads_kv: Error::int32("num_heads_kv", num_heads_kv)?,
        head_dim: Error::int32("head_dim", shape.head_dim)?,
        dtype: T::DTYPE,
        stream: device.stream(),
    };
    let function = device.kernel(|kernels| kernels.rope, "rope")?;
    // SAFETY: as in `rms_norm`.
    device.check(unsafe { function(&params) })
}
