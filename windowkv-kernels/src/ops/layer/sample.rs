//! The next token of each row of logits.

use crate::device::Device;
use crate::element::Float;
use crate::error::Error;
use crate::ffi;
use crate::flags::flag_word;
use crate::sampling::Sampling;
use crate::view::{Matrix, Slice, SliceMut};

/// Parameters of [`sample`].
#[derive(Debug)]
pub struct SampleParams<'a, T: Float> {
    /// `[rows, vocab]`
    pub logits: Matrix<'a, T>,
    /// `[rows]`: how each row's token is chosen, and the number of tokens that were drawn before (below 0: the row
    /// is left alone). `None`: the largest logit of each row.
    pub sampling: Option<(Slice<'a, Sampling>, Slice<'a, i32>)>,
    /// `[rows]`
    pub tokens: SliceMut<'a, i32>,
    /// One word; see [`Flags`](crate::Flags).
    pub flags: Option<SliceMut<'a, u32>>,
}

/// The next token of each row. NaN counts as -inf, with [`Flags::NAN`](crate::Flags::NAN); ties go to the lower id.
///
/// With weights `exp((logit - max) / temperature)`: the `top_k` most probable tokens, of these the most probable whose
/// weights sum up to `top_p` of their sum, and of these, by ascending id, the first with which the sum of weights
/// exceeds `u` of their sum. `u` is the first 64 bits of Philox4x32-10 over 2^64, with the seed as key and the step as
/// counter. Numbers of a [`Sampling`] that are out of range raise [`Flags::RANGE`](crate::Flags::RANGE).
///
/// # Errors
/// [`Error::Shape`] when shapes do not fit together, [`Error::InvalidArgument`] for an empty vocabulary,
/// [`Error::WrongDevice`]; what the launch gives.
pub fn sample<T: Float>(device: &Device, params: SampleParams<'_, T>) -> Result<(), Error> {
    let SampleParams {
        logits,
        sampling,
        mut tokens,
        mut flags,
    } = params;
    let rows = logits.rows();
    logits.on("logits", device)?;
    tokens.on("tokens", device)?;
    Error::same("sample: the length of tokens", tokens.len(), rows)?;
    let (mut how, mut steps) = (std::ptr::null(), std::ptr::null());
    if let Some((samplings, drawn)) = sampling {
        samplings.on("sampling", device)?;
        drawn.on("steps", device)?;
        Error::same("sample: the length of sampling", samplings.len(), rows)?;
        Error::same("sample: the length of steps", drawn.len(), rows)?;
        (how, steps) = (samplings.as_ptr().cast(), drawn.as_ptr());
    }
    let params = ffi::wkv_sample_params {
        struct_size: size_of::<ffi::wkv_sample_params>(),
        logits: logits.as_ptr().cast(),
        sampling: how,
        steps,
        tokens: tokens.as_mut_ptr(),
        logits_stride: logits.stride() as i64,
        rows: Error::int32("the number of rows", rows)?,
        vocab: Error::int32("vocab", logits.columns())?,
        dtype: T::DTYPE,
        flags: flag_word(device, flags.as_mut())?,
        stream: device.stream(),
    };
    let function = device.kernel(|kernels| kernels.sample, "sample")?;
    // SAFETY: as in `rms_norm`.
    device.check(unsafe { function(&params) })
}
