//! Random tensors in every memory layout.

use ndarray::{Array3, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windowkv_ref::Real;

/// Uniform numbers within `amplitude`. They fit an f32, so that every float type gets the same ones.
///
/// # Panics
/// Never: every float type holds an f32, rounded.
pub fn tensor<F: Real>(seed: u64, shape: (usize, usize, usize), amplitude: f64) -> Array3<F> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    Array3::from_shape_simple_fn(shape, || {
        let number = ((random.random::<f64>() * 2.0 - 1.0) * amplitude) as f32;
        F::from_f32(number).expect("a float holds a float")
    })
}

/// The same numbers in f64, exactly.
///
/// # Panics
/// Never: f64 holds every f32.
pub fn widened<F: Real>(x: &Array3<F>) -> Array3<f64> {
    x.mapv(|x| x.to_f64().expect("f64 holds every float"))
}

/// Bit patterns, so that a comparison tells -0 from 0 and finds a NaN equal to itself.
///
/// # Panics
/// Never: f64 holds every f32.
pub fn bits<'a, F: Real>(numbers: impl IntoIterator<Item = &'a F>) -> Vec<u64> {
    let bits = |x: &F| x.to_f64().expect("f64 holds every float").to_bits();
    numbers.into_iter().map(bits).collect()
}

/// How a `[tokens, heads, head_dim]` tensor lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Tokens outermost, no gaps.
    Contiguous,
    /// Heads outermost, as a cache stores them.
    HeadsFirst,
    /// Dimensions outermost: a head's numbers are far apart.
    DimsFirst,
    /// Gaps of NaN on every axis: whoever reads them shows it.
    Padded,
    /// The last token first: a negative stride.
    Reversed,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 5] = [
        Self::Contiguous,
        Self::HeadsFirst,
        Self::DimsFirst,
        Self::Padded,
        Self::Reversed,
    ];

    /// The numbers of `x` in this layout; the shape stays.
    pub fn store<F: Real>(self, x: &Array3<F>) -> Array3<F> {
        let (tokens, heads, head_dim) = x.dim();
        let nan = |shape| Array3::from_elem(shape, F::nan());
        let mut stored = match self {
            Self::Contiguous => nan((tokens, heads, head_dim)),
            Self::HeadsFirst => nan((heads, tokens, head_dim)).permuted_axes([1, 0, 2]),
            Self::DimsFirst => nan((head_dim, heads, tokens)).permuted_axes([2, 1, 0]),
            Self::Padded => nan((tokens + 1, 2 * heads + 1, 3 * head_dim + 2))
                .slice_move(s![..tokens, 1..2 * heads + 1;2, 2..3 * head_dim + 2;3]),
            Self::Reversed => {
                let mut stored = nan((tokens, heads, head_dim));
                stored.invert_axis(Axis(0));
                stored
            }
        };
        stored.assign(x);
        stored
    }
}
