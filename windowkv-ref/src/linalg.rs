//! Matrix products on ndarray views, through the `gemm` crate.

use gemm::Parallelism;
use ndarray::{ArrayView2, ArrayViewMut2};

use crate::Real;

/// How many threads a product may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The caller's thread only: for products inside a loop that is parallel already.
    One,
    /// All threads of the current rayon pool.
    All,
}

/// `c = a b` (`accumulate` false) or `c += a b` (`accumulate` true).
///
/// Shapes: `a [m, k]`, `b [k, n]`, `c [m, n]`, any strides. What `c` held before is not read unless
/// `accumulate` is true. The result does not depend on the number of threads.
///
/// # Panics
/// When the shapes do not fit together: that is a bug in the caller, never a property of user data.
pub fn matmul<F: Real>(
    a: ArrayView2<'_, F>,
    b: ArrayView2<'_, F>,
    mut c: ArrayViewMut2<'_, F>,
    accumulate: bool,
    threads: Threads,
) {
    let (m, k) = a.dim();
    let n = b.ncols();
    assert_eq!(
        b.nrows(),
        k,
        "matmul: a has {k} columns, b has {} rows",
        b.nrows()
    );
    assert_eq!(c.dim(), (m, n), "matmul: c must be [{m}, {n}]");
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    // `F` is f32 or f64: `Real` is sealed, and gemm knows both.
    // SAFETY: the views live through the call, their dimensions were checked against each other above, and
    // a view's strides keep every index inside it; `c` is borrowed mutably, so it aliases neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            c.strides()[1],
            c.strides()[0],
            accumulate,
            a.as_ptr(),
            a.strides()[1],
            a.strides()[0],
            b.as_ptr(),
            b.strides()[1],
            b.strides()[0],
            F::one(),
            F::one(),
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// `sum_i widen(a[i]) b[i]`, in `LANES` interleaved partial sums so that the loop becomes SIMD code.
///
/// `widen` converts an element of `a` exactly, for example from bf16. The order of the additions is
/// fixed, so the result depends on nothing but the input (and `LANES`). `a` and `b` are equally long.
#[inline(always)]
pub fn dot<const LANES: usize, F: Real, W: Copy>(a: &[W], b: &[F], widen: impl Fn(W) -> F) -> F {
    debug_assert_eq!(a.len(), b.len());
    let mut sums = [F::zero(); LANES];
    let (a_body, a_tail) = a.as_chunks::<LANES>();
    let (b_body, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a_body.iter().zip(b_body) {
        for lane in 0..LANES {
            sums[lane] += widen(a[lane]) * b[lane];
        }
    }
    let mut total = sums.into_iter().sum::<F>();
    for (&a, &b) in a_tail.iter().zip(b_tail) {
        total += widen(a) * b;
    }
    total
}
