//! Shapes and strides, checked against the memory that they describe.

use crate::error::Error;

/// Elements from one sequence, token or head to the next. The numbers of one head lie side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strides {
    /// From one sequence to the next. Not used for ragged batches, which have one.
    pub batch: usize,
    /// From one token to the next.
    pub token: usize,
    /// From one head to the next.
    pub head: usize,
}

/// Sizes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sequences; 1 for a ragged batch, whose sequences follow each other along `tokens`.
    pub batch: usize,
    /// Tokens of a sequence, or of all sequences of a ragged batch.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Numbers of a head.
    pub head_dim: usize,
}

impl Shape {
    /// `[batch, tokens, heads, head_dim]`.
    pub fn new([batch, tokens, heads, head_dim]: [usize; 4]) -> Self {
        Self {
            batch,
            tokens,
            heads,
            head_dim,
        }
    }

    /// Tokens outermost in each sequence, no gaps.
    pub fn tokens_outermost(self) -> Strides {
        let token = self.heads.saturating_mul(self.head_dim);
        Strides {
            batch: self.tokens.saturating_mul(token),
            token,
            head: self.head_dim,
        }
    }

    /// Heads outermost in each sequence, no gaps.
    pub fn heads_outermost(self) -> Strides {
        let head = self.tokens.saturating_mul(self.head_dim);
        Strides {
            batch: self.heads.saturating_mul(head),
            token: self.head_dim,
            head,
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shape {
            batch,
            tokens,
            heads,
            head_dim,
        } = self;
        write!(f, "[{batch}, {tokens}, {heads}, {head_dim}]")
    }
}

/// [`Error::Shape`] unless elements `offset ..` of `len` hold the tensor. `exclusive`: no two of its elements
/// may share a place.
pub(crate) fn check(
    dims: &[(usize, usize)],
    inner: usize,
    offset: usize,
    len: usize,
    exclusive: bool,
) -> Result<(), Error> {
    let empty = inner == 0 || dims.iter().any(|&(size, _)| size == 0);
    let describe = || {
        let sizes: Vec<usize> = dims.iter().map(|&(size, _)| size).chain([inner]).collect();
        let strides: Vec<usize> = dims.iter().map(|&(_, stride)| stride).collect();
        format!("a tensor {sizes:?} with strides {strides:?} from element {offset}")
    };
    let extent = dims.iter().try_fold(inner, |end, &(size, stride)| {
        size.saturating_sub(1).checked_mul(stride)?.checked_add(end)
    });
    let end = if empty {
        Some(offset)
    } else {
        extent.and_then(|e| e.checked_add(offset))
    };
    // An i64 of the C ABI holds every stride that fits the memory; one of an axis of one may be larger.
    if end.is_none_or(|end| end > len) {
        return Err(Error::Shape(format!(
            "{} does not fit a memory of {len} elements",
            describe()
        )));
    }
    if dims
        .iter()
        .any(|&(_, stride)| i64::try_from(stride).is_err())
    {
        return Err(Error::Shape(format!(
            "{}: a stride is over 2^63",
            describe()
        )));
    }
    if exclusive && !empty {
        let mut axes: Vec<(usize, usize)> = dims.iter().copied().filter(|d| d.0 > 1).collect();
        axes.sort_by_key(|&(_, stride)| stride);
        let mut reach = inner;
        for (size, stride) in axes {
            if stride < reach {
                return Err(Error::Shape(format!(
                    "{} would write elements on top of each other",
                    describe()
                )));
            }
            reach += (size - 1) * stride;
        }
    }
    Ok(())
}
