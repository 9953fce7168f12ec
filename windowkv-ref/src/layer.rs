//! What a Llama or Qwen2 layer needs beside matrix products and attention.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis};
use rayon::prelude::*;

use crate::{Error, Real};

/// `out = x / sqrt(mean(x^2) + eps) * weight`, row by row. `x out [rows, hidden]`, `weight [hidden]`.
///
/// # Errors
/// When the shapes do not fit together.
pub fn rms_norm<F: Real>(
    x: ArrayView2<'_, F>,
    weight: &[F],
    eps: F,
    mut out: ArrayViewMut2<'_, F>,
) -> Result<(), Error> {
    Error::same("weight's length", weight.len(), x.ncols())?;
    Error::same("out's rows", out.nrows(), x.nrows())?;
    Error::same("out's columns", out.ncols(), x.ncols())?;
    let count = F::from_count(x.ncols());
    let rows = out
        .axis_iter_mut(Axis(0))
        .into_par_iter()
        .zip(x.axis_iter(Axis(0)).into_par_iter());
    rows.with_min_len(32).for_each(|(mut out, x)| {
        let mean_square = x.iter().map(|&x| x * x).sum::<F>() / count;
        let factor = (mean_square + eps).sqrt().recip();
        for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * factor * weight;
        }
    });
    Ok(())
}

/// The `llama3` way of stretching the rotary embedding to longer contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3Scaling {
    /// By how much low frequencies are slowed down.
    pub factor: f64,
    /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are slowed down fully.
    pub low_freq_factor: f64,
    /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are left alone.
    pub high_freq_factor: f64,
    /// Context length that the model was first trained for, in tokens.
    pub original_max_position_embeddings: f64,
}

/// Angles of the rotary embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Radians per position of each pair of dimensions, `[head_dim / 2]`
    inv_freq: Vec<f64>,
}

impl Rope {
    /// `theta^(-2i / head_dim)` for pair `i`, slowed down by `scaling` if there is one.
    ///
    /// # Errors
    /// When `head_dim` is odd or 0.
    pub fn new(head_dim: usize, theta: f64, scaling: Option<Llama3Scaling>) -> Result<Self, Error> {
        Error::nonzero("head_dim", head_dim)?;
        Error::same("head_dim's remainder by 2", head_dim % 2, 0)?;
        let frequency = |pair: usize| theta.powf(-2.0 * pair as f64 / head_dim as f64);
        let scale = |frequency| scaling.map_or(frequency, |scaling| scaling.apply(frequency));
        Ok(Self {
            inv_freq: (0..head_dim / 2)
                .map(|pair| scale(frequency(pair)))
                .collect(),
        })
    }

    /// Cosines and sines of the given positions, both `[positions, head_dim / 2]`.
    pub fn tables<F: Real>(&self, positions: &[usize]) -> (Array2<F>, Array2<F>) {
        let angle = |(row, pair): (usize, usize)| positions[row] as f64 * self.inv_freq[pair];
        let table = |f: fn(f64) -> f64| {
            Array2::from_shape_fn((positions.len(), self.inv_freq.len()), |index| {
                F::from_f64(f(angle(index))).expect("a cosine fits every float")
            })
        };
        (table(f64::cos), table(f64::sin))
    }
}

impl Llama3Scaling {
    fn apply(&self, frequency: f64) -> f64 {
        let wavelength = std::f64::consts::TAU / frequency;
        let context = self.original_max_position_embeddings;
        if wavelength > context / self.low_freq_factor {
            frequency / self.factor
        } else if wavelength < context / self.high_freq_factor {
            frequency
        } else {
            let smooth = (context / wavelength - self.low_freq_factor)
                / (self.high_freq_factor - self.low_freq_factor);
            (1.0 - smooth) * frequency / self.factor + smooth * frequency
        }
    }
}

/// Rotates `x [rows, heads, head_dim]` in place: dimension `i` with dimension `i + head_dim / 2`.
/// `cos sin [rows, head_dim / 2]` as from [`Rope::tables`].
///
/// # Errors
/// When the shapes do not fit together.
pub fn apply_rope<F: Real>(
    mut x: ArrayViewMut3<'_, F>,
    cos: ArrayView2<'_, F>,
    sin: ArrayView2<'_, F>,
) -> Result<(), Error> {
    let half = x.dim().2 / 2;
    Error::same("head_dim's remainder by 2", x.dim().2 % 2, 0)?;
    Error::same("cos' rows", cos.nrows(), x.dim().0)?;
    Error::same("cos' columns", cos.ncols(), half)?;
    Error::same("sin's rows", sin.nrows(), x.dim().0)?;
    Error::same("sin's columns", sin.ncols(), half)?;
    let rows = x.axis_iter_mut(Axis(0)).into_par_iter();
    let rows = rows
        .zip(cos.axis_iter(Axis(0)).into_par_iter())
        .zip(sin.axis_iter(Axis(0)).into_par_iter());
    rows.with_min_len(32).for_each(|((mut heads, cos), sin)| {
        for head in heads.axis_iter_mut(Axis(0)) {
            let (mut low, mut high) = head.split_at(Axis(0), half);
            for (((low, high), &cos), &sin) in low.iter_mut().zip(&mut high).zip(cos).zip(sin) {
                (*low, *high) = (*low * cos - *high * sin, *high * cos + *low * sin);
            }
        }
    });
    Ok(())
}

/// `gate = silu(gate) * up`, with `silu(x) = x / (1 + e^-x)`. Both `[rows, intermediate]`.
///
/// # Errors
/// When the shapes do not fit together.
pub fn silu_mul<F: Real>(
    mut gate: ArrayViewMut2<'_, F>,
    up: ArrayView2<'_, F>,
) -> Result<(), Error> {
    Error::same("up's rows", up.nrows(), gate.nrows())?;
    Error::same("up's columns", up.ncols(), gate.ncols())?;
    let rows = gate
        .axis_iter_mut(Axis(0))
        .into_par_iter()
        .zip(up.axis_iter(Axis(0)).into_par_iter());
    rows.with_min_len(8).for_each(|(mut gate, up)| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || match (gate.as_slice_mut(), up.as_slice()) {
                (Some(gate), Some(up)) => silu_mul_row(gate, up),
                _ => gate.zip_mut_with(&up, |gate, &up| {
                    silu_mul_row(std::slice::from_mut(gate), &[up])
                }),
            },
        );
    });
    Ok(())
}

#[inline(always)]
fn silu_mul_row<F: Real>(gate: &mut [F], up: &[F]) {
    // e^-|x| never overflows: silu(x) = x / (1 + e^-x) for x >= 0, and x e^x / (1 + e^x) below.
    const PIECE: usize = 64;
    let mut decay = [F::zero(); PIECE];
    for (gate, up) in gate.chunks_mut(PIECE).zip(up.chunks(PIECE)) {
        let decay = &mut decay[..gate.len()];
        for (decay, gate) in decay.iter_mut().zip(&*gate) {
            *decay = -gate.abs();
        }
        F::exp_in_place(decay);
        for ((gate, &up), &decay) in gate.iter_mut().zip(up).zip(&*decay) {
            let numerator = if *gate >= F::zero() { F::one() } else { decay };
            *gate = *gate * numerator / (F::one() + decay) * up;
        }
    }
}
