//! A model's sizes as the kernels see them.

use std::ops::Range;

use crate::config::ModelConfig;
use crate::{Error, Result};

/// Widths of heads that the attention kernels have.
const HEAD_DIMS: [usize; 4] = [32, 64, 96, 128];

/// Sizes of a model on a device. Heads of other widths are filled up with zeros to the next that the kernels have,
/// which changes no product, and turns no pair of numbers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Width of the residual stream, a multiple of 8.
    pub hidden: usize,
    /// Width inside the MLP, a multiple of 8.
    pub inner: usize,
    /// Decoder layers.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads_q: usize,
    /// KV heads.
    pub num_heads_kv: usize,
    /// Width of a head as the model has it.
    pub model_head_dim: usize,
    /// Width of a head on the device: 32, 64, 96 or 128.
    pub head_dim: usize,
    /// Token ids.
    pub vocab: usize,
}

impl Sizes {
    /// Those of `config`.
    ///
    /// # Errors
    /// [`Error::DeviceModel`] for sizes that the kernels do not take.
    pub fn new(config: &ModelConfig) -> Result<Self> {
        let of_eight = |what, value: usize| match value.is_multiple_of(8) {
            true => Ok(value),
            false => Err(Error::DeviceModel {
                what,
                value,
                expected: "a multiple of 8",
            }),
        };
        let head_dim = HEAD_DIMS.into_iter().find(|&dim| dim >= config.head_dim);
        Ok(Self {
            hidden: of_eight("a hidden_size", config.hidden_size)?,
            inner: of_eight("an intermediate_size", config.intermediate_size)?,
            num_layers: config.num_layers,
            num_heads_q: config.num_heads_q,
            num_heads_kv: config.num_heads_kv,
            model_head_dim: config.head_dim,
            head_dim: head_dim.ok_or(Error::DeviceModel {
                what: "a head_dim",
                value: config.head_dim,
                expected: "at most 128",
            })?,
            vocab: config.vocab_size,
        })
    }

    /// Width of all queries of a token.
    pub fn q(&self) -> usize {
        self.num_heads_q * self.head_dim
    }

    /// Width of all keys of a token.
    pub fn kv(&self) -> usize {
        self.num_heads_kv * self.head_dim
    }

    /// Width of a token's queries, keys and values together.
    pub fn qkv(&self) -> usize {
        self.q() + 2 * self.kv()
    }

    /// Where number `index` of a head (or of heads side by side) comes from in the model; `None` for a zero that
    /// fills a head up. The two halves that the rotary embedding pairs stay halves.
    pub(super) fn model_index(&self, index: usize) -> Option<usize> {
        let (head, within) = (index / self.head_dim, index % self.head_dim);
        let (half, model_half) = (self.head_dim / 2, self.model_head_dim / 2);
        let (part, within) = (within / half, within % half);
        (within < model_half).then(|| head * self.model_head_dim + part * model_half + within)
    }

    /// Elements of all weights on the device, biases left out.
    pub(super) fn weight_elements(&self, tied: bool) -> u64 {
        let layer = self.hidden * (self.qkv() + self.q() + 3 * self.inner + 2);
        let tables = if tied { 1 } else { 2 };
        (self.num_layers * layer + self.hidden * (tables * self.vocab + 1)) as u64
    }

    /// Rows of the fused weight that make queries.
    pub(super) fn q_rows(&self) -> Range<usize> {
        0..self.q()
    }

    /// Rows of the fused weight that make keys and values.
    pub(super) fn kv_rows(&self) -> Range<usize> {
        self.q()..self.qkv()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_heads_are_filled_up_half_by_half() {
        let sizes = Sizes {
            hidden: 64,
            inner: 96,
            num_layers: 1,
            num_heads_q: 2,
            num_heads_kv: 1,
            model_head_dim: 6,
            head_dim: 32,
            vocab: 10,
        };
        let first: Vec<_> = (0..32)
            .filter_map(|i| Some((i, sizes.model_index(i)?)))
            .collect();
        assert_eq!(first, [(0, 0), (1, 1), (2, 2), (16, 3), (17, 4), (18, 5)]);
        assert_eq!(sizes.model_index(32 + 17), Some(6 + 4));
    }
}
