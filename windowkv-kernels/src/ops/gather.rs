//! Copying the tokens that stay into a compact cache.

use crate::device::Device;
use crate::element::HalfPrecision;
use crate::error::Error;
use crate::ffi;
use crate::flags::flag_word;
use crate::observation::Observation;
use crate::view::{
    CacheLayout, CacheMut, Matrix, Sequences, Shape, Slice, SliceMut, Strides, Tensor, raw_strides,
};

/// Which windows of each sequence stay.
#[derive(Clone, Copy, Debug)]
pub struct KeptWindows<'a> {
    /// `[batch]`: `suffix_len` and `window_len` of each sequence; `window_len` 0 keeps the sequence whole.
    pub observations: Slice<'a, Observation>,
    /// `[batch * index_heads, max_keep]`: windows in ascending order. `index_heads` is 1, and all heads keep the same
    /// windows, or the number of KV heads, each of which keeps its own, equally many tokens.
    pub indices: Matrix<'a, i32>,
    /// `[batch * index_heads]`: how many of a row of `indices` count.
    pub num_kept: Slice<'a, i32>,
}

/// One layer of a [`gather`].
#[derive(Debug)]
pub struct GatherLayer<'a, T: HalfPrecision> {
    /// `[batch, tokens, num_heads_kv, head_dim]`, or `[1, tokens of all sequences, ..]` for a ragged batch.
    pub k: Tensor<'a, T>,
    /// The same shape and strides.
    pub v: Tensor<'a, T>,
    /// Where the kept tokens go.
    pub cache: CacheMut<'a, T>,
}

/// Parameters of [`gather`].
#[derive(Debug)]
pub struct GatherParams<'a, T: HalfPrecision> {
    /// The layers that share the windows; their keys and values have one shape and one set of strides.
    pub layers: Vec<GatherLayer<'a, T>>,
    /// Of the layers' keys and values.
    pub sequences_kv: Sequences<'a>,
    /// Of the layers' caches.
    pub cache: CacheLayout<'a>,
    /// What stays.
    pub windows: KeptWindows<'a>,
    /// `[batch]`: tokens that are now in the cache.
    pub kept_lens: SliceMut<'a, i32>,
    /// One word; see [`Flags`](crate::Flags).
    pub flags: Option<SliceMut<'a, u32>>,
}

/// Parameters of [`compact`].
#[derive(Debug)]
pub struct CompactParams<'a, T: HalfPrecision> {
    /// The layers that share the windows.
    pub layers: Vec<CacheMut<'a, T>>,
    /// Of the layers; without pages.
    pub cache: CacheLayout<'a>,
    /// Padded: how many tokens of each sequence are in the cache so far.
    pub sequences_kv: Sequences<'a>,
    /// What stays.
    pub windows: KeptWindows<'a>,
    /// `[batch]`: tokens that are now in the cache.
    pub kept_lens: SliceMut<'a, i32>,
    /// One word; see [`Flags`](crate::Flags).
    pub flags: Option<SliceMut<'a, u32>>,
}

/// `cache[b, 0 .. kept_lens[b]]` = the tokens of the chosen windows in ascending order, then the suffix, of each
/// layer's keys and values, bit for bit.
///
/// What does not fit the cache is left out, with [`Flags::CAPACITY`](crate::Flags::CAPACITY). Windows outside the
/// sequence or out of order, too many of them, lists of unequal length, lengths outside the tensor and pages that
/// do not exist are clamped or left out, with [`Flags::RANGE`](crate::Flags::RANGE).
///
/// # Errors
/// [`Error::Shape`] when shapes or strides do not fit together, [`Error::WrongDevice`], what the launch gives.
pub fn gather<T: HalfPrecision>(device: &Device, params: GatherParams<'_, T>) -> Result<(), Error> {
    let GatherParams {
        mut layers,
        sequences_kv,
        cache,
        windows,
        kept_lens,
        flags,
    } = params;
    let Some(first) = layers.first() else {
        return Err(Error::Shape("gather: no layers: give at least one".into()));
    };
    let (shape, strides) = (first.k.shape(), first.k.strides());
    let mut raw_layers = Vec::with_capacity(layers.len());
    for layer in &mut layers {
        for (name, tensor) in [("k", &layer.k), ("v", &layer.v)] {
            tensor.on(name, device)?;
            if tensor.shape() != shape || tensor.strides() != strides {
                return Err(Error::Shape(format!(
                    "gather: {name} is {} with {:?}, the first layer's k is {shape} with {strides:?}: gather layers \
                     that lie differently in calls of their own",
                    tensor.shape(),
                    tensor.strides()
                )));
            }
        }
        layer.cache.check(device, &cache)?;
        raw_layers.push(ffi::wkv_gather_layer {
            k_source: layer.k.raw().data,
            v_source: layer.v.raw().data,
            k_cache: layer.cache.k.as_mut_ptr().cast(),
            v_cache: layer.cache.v.as_mut_ptr().cast(),
        });
    }
    let call = Call {
        name: "gather",
        shape,
        strides,
        sequences_kv,
        cache,
        windows,
        kept_lens,
        flags,
    };
    call.run::<T>(device, &raw_layers)
}

/// [`gather`] from a cache into itself: the tokens that stay move to the front, in place.
///
/// # Errors
/// As [`gather`]; also for a paged cache or a ragged batch.
pub fn compact<T: HalfPrecision>(
    device: &Device,
    params: CompactParams<'_, T>,
) -> Result<(), Error> {
    let CompactParams {
        mut layers,
        cache,
        sequences_kv,
        windows,
        kept_lens,
        flags,
    } = params;
    let mut raw_layers = Vec::with_capacity(layers.len());
    for layer in &mut layers {
        layer.check(device, &cache)?;
        let (k, v) = (layer.k.as_mut_ptr().cast(), layer.v.as_mut_ptr().cast());
        raw_layers.push(ffi::wkv_gather_layer {
            k_source: k,
            v_source: v,
            k_cache: k.cast(),
            v_cache: v.cast(),
        });
    }
    let call = Call {
        name: "compact",
        shape: Shape::new([
            cache.batch(),
            cache.capacity(),
            cache.heads(),
            cache.head_dim(),
        ]),
        strides: cache.strides(),
        sequences_kv,
        cache,
        windows,
        kept_lens,
        flags,
    };
    call.run::<T>(device, &raw_layers)
}

/// What both have in common.
struct Call<'a> {
    name: &'static str,
    /// Of the source.
    shape: Shape,
    strides: Strides,
    sequences_kv: Sequences<'a>,
    cache: CacheLayout<'a>,
    windows: KeptWindows<'a>,
    kept_lens: SliceMut<'a, i32>,
    flags: Option<SliceMut<'a, u32>>,
}

impl Call<'_> {
    fn run<T: HalfPrecision>(
        mut self,
        device: &Device,
        layers: &[ffi::wkv_gather_layer],
    ) -> Result<(), Error> {
        let (shape, cache, windows) = (self.shape, &self.cache, &self.windows);
        let batch = self.sequences_kv.batch(shape);
        let name = |what: &str| format!("{}: {what}", self.name);
        self.sequences_kv
            .check("sequences_kv", device, batch, shape.batch, shape.tokens)?;
        Error::same(&name("the batch of the cache"), cache.batch(), batch)?;
        Error::same(&name("the heads of the cache"), cache.heads(), shape.heads)?;
        Error::same(
            &name("head_dim of the cache"),
            cache.head_dim(),
            shape.head_dim,
        )?;
        windows.observations.on("observations", device)?;
        windows.indices.on("indices", device)?;
        windows.num_kept.on("num_kept", device)?;
        self.kept_lens.on("kept_lens", device)?;
        Error::same(
            &name("the number of observations"),
            windows.observations.len(),
            batch,
        )?;
        Error::same(
            &name("the length of kept_lens"),
            self.kept_lens.len(),
            batch,
        )?;
        let rows = windows.indices.rows();
        Error::same(
            &name("the length of num_kept"),
            windows.num_kept.len(),
            rows,
        )?;
        let index_heads = if rows == batch { 1 } else { shape.heads };
        if Some(rows) != batch.checked_mul(index_heads) {
            return Err(Error::Shape(format!(
                "{}: indices has {rows} rows, neither one for each of {batch} sequences nor one for each of its {} \
                 KV heads",
                self.name, shape.heads
            )));
        }
        let int32 = |what: &str, value| Error::int32(&name(what), value);
        let params = ffi::wkv_gather_params {
            struct_size: size_of::<ffi::wkv_gather_params>(),
            layers: layers.as_ptr(),
            num_layers: int32("the number of layers", layers.len())?,
            source_strides: raw_strides(self.strides),
            sequences_kv: self.sequences_kv.raw(shape.tokens),
            cache: cache.raw(),
            observations: windows.observations.as_ptr().cast(),
            indices: windows.indices.as_ptr(),
            num_kept: windows.num_kept.as_ptr(),
            index_batch_stride: (index_heads * windows.indices.stride()) as i64,
            index_head_stride: windows.indices.stride() as i64,
            index_heads: int32("index_heads", index_heads)?,
            max_keep: int32("the columns of indices", windows.indices.columns())?,
            kept_lens: self.kept_lens.as_mut_ptr(),
            batch: int32("the batch", batch)?,
            num_heads_kv: int32("the number of KV heads", shape.heads)?,
            head_dim: int32("head_dim", shape.head_dim)?,
            dtype: T::DTYPE,
            flags: flag_word(device, self.flags.as_mut())?,
            stream: device.stream(),
        };
        let function = device.kernel(|kernels| kernels.gather, "gather")?;
        // SAFETY: the views keep their memory alive and inside its bounds until the call returns, and those that
        // are written are exclusive; it lies where the device's stream orders the kernel before every later use
        // of it. `layers` is read during the call alone.
        device.check(unsafe { function(&params) })
    }
}
