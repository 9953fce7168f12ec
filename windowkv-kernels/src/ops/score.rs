//! Scores of the review tokens and their windows.

use crate::device::{Device, entry};
use crate::element::HalfPrecision;
use crate::error::Error;
use crate::ffi;
use crate::flags::flag_word;
use crate::observation::Observation;
use crate::view::{
    MatrixMut, RowsF32, RowsF32Mut, Sequences, Shape, Slice, SliceMut, Tensor, no_rows, no_tensor,
};

/// What is made of a column's neighbours before windows are scored: stride 1, an odd width of at most 4095.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Nothing.
    #[default]
    None,
    /// Their average; tokens outside the review context count as zeros.
    Average {
        /// Columns.
        width: usize,
    },
    /// The largest of those inside the review context.
    Max {
        /// Columns.
        width: usize,
    },
}

impl Pooling {
    fn raw(self) -> (ffi::wkv_pooling, usize) {
        match self {
            Self::None => (ffi::wkv_pooling_WKV_POOL_AVERAGE, 1),
            Self::Average { width } => (ffi::wkv_pooling_WKV_POOL_AVERAGE, width),
            Self::Max { width } => (ffi::wkv_pooling_WKV_POOL_MAX, width),
        }
    }
}

/// The tensors that [`score`] reads.
#[derive(Clone, Copy, Debug)]
pub struct ScoreInput<'a, T: HalfPrecision> {
    /// `[batch, q tokens, num_heads_q, head_dim]`, or `[1, q tokens of all sequences, ..]` for a ragged batch: the
    /// last tokens of each sequence.
    pub q: Tensor<'a, T>,
    /// `[batch, kv tokens, num_heads_kv, head_dim]`, or `[1, kv tokens of all sequences, ..]`.
    pub k: Tensor<'a, T>,
    /// `[batch, num_heads_q, q tokens]`, or `[1, num_heads_q, q tokens of all sequences]`: the log-sum-exp (natural)
    /// of q's rows, from prefill.
    pub lse: RowsF32<'a>,
    /// Of q and lse.
    pub sequences_q: Sequences<'a>,
    /// Of k.
    pub sequences_kv: Sequences<'a>,
}

/// Parameters of [`score`].
#[derive(Debug)]
pub struct ScoreParams<'a, T: HalfPrecision> {
    /// What is scored.
    pub input: ScoreInput<'a, T>,
    /// `[batch]`.
    pub observations: Slice<'a, Observation>,
    /// `[batch, heads, max_columns]`, with as many heads as q, or as k: then each is the mean over the query heads
    /// that read it. Beyond a sequence's review tokens it is left alone.
    pub column_scores: Option<RowsF32Mut<'a>>,
    /// `[batch, max_windows]`. Beyond a sequence's windows it is left alone.
    pub window_scores: Option<MatrixMut<'a, f32>>,
    /// Over the columns of both outputs.
    pub pooling: Pooling,
    /// Factor of `q . k`, usually `head_dim^-0.5`.
    pub softmax_scale: f32,
    /// [`score_workspace_size`] bytes or more; its contents do not matter before and mean nothing after.
    pub workspace: SliceMut<'a, u8>,
    /// One word; see [`Flags`](crate::Flags).
    pub flags: Option<SliceMut<'a, u32>>,
}

/// Scores of the review tokens j of each sequence, the last `suffix_len` tokens excepted, in one pass over k:
///
/// ```text
/// t[h, j]             = sum over the observing rows i that see j of exp(q[i, h] . k[j] * softmax_scale - lse[h, i])
/// column_scores[c, j] = pool(mean over the query heads h of c of t[h, j])
/// window_scores[w]    = mean over h of the mean of the top_tokens largest pool(t[h, j]), j in w
/// ```
///
/// The last `query_len` rows of q observe. A NaN score stays NaN. Columns or windows that an output has no room for
/// are left out, with [`Flags::CAPACITY`](crate::Flags::CAPACITY); lengths outside the tensors, negative numbers,
/// `top_tokens` 0 and more rows than q has of a longer sequence are clamped, with
/// [`Flags::RANGE`](crate::Flags::RANGE). lse is a float32, so that what a row adds is off by about `|lse| 2^-23` of
/// itself.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::WrongDevice`], [`Error::InvalidArgument`] for a
/// pooling width that is even or over 4095, or a workspace that is too small; what the launch gives.
pub fn score<T: HalfPrecision>(
    device: &Device,
    mut params: ScoreParams<'_, T>,
) -> Result<(), Error> {
    let input = &params.input;
    let mut raw = raw_sizes(device, input)?;
    let batch = input.sequences_kv.batch(input.k.shape());
    input.q.on("q", device)?;
    input.k.on("k", device)?;
    input.lse.on("lse", device)?;
    raw.q = input.q.raw();
    raw.k = input.k.raw();
    raw.lse = input.lse.raw();
    params.observations.on("observations", device)?;
    Error::same(
        "score: the number of observations",
        params.observations.len(),
        batch,
    )?;
    raw.observations = params.observations.as_ptr().cast();
    if let Some(columns) = &mut params.column_scores {
        columns.on("column_scores", device)?;
        let [of_batch, heads, max_columns] = columns.shape();
        Error::same("score: the batch of column_scores", of_batch, batch)?;
        raw.column_heads = Error::int32("score: the heads of column_scores", heads)?;
        raw.max_columns = Error::int32("score: the columns of column_scores", max_columns)?;
        raw.column_scores = columns.raw();
    }
    if let Some(windows) = &mut params.window_scores {
        windows.on("window_scores", device)?;
        Error::same("score: the rows of window_scores", windows.rows(), batch)?;
        raw.max_windows = Error::int32("score: the columns of window_scores", windows.columns())?;
        raw.window_scores = ffi::wkv_rows_f32 {
            data: windows.as_mut_ptr(),
            batch_stride: windows.stride() as i64,
            head_stride: 0,
        };
    }
    let (pooling, width) = params.pooling.raw();
    raw.pooling = pooling;
    raw.pooling_width = Error::int32("score: the pooling width", width)?;
    raw.softmax_scale = params.softmax_scale;
    params.workspace.on("workspace", device)?;
    raw.workspace = params.workspace.as_mut_ptr().cast();
    raw.workspace_bytes = params.workspace.len();
    raw.flags = flag_word(device, params.flags.as_mut())?;
    let function = device.kernel(|kernels| kernels.score, "score")?;
    // SAFETY: the views keep their memory alive and inside its bounds until the call returns, and those that are
    // written are exclusive; it lies where the device's stream orders the kernels before every later use of it.
    device.check(unsafe { function(&raw) })
}

/// Bytes of workspace that [`score`] needs for such an input, whatever lengths lie on the device.
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::InvalidArgument`] for sizes that no device could serve.
pub fn score_workspace_size<T: HalfPrecision>(
    device: &Device,
    input: &ScoreInput<'_, T>,
) -> Result<usize, Error> {
    workspace_size(device, &raw_sizes(device, input)?)
}

/// [`score_workspace_size`] for one padded batch of these shapes, before any of its memory exists: `q` and `k` as
/// [`ScoreInput`] has them.
///
/// # Errors
/// As [`score_workspace_size`].
pub fn score_workspace_size_of_shapes<T: HalfPrecision>(
    device: &Device,
    q: Shape,
    k: Shape,
) -> Result<usize, Error> {
    Error::same("score: the batch of k", k.batch, q.batch)?;
    Error::same("score: head_dim of k", k.head_dim, q.head_dim)?;
    let raw = raw_sizes_of_shapes::<T>(
        device,
        q,
        k,
        &Sequences::padded(q.tokens),
        &Sequences::padded(k.tokens),
    )?;
    workspace_size(device, &raw)
}

fn workspace_size(device: &Device, raw: &ffi::wkv_score_params) -> Result<usize, Error> {
    let mut bytes = 0;
    let function = entry(
        device.kernels()?.score_workspace_size,
        "score_workspace_size",
    )?;
    // SAFETY: both live across the call, which follows no other pointer.
    device.check(unsafe { function(raw, &mut bytes) })?;
    Ok(bytes)
}

/// Checked sizes and sequences, and nothing else.
fn raw_sizes<T: HalfPrecision>(
    device: &Device,
    input: &ScoreInput<'_, T>,
) -> Result<ffi::wkv_score_params, Error> {
    let (q, k) = (input.q.shape(), input.k.shape());
    let batch = input.sequences_kv.batch(k);
    input
        .sequences_q
        .check("sequences_q", device, batch, q.batch, q.tokens)?;
    input
        .sequences_kv
        .check("sequences_kv", device, batch, k.batch, k.tokens)?;
    Error::same("score: head_dim of k", k.head_dim, q.head_dim)?;
    let [lse_batch, lse_heads, lse_tokens] = input.lse.shape();
    Error::same("score: the batch of lse", lse_batch, q.batch)?;
    Error::same("score: the heads of lse", lse_heads, q.heads)?;
    Error::same("score: the tokens of lse", lse_tokens, q.tokens)?;
    raw_sizes_of_shapes::<T>(device, q, k, &input.sequences_q, &input.sequences_kv)
}

/// The same of shapes and sequences that were checked.
fn raw_sizes_of_shapes<T: HalfPrecision>(
    device: &Device,
    q: Shape,
    k: Shape,
    sequences_q: &Sequences<'_>,
    sequences_kv: &Sequences<'_>,
) -> Result<ffi::wkv_score_params, Error> {
    let batch = sequences_kv.batch(k);
    Ok(ffi::wkv_score_params {
        struct_size: size_of::<ffi::wkv_score_params>(),
        q: no_tensor(),
        k: no_tensor(),
        lse: no_rows(),
        sequences_q: sequences_q.raw(q.tokens),
        sequences_kv: sequences_kv.raw(k.tokens),
        observations: std::ptr::null(),
        column_scores: no_rows(),
        window_scores: no_rows(),
        column_heads: 0,
        max_columns: 0,
        max_windows: 0,
        pooling_width: 1,
        pooling: ffi::wkv_pooling_WKV_POOL_AVERAGE,
        batch: Error::int32("score: the batch", batch)?,
        num_heads_q: Error::int32("score: the number of query heads", q.heads)?,
        num_heads_kv: Error::int32("score: the number of KV heads", k.heads)?,
        head_dim: Error::int32("score: head_dim", q.head_dim)?,
        softmax_scale: 0.0,
        dtype: T::DTYPE,
        workspace: std::ptr::null_mut(),
        workspace_bytes: 0,
        flags: std::ptr::null_mut(),
        stream: device.stream(),
    })
}
