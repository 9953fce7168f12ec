//! Memory layouts of tensors of tokens and heads.

use proptest::prelude::*;
use windowkv_kernels::{Shape, Strides};

/// What lies outermost, and how far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Tokens outermost, no gaps.
    Tokens,
    /// Heads outermost, no gaps.
    Heads,
    /// Tokens outermost, gaps after each head, token and sequence, and before the first.
    PaddedTokens,
    /// Heads outermost, with the same gaps.
    PaddedHeads,
}

impl Order {
    /// Any of them.
    pub fn any() -> impl Strategy<Value = Self> + Clone {
        prop_oneof![
            Just(Self::Tokens),
            Just(Self::Heads),
            Just(Self::PaddedTokens),
            Just(Self::PaddedHeads),
        ]
    }
}

/// A tensor `[batch, tokens, heads, head_dim]` in memory.
#[derive(Debug, Clone, Copy)]
pub struct Lay {
    /// Sizes.
    pub shape: Shape,
    /// Elements from one to the next.
    pub strides: Strides,
    /// Where it starts.
    pub offset: usize,
    /// Elements of the memory; it ends where the tensor ends.
    pub len: usize,
}

impl Lay {
    /// The memory of a tensor of this shape.
    pub fn new(shape: [usize; 4], order: Order) -> Self {
        let shape = Shape::new(shape);
        let gap = match order {
            Order::Tokens | Order::Heads => 0,
            Order::PaddedTokens | Order::PaddedHeads => 8,
        };
        let strides = match order {
            Order::Tokens | Order::PaddedTokens => {
                let head = shape.head_dim + gap;
                let token = shape.heads * head + 2 * gap;
                Strides {
                    batch: shape.tokens * token + 3 * gap,
                    token,
                    head,
                }
            }
            Order::Heads | Order::PaddedHeads => {
                let token = shape.head_dim + gap;
                let head = shape.tokens * token + 2 * gap;
                Strides {
                    batch: shape.heads * head + 3 * gap,
                    token,
                    head,
                }
            }
        };
        let last = |count: usize, stride: usize| count.saturating_sub(1) * stride;
        let empty = shape.batch == 0 || shape.tokens == 0 || shape.heads == 0;
        let extent = last(shape.batch, strides.batch)
            + last(shape.tokens, strides.token)
            + last(shape.heads, strides.head)
            + shape.head_dim;
        Self {
            shape,
            strides,
            offset: gap,
            len: gap + if empty { 0 } else { extent },
        }
    }

    /// Where the numbers of a head start.
    pub fn at(&self, batch: usize, token: usize, head: usize) -> usize {
        self.offset
            + batch * self.strides.batch
            + token * self.strides.token
            + head * self.strides.head
    }
}
