//! Scores against their definition: the explicit softmax matrix, neighbours one by one, windows one by one.

use ndarray::{Array2, Array3, ArrayView2, Axis, array, s};
use proptest::prelude::*;
use windowkv_ref::policy::Windows;
use windowkv_ref::scoring::{
    average_pool, column_scores, max_pool, mean_over_groups, window_scores,
};
use windowkv_ref::{Error, Real, softmax_scale};
use windowkv_tests::attention::{ExactRow, unit_roundoff, visible};
use windowkv_tests::random::{Layout, bits, tensor, widened};
use windowkv_tests::schedule::{cases, on_threads};

/// Around the edges of the tiles: 128 rows, 256 keys.
const LENGTHS: [usize; 13] = [1, 2, 16, 63, 127, 128, 129, 255, 256, 257, 511, 512, 513];

#[derive(Debug, Clone)]
struct Case {
    rows: usize,
    seqlen: usize,
    columns: usize,
    num_heads_kv: usize,
    group: usize,
    head_dim: usize,
    top: f64,
    layouts: [Layout; 2],
    seed: u64,
}

fn any_case() -> impl Strategy<Value = Case> {
    let length = || prop_oneof![prop::sample::select(&LENGTHS[..]), 1usize..400];
    let layout = || prop::sample::select(&Layout::ALL[..]);
    (
        (length(), length(), 0..4),
        any::<prop::sample::Index>(),
        (
            1usize..=2,
            1usize..=3,
            prop::sample::select(&[1usize, 2, 7, 16, 33, 128][..]),
        ),
        prop::sample::select(&[0.01, 2.0, 50.0, 1e4][..]),
        [layout(), layout()],
        any::<u64>(),
    )
        .prop_map(
            |(
                (rows, seqlen, which),
                columns,
                (num_heads_kv, group, head_dim),
                top,
                layouts,
                seed,
            )| {
                // A suffix, all rows (H2O), or more rows than keys.
                let rows = match which {
                    0 => rows,
                    1 => seqlen,
                    _ => rows.min(32).min(seqlen),
                };
                let columns = if which == 2 {
                    seqlen - rows
                } else {
                    columns.index(seqlen + 1)
                };
                let head_dim =
                    head_dim.min((1_500_000 / (rows * seqlen * num_heads_kv * group)).max(1));
                Case {
                    rows,
                    seqlen,
                    columns,
                    num_heads_kv,
                    group,
                    head_dim,
                    top,
                    layouts,
                    seed,
                }
            },
        )
}

struct Scored<F> {
    found: Array2<F>,
    expected: Array2<f64>,
    bound: Array2<f64>,
    /// Rows that see at least one key.
    seeing: usize,
}

/// The column scores in `F`, and the column sums of the softmax matrix in f64 with what they may differ by:
/// each probability is `exp(score - lse)`, an exponent of `head_dim + 2` roundings for the score, one of the lse
/// (which came rounded to `F`) and one of the difference, 4 of the exponential, and then `rows` additions.
fn score<F: Real>(case: &Case) -> Scored<F> {
    let num_heads_q = case.num_heads_kv * case.group;
    let amplitude = (case.top / (case.head_dim as f64).sqrt()).sqrt();
    let make = |offset, layout: Layout, seqlen, heads| {
        let shape = (seqlen, heads, case.head_dim);
        layout.store(&tensor(case.seed.wrapping_add(offset), shape, amplitude))
    };
    let q: Array3<F> = make(0, case.layouts[0], case.rows, num_heads_q);
    let k: Array3<F> = make(1, case.layouts[1], case.seqlen, case.num_heads_kv);
    let scale: F = softmax_scale(case.head_dim);
    let (wide_q, wide_k) = (widened(&q), widened(&k));

    let unit = unit_roundoff::<F>() + unit_roundoff::<f64>();
    let mut lse = Array2::zeros((num_heads_q, case.rows));
    let mut expected = Array2::<f64>::zeros((num_heads_q, case.columns));
    let mut bound = Array2::<f64>::zeros((num_heads_q, case.columns));
    let mut seeing = 0;
    for row in 0..case.rows {
        let visible = visible(row, case.rows, case.seqlen);
        seeing += usize::from(visible > 0);
        for head in 0..num_heads_q {
            let query = wide_q.slice(s![row, head, ..]);
            let wide_scale = scale.to_f64().unwrap();
            let exact = ExactRow::new(query, wide_k.view(), head / case.group, visible, wide_scale);
            lse[[head, row]] = F::from_f64(exact.lse).unwrap();
            let roundings = exact.exponent_roundings(case.head_dim, exact.lse);
            for (j, (p, of_score)) in exact.probabilities.iter().zip(roundings).enumerate() {
                if j < case.columns {
                    let exponent = unit * (of_score + exact.lse.abs() + 4.0);
                    expected[[head, j]] += p;
                    // 1 % for products of errors; numbers below e^-87 may be taken for 0.
                    let additions = (case.rows as f64 * unit).exp();
                    bound[[head, j]] +=
                        1.01 * p * (exponent.exp() * additions - 1.0) + (-86.0f64).exp();
                }
            }
        }
    }
    let found = column_scores(q.view(), k.view(), lse.view(), scale, case.columns).unwrap();
    let again = on_threads(1 + case.seed as usize % 4, || {
        column_scores(q.view(), k.view(), lse.view(), scale, case.columns).unwrap()
    });
    assert_eq!(bits(&found), bits(&again), "bits depend on the threads");
    Scored {
        found,
        expected,
        bound,
        seeing,
    }
}

fn check_column_scores<F: Real>(case: &Case) {
    let Scored {
        found,
        expected,
        bound,
        seeing,
    } = score::<F>(case);
    assert_eq!(found.dim(), expected.dim());
    for (index, &expected) in expected.indexed_iter() {
        let found = found[index].to_f64().unwrap();
        assert!(
            (found - expected).abs() <= bound[index],
            "t{index:?} is {found}, not {expected}; allowed {:e}",
            bound[index]
        );
    }
    if case.columns == case.seqlen {
        // Each row of a softmax sums to 1.
        for (head, row) in found.rows().into_iter().enumerate() {
            let sum: f64 = row.iter().map(|x| x.to_f64().unwrap()).sum();
            let allowed = bound.row(head).sum() + 1e-9;
            assert!(
                (sum - seeing as f64).abs() <= allowed,
                "head {head}: {sum}, not {seeing}"
            );
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn column_scores_are_column_sums_of_the_softmax_matrix(case in any_case()) {
        check_column_scores::<f64>(&case);
        check_column_scores::<f32>(&case);
    }
}

/// Scores with ties, zeros and a few huge ones.
fn any_scores(max_tokens: usize) -> impl Strategy<Value = Array2<f64>> {
    let number = prop_oneof![4 => 0.0..1.0, 1 => Just(0.0), 1 => Just(0.5), 1 => 1e3..1e6];
    (1usize..=6, 0..=max_tokens).prop_flat_map(move |(heads, tokens)| {
        prop::collection::vec(number.clone(), heads * tokens)
            .prop_map(move |all| Array2::from_shape_vec((heads, tokens), all).unwrap())
    })
}

/// Sums of a few positive numbers in different orders differ by less than this, relatively.
const REORDERED: f64 = 1e-13;

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn pooling_is_neighbour_by_neighbour(scores in any_scores(40), half in 0usize..25) {
        let (width, tokens) = (2 * half + 1, scores.ncols() as isize);
        let average = average_pool(scores.view(), width).unwrap();
        let largest = max_pool(scores.view(), width).unwrap();
        prop_assert_eq!((average.dim(), largest.dim()), (scores.dim(), scores.dim()));
        for ((head, token), &found) in average.indexed_iter() {
            let around = -(half as isize)..=half as isize;
            let at = |offset: isize| {
                let token = token as isize + offset;
                (0..tokens).contains(&token).then(|| scores[[head, token as usize]])
            };
            let expected = around.clone().map(|offset| at(offset).unwrap_or(0.0)).sum::<f64>() / width as f64;
            prop_assert!((found - expected).abs() <= REORDERED * expected, "average: {found}, not {expected}");
            let expected = around.filter_map(at).fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!(largest[[head, token]], expected);
        }
    }

    #[test]
    fn window_scores_are_means_of_the_largest(
        scores in any_scores(60), window_len in 1usize..20, top_tokens in 1usize..25, nan in any::<prop::sample::Index>(),
    ) {
        let (heads, tokens) = scores.dim();
        let windows = Windows::new(tokens + 5, 5, window_len).unwrap();
        let found = window_scores(scores.view(), &windows, top_tokens).unwrap();
        prop_assert_eq!(found.len(), tokens.div_ceil(window_len));
        for (window, &found) in found.iter().enumerate() {
            let mut mean_of_heads = 0.0;
            for head in 0..heads {
                let mut column: Vec<f64> = (0..tokens)
                    .filter(|token| token / window_len == window)
                    .map(|token| scores[[head, token]])
                    .collect();
                column.sort_by(|a, b| b.total_cmp(a));
                column.truncate(top_tokens);
                mean_of_heads += column.iter().sum::<f64>() / column.len() as f64 / heads as f64;
            }
            prop_assert!((found - mean_of_heads).abs() <= REORDERED * mean_of_heads, "window {window}");
        }

        // A NaN reaches its window and no other.
        if tokens > 0 {
            let token = nan.index(tokens);
            let mut broken = scores.clone();
            broken[[heads - 1, token]] = f64::NAN;
            let broken = window_scores(broken.view(), &windows, top_tokens).unwrap();
            for (window, (broken, found)) in broken.iter().zip(&found).enumerate() {
                if window == token / window_len {
                    prop_assert!(broken.is_nan());
                } else {
                    prop_assert_eq!(broken.to_bits(), found.to_bits());
                }
            }
        }
    }

    #[test]
    fn heads_of_a_group_are_averaged(scores in any_scores(10), group in 1usize..4) {
        let heads_kv = scores.nrows();
        let mut expanded = Array2::zeros((heads_kv * group, scores.ncols()));
        for (head, mut row) in expanded.rows_mut().into_iter().enumerate() {
            // Their mean is the original row.
            let offset = (head % group) as f64 - (group - 1) as f64 / 2.0;
            row.assign(&scores.row(head / group).mapv(|x| x + offset));
        }
        let found = mean_over_groups(expanded.view(), heads_kv).unwrap();
        for (index, &expected) in scores.indexed_iter() {
            prop_assert!((found[index] - expected).abs() <= 1e-12 * (1.0 + expected));
        }
    }
}

/// Scores of a uniform attention are known: row i of n gives each of its i + 1 keys 1 / (i + 1).
#[test]
fn uniform_attention_by_hand() {
    let (q, k) = (
        Array3::<f64>::zeros((3, 1, 4)),
        Array3::<f64>::zeros((4, 1, 4)),
    );
    let lse = array![[2f64.ln(), 3f64.ln(), 4f64.ln()]];
    let found = column_scores(q.view(), k.view(), lse.view(), 0.5, 4).unwrap();
    let expected = array![[13.0 / 12.0, 13.0 / 12.0, 7.0 / 12.0, 0.25]];
    assert!(
        (&found - &expected).iter().all(|x| x.abs() < 1e-15),
        "{found}"
    );
}

#[test]
fn what_cannot_be_is_an_error() {
    let (q, k) = (
        Array3::<f32>::zeros((3, 4, 8)),
        Array3::<f32>::zeros((5, 2, 8)),
    );
    let scores = |lse: (usize, usize), columns| {
        let lse = Array2::zeros(lse);
        column_scores(q.view(), k.view(), lse.view(), 1.0, columns).map(|scores| scores.dim())
    };
    assert_eq!(scores((4, 3), 5), Ok((4, 5)));
    assert_eq!(scores((4, 3), 0), Ok((4, 0)));
    let message = |error: Result<(usize, usize), Error>| error.unwrap_err().to_string();
    assert_eq!(message(scores((4, 3), 6)), "columns is 6, expected 5");
    assert_eq!(
        message(scores((3, 3), 5)),
        "lse's num_heads_q is 3, expected 4"
    );
    assert_eq!(message(scores((4, 2), 5)), "lse's rows is 2, expected 3");

    let row = array![[1.0, 2.0, 3.0]];
    for width in [0, 2, 8] {
        for pool in [average_pool, max_pool] {
            let error = pool(row.view(), width).unwrap_err();
            assert_eq!(
                error,
                Error::PoolingWidth {
                    name: "kernel_size",
                    width
                }
            );
            assert!(error.to_string().contains(&width.to_string()), "{error}");
        }
    }
    let windows = Windows::new(5, 1, 2).unwrap();
    let error = |scores: ArrayView2<'_, f64>, top| {
        window_scores(scores, &windows, top)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(row.view(), 2),
        "column_scores' tokens is 3, expected 4"
    );
    let four = array![[1.0, 2.0, 3.0, 4.0]];
    assert!(error(four.view(), 0).contains("top_tokens is 0"));
    assert!(error(four.slice(s![..0, ..]), 2).contains("num_heads_q is 0"));
    let three_heads = four.broadcast((3, 4)).unwrap();
    for heads_kv in [0, 2] {
        let error = mean_over_groups(three_heads, heads_kv).unwrap_err();
        assert!(
            matches!(error, Error::HeadsNotDivisible { num_heads_q: 3, .. }),
            "{error}"
        );
    }
    assert_eq!(four.len_of(Axis(1)), windows.review_len());
}
