//! How the sequences of a batch lie in a tensor, and their lengths on a device.

use proptest::prelude::*;
use windowkv_kernels::{Buffer, Device, Error, Sequences};

/// How the sequences of a batch follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// Along the tokens of one batch.
    Ragged,
    /// Ragged, and only the first tokens of each sequence count.
    RaggedShortened,
    /// Each in a batch of its own, with the lengths beside them.
    Padded,
    /// Each in a batch of its own, all as long as the longest.
    Full,
}

impl Batching {
    /// Each of them.
    pub fn any() -> impl Strategy<Value = Self> {
        let all = [
            Self::Ragged,
            Self::RaggedShortened,
            Self::Padded,
            Self::Full,
        ];
        prop::sample::select(all.to_vec())
    }
}

/// Where the sequences of a batch lie in a tensor.
#[derive(Debug)]
pub struct Places {
    /// Of the tensor.
    pub batch: usize,
    /// Of the tensor; some at the end belong to no sequence unless it is ragged.
    pub tokens: usize,
    /// `(batch, token)` of each sequence's first token.
    pub starts: Vec<(usize, usize)>,
    cu_seqlens: Option<Vec<i32>>,
    seqlens: Option<Vec<i32>>,
    max_seqlen: usize,
}

impl Places {
    /// Of sequences of these lengths, which are equal with [`Batching::Full`].
    pub fn new(lens: &[usize], batching: Batching) -> Self {
        let longest = lens.iter().copied().max().unwrap_or(0);
        let seqlens = lens.iter().map(|&len| len as i32).collect();
        let shortened = batching == Batching::RaggedShortened;
        if matches!(batching, Batching::Padded | Batching::Full) {
            return Self {
                batch: lens.len(),
                tokens: longest + 2,
                starts: (0..lens.len()).map(|b| (b, 0)).collect(),
                cu_seqlens: None,
                seqlens: (batching == Batching::Padded).then_some(seqlens),
                max_seqlen: longest,
            };
        }
        let mut cu_seqlens = vec![0];
        for (b, &len) in lens.iter().enumerate() {
            let unused = if shortened { b % 3 + 1 } else { 0 };
            cu_seqlens.push(cu_seqlens[b] + (len + unused) as i32);
        }
        let starts = &cu_seqlens[..lens.len()];
        Self {
            batch: 1,
            tokens: cu_seqlens[lens.len()] as usize,
            starts: starts.iter().map(|&at| (0, at as usize)).collect(),
            cu_seqlens: Some(cu_seqlens),
            seqlens: shortened.then_some(seqlens),
            max_seqlen: longest + if shortened { 3 } else { 0 },
        }
    }

    /// Their lengths on a device.
    ///
    /// # Errors
    /// What the upload gives.
    pub fn upload(&self, device: &Device) -> Result<Lengths, Error> {
        let upload = |list: &Option<Vec<i32>>| list.as_ref().map(|l| device.upload(l)).transpose();
        Ok(Lengths {
            cu_seqlens: upload(&self.cu_seqlens)?,
            seqlens: upload(&self.seqlens)?,
            max_seqlen: self.max_seqlen,
        })
    }
}

/// The lengths of a batch on a device.
#[derive(Debug)]
pub struct Lengths {
    cu_seqlens: Option<Buffer<i32>>,
    seqlens: Option<Buffer<i32>>,
    max_seqlen: usize,
}

impl Lengths {
    /// As kernels take them.
    pub fn sequences(&self) -> Sequences<'_> {
        let sequences = match &self.cu_seqlens {
            Some(cu_seqlens) => Sequences::ragged(cu_seqlens.view(), self.max_seqlen),
            None => Sequences::padded(self.max_seqlen),
        };
        match &self.seqlens {
            Some(seqlens) => sequences.with_seqlens(seqlens.view()),
            None => sequences,
        }
    }
}
