//! Which tokens belong to which sequence of a batch.

use crate::device::Device;
use crate::error::Error;
use crate::ffi;
use crate::view::{Shape, Slice};

/// Which tokens of a tensor belong to which sequence. Lengths lie on the device and are not read back: a
/// kernel takes them for no more than the tensor holds.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    cu_seqlens: Option<Slice<'a, i32>>,
    seqlens: Option<Slice<'a, i32>>,
    max_seqlen: usize,
}

impl<'a> Sequences<'a> {
    /// Each sequence of the batch has `max_seqlen` tokens, or what [`with_seqlens`](Self::with_seqlens) says.
    pub fn padded(max_seqlen: usize) -> Self {
        Self {
            cu_seqlens: None,
            seqlens: None,
            max_seqlen,
        }
    }

    /// Sequence `b` is the tokens `cu_seqlens[b] .. cu_seqlens[b + 1]` of a tensor whose batch is 1; none is
    /// taken for longer than `max_seqlen`. `cu_seqlens [batch + 1]`.
    pub fn ragged(cu_seqlens: Slice<'a, i32>, max_seqlen: usize) -> Self {
        Self {
            cu_seqlens: Some(cu_seqlens),
            seqlens: None,
            max_seqlen,
        }
    }

    /// Only the first `seqlens[b]` tokens of each sequence count. `seqlens [batch]`.
    pub fn with_seqlens(self, seqlens: Slice<'a, i32>) -> Self {
        Self {
            seqlens: Some(seqlens),
            ..self
        }
    }

    /// No sequence is taken for longer.
    pub fn max_seqlen(&self) -> usize {
        self.max_seqlen
    }

    /// Whether the sequences follow each other along the tokens of one batch.
    pub fn is_ragged(&self) -> bool {
        self.cu_seqlens.is_some()
    }

    /// The number of sequences in a tensor of this shape.
    pub fn batch(&self, shape: Shape) -> usize {
        self.cu_seqlens
            .map_or(shape.batch, |cu_seqlens| cu_seqlens.len().saturating_sub(1))
    }

    /// Checks them against the tensor (or rows) that they cut, for a call with `batch` sequences.
    pub(crate) fn check(
        &self,
        name: &'static str,
        device: &Device,
        batch: usize,
        tensor_batch: usize,
        tokens: usize,
    ) -> Result<(), Error> {
        if let Some(cu_seqlens) = self.cu_seqlens {
            cu_seqlens.on(name, device)?;
            Error::same(
                &format!("{name}: the length of cu_seqlens"),
                cu_seqlens.len(),
                batch.saturating_add(1),
            )?;
            Error::same(
                &format!("{name}: the batch of a ragged tensor"),
                tensor_batch,
                1,
            )?;
        } else {
            Error::same(&format!("{name}: the batch"), tensor_batch, batch)?;
            if self.max_seqlen > tokens {
                return Err(Error::Shape(format!(
                    "{name}: max_seqlen is {}, the tensor has {tokens} tokens a sequence",
                    self.max_seqlen
                )));
            }
        }
        if let Some(seqlens) = self.seqlens {
            seqlens.on(name, device)?;
            Error::same(
                &format!("{name}: the length of seqlens"),
                seqlens.len(),
                batch,
            )?;
        }
        Error::int32(&format!("{name}: max_seqlen"), self.max_seqlen)?;
        Error::int32(&format!("{name}: the number of tokens"), tokens)?;
        Ok(())
    }

    /// For the C ABI; `tokens` of the tensor.
    pub(crate) fn raw(&self, tokens: usize) -> ffi::wkv_sequences {
        let start = |slice: Option<Slice<'_, i32>>| slice.map_or(std::ptr::null(), |s| s.as_ptr());
        ffi::wkv_sequences {
            cu_seqlens: start(self.cu_seqlens),
            seqlens: start(self.seqlens),
            max_seqlen: self.max_seqlen as i64,
            num_tokens: tokens as i64,
        }
    }
}
