//! Attention of one new token a sequence over its cache.

use crate::device::{Device, entry};
use crate::element::HalfPrecision;
use crate::error::Error;
use crate::ffi;
use crate::flags::flag_word;
use crate::view::{CacheLayout, CacheMut, Shape, Slice, SliceMut, Tensor, TensorMut, no_tensor};

/// Parameters of [`decode`].
#[derive(Debug)]
pub struct DecodeParams<'a, T: HalfPrecision> {
    /// `[batch, 1, num_heads_q, head_dim]`.
    pub q: Tensor<'a, T>,
    /// Key and value of the new token, `[batch, 1, num_heads_kv, head_dim]` each; none: nothing is appended.
    pub new: Option<(Tensor<'a, T>, Tensor<'a, T>)>,
    /// The same shape as `q`.
    pub o: TensorMut<'a, T>,
    /// `[batch, num_heads_q]`: natural log.
    pub lse: Option<SliceMut<'a, f32>>,
    /// Keys and values so far.
    pub cache: CacheMut<'a, T>,
    /// Where they lie.
    pub layout: CacheLayout<'a>,
    /// `[batch]`: tokens in the cache before this call. Below 0: the sequence has left the batch.
    pub cache_lens: Slice<'a, i32>,
    /// Factor of `q . k`, usually `head_dim^-0.5`; positive.
    pub softmax_scale: f32,
    /// [`decode_workspace_size`] bytes or more. All zero before the first call; each call leaves it so that the next
    /// one can use it, whatever its sizes are. What was not zeroed gives NaN and
    /// [`Flags::RANGE`](crate::Flags::RANGE).
    pub workspace: SliceMut<'a, u8>,
    /// One word; see [`Flags`](crate::Flags).
    pub flags: Option<SliceMut<'a, u32>>,
}

/// `o[b] = softmax(q[b] K^T softmax_scale) V` over the `cache_lens[b]` cached tokens and the new one, whose key and
/// value are written to the cache behind them in the same launch. `cache_lens` is not changed: see [`advance`].
///
/// Without a key, or for a sequence that has left the batch, `o = 0` and `lse = -inf`, and nothing is written to its
/// cache. A new token that finds the cache full is attended to but not kept, with
/// [`Flags::CAPACITY`](crate::Flags::CAPACITY). A length over the capacity is taken for the capacity, a page that does
/// not exist for keys and values of zeros, with [`Flags::RANGE`](crate::Flags::RANGE).
///
/// A sequence's bits depend on its own query, keys and values alone, not on the batch, nor on pages. Scores stay below
/// the limit that [`prefill`](super::prefill) has, and what is not finite does what it does there.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::WrongDevice`], [`Error::InvalidArgument`] for a head_dim,
/// a scale, an alignment or a stride that the kernel does not take, or a workspace that is too small; what the launch
/// gives.
pub fn decode<T: HalfPrecision>(
    device: &Device,
    mut params: DecodeParams<'_, T>,
) -> Result<(), Error> {
    let shape = params.q.shape();
    let mut raw = raw_sizes::<T>(device, shape, &params.layout)?;
    params.q.on("q", device)?;
    params.o.on("o", device)?;
    params.cache.check(device, &params.layout)?;
    params.cache_lens.on("cache_lens", device)?;
    params.workspace.on("workspace", device)?;
    Error::same_shape("decode: o", params.o.shape(), shape)?;
    Error::same(
        "decode: the length of cache_lens",
        params.cache_lens.len(),
        shape.batch,
    )?;
    if let Some((k, v)) = &params.new {
        let expected = Shape {
            heads: params.layout.heads(),
            ..shape
        };
        for (name, tensor) in [("k of the new token", k), ("v of the new token", v)] {
            tensor.on(name, device)?;
            Error::same_shape(&format!("decode: {name}"), tensor.shape(), expected)?;
        }
        raw.k_new = k.raw();
        raw.v_new = v.raw();
    }
    if let Some(lse) = &mut params.lse {
        lse.on("lse", device)?;
        let rows = shape.batch.saturating_mul(shape.heads);
        Error::same("decode: the length of lse", lse.len(), rows)?;
        raw.lse = lse.as_mut_ptr();
    }
    raw.q = params.q.raw();
    raw.o = params.o.raw();
    raw.k_cache = params.cache.k.as_mut_ptr().cast();
    raw.v_cache = params.cache.v.as_mut_ptr().cast();
    raw.cache_lens = params.cache_lens.as_ptr();
    raw.softmax_scale = params.softmax_scale;
    raw.workspace = params.workspace.as_mut_ptr().cast();
    raw.workspace_bytes = params.workspace.len();
    raw.flags = flag_word(device, params.flags.as_mut())?;
    let function = device.kernel(|kernels| kernels.decode, "decode")?;
    // SAFETY: the views keep their memory alive and inside its bounds until the call returns, and those that are
    // written are exclusive; it lies where the device's stream orders the kernel before every later use of it.
    device.check(unsafe { function(&raw) })
}

/// Bytes of workspace that [`decode`] needs for `q` of this shape and such a cache, whatever lengths lie on the device.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::InvalidArgument`] for sizes that the kernel does not take.
pub fn decode_workspace_size<T: HalfPrecision>(
    device: &Device,
    q: Shape,
    layout: &CacheLayout<'_>,
) -> Result<usize, Error> {
    let raw = raw_sizes::<T>(device, q, layout)?;
    let mut bytes = 0;
    let function = entry(
        device.kernels()?.decode_workspace_size,
        "decode_workspace_size",
    )?;
    // SAFETY: both live across the call, which follows no other pointer.
    device.check(unsafe { function(&raw, &mut bytes) })?;
    Ok(bytes)
}

/// `values[i] += amount` for each value that is not below 0: cache lengths, positions, steps. A sum over `i32::MAX`
/// stays there; with an amount below 0 a value may fall below 0, and so leave the batch.
///
/// # Errors
/// [`Error::WrongDevice`], [`Error::Shape`] for more values than an `i32` counts; what the launch gives.
pub fn advance(device: &Device, mut values: SliceMut<'_, i32>, amount: i32) -> Result<(), Error> {
    values.on("values", device)?;
    let raw = ffi::wkv_advance_params {
        struct_size: size_of::<ffi::wkv_advance_params>(),
        values: values.as_mut_ptr(),
        count: Error::int32("advance: the number of values", values.len())?,
        amount,
        stream: device.stream(),
    };
    let function = device.kernel(|kernels| kernels.advance, "advance")?;
    // SAFETY: as in `decode`.
    device.check(unsafe { function(&raw) })
}

/// Checked sizes and the cache's layout, and nothing else.
fn raw_sizes<T: HalfPrecision>(
    device: &Device,
    q: Shape,
    layout: &CacheLayout<'_>,
) -> Result<ffi::wkv_decode_params, Error> {
    Error::same("decode: the tokens of q", q.tokens, 1)?;
    Error::same("decode: the batch of the cache", layout.batch(), q.batch)?;
    Error::same(
        "decode: head_dim of the cache",
        layout.head_dim(),
        q.head_dim,
    )?;
    Ok(ffi::wkv_decode_params {
        struct_size: size_of::<ffi::wkv_decode_params>(),
        q: no_tensor(),
        k_new: no_tensor(),
        v_new: no_tensor(),
        o: no_tensor(),
        lse: std::ptr::null_mut(),
        k_cache: std::ptr::null_mut(),
        v_cache: std::ptr::null_mut(),
        cache: layout.raw(),
        cache_lens: std::ptr::null(),
        batch: Error::int32("decode: the batch", q.batch)?,
        num_heads_q: Error::int32("decode: the number of query heads", q.heads)?,
        num_heads_kv: Error::int32("decode: the number of KV heads", layout.heads())?,
        head_dim: Error::int32("decode: head_dim", q.head_dim)?,
        softmax_scale: 0.0,
        dtype: T::DTYPE,
        workspace: std::ptr::null_mut(),
        workspace_bytes: 0,
        flags: std::ptr::null_mut(),
        stream: device.stream(),
    })
}
