//! Blocked attention and decode against the plain formula.

use ndarray::{Array2, Array3, ArrayView3, Axis, s};
use proptest::prelude::*;
use windowkv_ref::attention::{self, Attention};
use windowkv_ref::{Error, Real, softmax_scale};
use windowkv_tests::attention::{bound, unit_roundoff, visible};
use windowkv_tests::random::{Layout, bits, tensor, widened};
use windowkv_tests::schedule::{cases, on_threads};

/// Tiles of the blocked version: the lengths below stand around their edges.
const TILE_Q: usize = 64;
const TILE_KV: usize = 256;
const LENGTHS: [usize; 16] = [
    0, 1, 2, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513,
];
const HEAD_DIMS: [usize; 12] = [1, 2, 3, 4, 8, 15, 16, 33, 64, 80, 127, 128];
/// Largest products `seqlen_q * seqlen_kv * num_heads_q * head_dim` of a case, so that many cases run in seconds.
const MAX_WORK: usize = 1_500_000;

#[derive(Debug, Clone)]
struct Case {
    seqlen_q: usize,
    seqlen_kv: usize,
    num_heads_kv: usize,
    group: usize,
    head_dim: usize,
    /// Scores are within this.
    top: f64,
    layouts: [Layout; 4],
    seed: u64,
}

struct Tensors<F> {
    q: Array3<F>,
    k: Array3<F>,
    v: Array3<F>,
    scale: F,
}

impl Case {
    fn num_heads_q(&self) -> usize {
        self.num_heads_kv * self.group
    }

    fn work(&self) -> usize {
        self.seqlen_q * self.seqlen_kv * self.num_heads_q() * self.head_dim
    }

    /// Fewer heads and shorter ones until the case is small enough; the lengths stay.
    fn fit(mut self) -> Self {
        while self.work() > MAX_WORK && self.num_heads_kv > 1 {
            self.num_heads_kv -= 1;
        }
        while self.work() > MAX_WORK && self.head_dim > 1 {
            self.head_dim /= 2;
        }
        while self.work() > MAX_WORK && self.group > 1 {
            self.group -= 1;
        }
        self
    }

    fn tensors<F: Real>(&self) -> Tensors<F> {
        // |q . k| * head_dim^-0.5 is at most amplitude^2 * head_dim^0.5.
        let amplitude = (self.top / (self.head_dim as f64).sqrt()).sqrt();
        let of = |offset, layout: Layout, seqlen, heads, amplitude| {
            let shape = (seqlen, heads, self.head_dim);
            layout.store(&tensor(self.seed.wrapping_add(offset), shape, amplitude))
        };
        let [q, k, v, _] = self.layouts;
        Tensors {
            q: of(0, q, self.seqlen_q, self.num_heads_q(), amplitude),
            k: of(1, k, self.seqlen_kv, self.num_heads_kv, amplitude),
            v: of(2, v, self.seqlen_kv, self.num_heads_kv, 3.0),
            scale: softmax_scale(self.head_dim),
        }
    }

    /// Prefill into poisoned memory of the case's layout: whatever is not written stays NaN.
    fn prefill<F: Real>(&self, t: &Tensors<F>) -> Attention<F> {
        let poison = Array3::from_elem(t.q.dim(), F::nan());
        let mut out = self.layouts[3].store(&poison);
        let mut lse =
            Array2::from_elem((self.seqlen_q, self.num_heads_q()), F::nan()).reversed_axes();
        attention::prefill_into(
            t.q.view(),
            t.k.view(),
            t.v.view(),
            t.scale,
            out.view_mut(),
            lse.view_mut(),
        )
        .unwrap();
        Attention { out, lse }
    }
}

fn any_case(tops: &'static [f64]) -> impl Strategy<Value = Case> {
    let length = || prop_oneof![prop::sample::select(&LENGTHS[..]), 0usize..520];
    let layout = || prop::sample::select(&Layout::ALL[..]);
    (
        (length(), length(), any::<bool>()),
        (1usize..=3, prop::sample::select(&[1usize, 2, 3, 4, 7][..])),
        prop_oneof![prop::sample::select(&HEAD_DIMS[..]), 1usize..=128],
        prop::sample::select(tops),
        [layout(), layout(), layout(), layout()],
        any::<u64>(),
    )
        .prop_map(
            |(lengths, (num_heads_kv, group), head_dim, top, layouts, seed)| {
                let (seqlen_q, seqlen_kv, equal) = lengths;
                let seqlen_kv = if equal { seqlen_q } else { seqlen_kv };
                Case {
                    seqlen_q,
                    seqlen_kv,
                    num_heads_kv,
                    group,
                    head_dim,
                    top,
                    layouts,
                    seed,
                }
                .fit()
            },
        )
}

fn plain<F: Real>(t: &Tensors<F>) -> Attention<f64> {
    let [q, k, v] = [&t.q, &t.k, &t.v].map(widened);
    attention::plain(q.view(), k.view(), v.view(), t.scale.to_f64().unwrap()).unwrap()
}

/// Element by element; a NaN or anything not written fails.
#[track_caller]
fn assert_within<F: Real>(
    found: &Attention<F>,
    expected: &Attention<f64>,
    out_bound: &Array3<f64>,
    lse_bound: &Array2<f64>,
) {
    assert_eq!(found.out.dim(), expected.out.dim());
    assert_eq!(found.lse.dim(), expected.lse.dim());
    for (index, expected) in expected.out.indexed_iter() {
        let found = found.out[index].to_f64().unwrap();
        let error = (found - expected).abs();
        assert!(
            error <= out_bound[index],
            "out{index:?} is {found}, not {expected}: off by {error:e}, allowed {:e}",
            out_bound[index]
        );
    }
    for (index, &expected) in expected.lse.indexed_iter() {
        let found = found.lse[index].to_f64().unwrap();
        let same = found == expected; // both may be -inf
        assert!(
            same || (found - expected).abs() <= lse_bound[index],
            "lse{index:?} is {found}, not {expected}; allowed {:e}",
            lse_bound[index]
        );
    }
}

/// Rows without a key: out 0, lse -inf, to the bit.
fn assert_blind_rows<F: Real>(case: &Case, found: &Attention<F>) {
    for row in (0..case.seqlen_q).filter(|&row| visible(row, case.seqlen_q, case.seqlen_kv) == 0) {
        assert!(
            found
                .out
                .index_axis(Axis(0), row)
                .iter()
                .all(|x| x.is_zero()),
            "row {row}"
        );
        let lse = found.lse.column(row);
        assert!(
            lse.iter().all(|&x| x == F::neg_infinity()),
            "row {row}: {lse}"
        );
    }
}

/// The bound of the blocked version: a number goes through the additions of its tile (a product of the GEMM adds
/// the at most 256 keys one after the other; the row sum has 16 lanes, their fold and a tail), and is carried from
/// tile to tile.
fn check_prefill<F: Real>(case: &Case) {
    let t = case.tensors::<F>();
    let found = case.prefill(&t);
    let [q, k, v] = [&t.q, &t.k, &t.v].map(widened);
    let tiles = case.seqlen_kv.div_ceil(TILE_KV);
    let chain = case.seqlen_kv.min(TILE_KV) + 3 * tiles;
    let unit = unit_roundoff::<F>();
    // The plain formula in f64 is as far from the exact one as f64 itself, in one chain of additions.
    let scale = t.scale.to_f64().unwrap();
    let own = bound(q.view(), k.view(), v.view(), scale, unit, TILE_KV, chain);
    let oracle = unit_roundoff::<f64>();
    let of_plain = bound(
        q.view(),
        k.view(),
        v.view(),
        scale,
        oracle,
        usize::MAX,
        case.seqlen_kv,
    );
    assert_within(
        &found,
        &plain(&t),
        &(own.out + of_plain.out),
        &(own.lse + of_plain.lse),
    );
    assert_blind_rows(case, &found);
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn prefill_in_f64_is_the_plain_formula(case in any_case(&[0.01, 1.0, 8.0])) {
        let t = case.tensors::<f64>();
        let found = case.prefill(&t);
        let scale = bound(t.q.view(), t.k.view(), t.v.view(), t.scale, 0.0, TILE_KV, 0);
        // At scores within 8 and 520 keys, the derived bound of `check_prefill` is about 3e-13 of sum p |v|.
        let lse = Array2::from_elem(found.lse.dim(), 1e-12 * 16.0);
        assert_within(&found, &plain(&t), &(scale.mass * 1e-12), &lse);
        assert_blind_rows(&case, &found);
    }

    #[test]
    fn prefill_in_f32_is_within_its_bound(case in any_case(&[0.01, 1.0, 8.0, 100.0, 1e4])) {
        check_prefill::<f32>(&case);
    }

    #[test]
    fn prefill_in_f64_of_large_scores_is_within_its_bound(case in any_case(&[100.0, 1e4])) {
        check_prefill::<f64>(&case);
    }

    #[test]
    fn prefill_has_the_same_bits_on_any_number_of_threads(case in any_case(&[8.0])) {
        let t = case.tensors::<f32>();
        let [one, other] = [1, 2 + case.seed as usize % 3].map(|threads| {
            let found = on_threads(threads, || case.prefill(&t));
            (bits(&found.out), bits(&found.lse))
        });
        prop_assert!(one == other);
    }

    #[test]
    fn a_row_depends_on_what_it_sees_alone(case in any_case(&[8.0]), at in any::<prop::sample::Index>()) {
        prop_assume!(case.seqlen_q > 0 && case.seqlen_kv > 0);
        let clean = case.tensors::<f64>();
        let before = case.prefill(&clean);
        let key = at.index(case.seqlen_kv);
        let head_kv = case.seed as usize % case.num_heads_kv;
        let last_dim = case.head_dim - 1;
        let sees = |row: usize, head: usize| {
            head / case.group == head_kv && key < visible(row, case.seqlen_q, case.seqlen_kv)
        };

        let mut t = case.tensors::<f64>();
        t.k[[key, head_kv, last_dim]] = f64::NAN;
        let found = case.prefill(&t);
        for ((row, head, d), x) in found.out.indexed_iter() {
            if sees(row, head) {
                prop_assert!(x.is_nan(), "a NaN key vanished: row {row}, head {head}");
            } else {
                prop_assert_eq!(x.to_bits(), before.out[[row, head, d]].to_bits(), "key, row {}, head {}", row, head);
            }
        }
        for ((head, row), x) in found.lse.indexed_iter() {
            prop_assert_eq!(x.is_nan(), sees(row, head), "lse, row {}, head {}", row, head);
        }

        for poison in [f64::NAN, f64::INFINITY] {
            let mut t = case.tensors::<f64>();
            t.v[[key, head_kv, last_dim]] = poison;
            let found = case.prefill(&t);
            for ((row, head, d), x) in found.out.indexed_iter() {
                if sees(row, head) && d == last_dim {
                    prop_assert!(!x.is_finite(), "{poison} in v vanished: row {row}, head {head}");
                } else {
                    // The product runs over a copy without the poison, so rounding may differ.
                    let error = (x - before.out[[row, head, d]]).abs();
                    prop_assert!(error <= 1e-12, "{poison} in v of key {key}, row {row}, head {head}");
                }
            }
            prop_assert!(bits(&found.lse) == bits(&before.lse));
        }

        let (row, head) = (case.seqlen_q - 1, case.num_heads_q() - 1);
        let mut t = case.tensors::<f64>();
        t.q[[row, head, 0]] = f64::NAN;
        let found = case.prefill(&t);
        for ((r, h, d), x) in found.out.indexed_iter() {
            if (r, h) == (row, head) {
                prop_assert!(x.is_nan(), "a NaN query vanished");
            } else {
                prop_assert_eq!(x.to_bits(), before.out[[r, h, d]].to_bits());
            }
        }
    }

    #[test]
    fn decode_is_the_last_row_of_the_plain_formula(
        case in any_case(&[0.01, 8.0, 1e4]).prop_map(|case| Case { seqlen_q: 1, ..case }),
    ) {
        check_decode::<f64>(&case);
        check_decode::<f32>(&case);
    }
}

/// Decode adds key after key, so its chain is the whole cache.
fn check_decode<F: Real>(case: &Case) {
    let t = case.tensors::<F>();
    let query = t.q.index_axis(Axis(0), 0);
    let poison = Array3::from_elem(t.q.dim(), F::nan());
    let mut out = case.layouts[3].store(&poison);
    let decode = |out: &mut Array3<F>| {
        let out = out.index_axis_mut(Axis(0), 0);
        attention::decode_into(query, t.k.view(), t.v.view(), t.scale, out).unwrap()
    };
    let lse = decode(&mut out).insert_axis(Axis(1));
    let found = Attention { out, lse };
    let [q, k, v] = [&t.q, &t.k, &t.v].map(widened);
    let scale = t.scale.to_f64().unwrap();
    let of_unit = |unit| {
        bound(
            q.view(),
            k.view(),
            v.view(),
            scale,
            unit,
            usize::MAX,
            case.seqlen_kv,
        )
    };
    let (own, oracle) = (
        of_unit(unit_roundoff::<F>()),
        of_unit(unit_roundoff::<f64>()),
    );
    assert_within(
        &found,
        &plain(&t),
        &(own.out + oracle.out),
        &(own.lse + oracle.lse),
    );
    assert_blind_rows(case, &found);

    let mut again = found.out.clone();
    let lse = on_threads(1 + case.seed as usize % 4, || decode(&mut again));
    assert_eq!(bits(&again), bits(&found.out));
    assert_eq!(bits(&lse), bits(&found.lse));
}

fn ordinary(seqlen_q: usize, seqlen_kv: usize) -> Case {
    Case {
        seqlen_q,
        seqlen_kv,
        num_heads_kv: 1,
        group: 2,
        head_dim: 8,
        top: 8.0,
        layouts: [Layout::Contiguous; 4],
        seed: 11,
    }
}

#[test]
fn every_tile_edge() {
    for (tile_q, tile_kv) in [
        (TILE_Q, TILE_KV),
        (2 * TILE_Q, TILE_KV),
        (TILE_KV, TILE_KV),
        (TILE_KV, TILE_Q),
    ] {
        for seqlen_q in tile_q - 1..=tile_q + 1 {
            for seqlen_kv in tile_kv - 1..=tile_kv + 1 {
                check_prefill::<f32>(&ordinary(seqlen_q, seqlen_kv));
            }
        }
    }
}

#[test]
fn nothing_to_see_and_nobody_to_see_it() {
    for (seqlen_q, seqlen_kv) in [(0, 0), (0, 300), (3, 0), (300, 1), (70, 3)] {
        check_prefill::<f32>(&ordinary(seqlen_q, seqlen_kv));
        check_prefill::<f64>(&ordinary(seqlen_q, seqlen_kv));
    }
}

#[test]
fn the_plain_formula_by_hand() {
    // One head of one dimension; scores 0 and ln 3 in the second row: probabilities 1/4 and 3/4.
    let q = Array3::from_elem((2, 1, 1), 1.0);
    let k = Array3::from_shape_vec((2, 1, 1), vec![0.0, 3f64.ln()]).unwrap();
    let v = Array3::from_shape_vec((2, 1, 1), vec![4.0, 8.0]).unwrap();
    let found = attention::plain(q.view(), k.view(), v.view(), 1.0).unwrap();
    assert_eq!(found.out[[0, 0, 0]], 4.0);
    assert!((found.out[[1, 0, 0]] - 7.0).abs() < 1e-14);
    assert_eq!(found.lse[[0, 0]], 0.0);
    assert!((found.lse[[0, 1]] - 4f64.ln()).abs() < 1e-14);
}

/// Keys of -inf, as an overflow makes them: such a key has the probability 0; where there is no other, the row is as
/// one without a key.
#[test]
fn scores_of_minus_infinity() {
    for infinite in [0..1, 0..256, 5..300, 0..300] {
        let case = ordinary(300, 300);
        let mut t = case.tensors::<f32>();
        t.q.slice_mut(s![.., .., 0]).fill(1.0);
        t.k.slice_mut(s![infinite.clone(), .., 0])
            .fill(f32::NEG_INFINITY);
        let found = case.prefill(&t);
        let last_q = t.q.index_axis(Axis(0), 299);
        let (out, lse) = attention::decode(last_q, t.k.view(), t.v.view(), t.scale).unwrap();
        for row in 0..300 {
            let seen: Vec<usize> = (0..=row).filter(|key| !infinite.contains(key)).collect();
            let keep = |x: &Array3<f32>| x.select(Axis(0), &seen);
            let query = t.q.slice(s![row..=row, .., ..]);
            let (k, v) = (keep(&t.k), keep(&t.v));
            // One query over the finite keys alone.
            let expected = attention::plain(query, k.view(), v.view(), t.scale).unwrap();
            let mut pairs = vec![(found.out.index_axis(Axis(0), row), found.lse.column(row))];
            if row == 299 {
                pairs.push((out.view(), lse.view()));
            }
            for (found_out, found_lse) in pairs {
                for (found, expected) in found_out.iter().zip(&expected.out) {
                    assert!(
                        (found - expected).abs() <= 1e-5,
                        "{infinite:?}, row {row}: {found}, not {expected}"
                    );
                }
                for (&found, &expected) in found_lse.iter().zip(&expected.lse) {
                    assert!(
                        found == expected || (found - expected).abs() <= 1e-5,
                        "{infinite:?}, row {row}: {found}"
                    );
                }
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let x = |shape| Array3::<f32>::zeros(shape);
    let message = |q: (usize, usize, usize), k, v| {
        let (q, k, v) = (x(q), x(k), x(v));
        let views: [ArrayView3<'_, f32>; 3] = [q.view(), k.view(), v.view()];
        let errors = [
            attention::prefill(views[0], views[1], views[2], 1.0).map(|_| ()),
            attention::plain(views[0], views[1], views[2], 1.0).map(|_| ()),
            attention::decode(q.index_axis(Axis(0), 0), views[1], views[2], 1.0).map(|_| ()),
        ];
        let [prefill, plain, decode] = errors.map(|error| error.unwrap_err().to_string());
        assert_eq!(prefill, plain);
        assert_eq!(prefill, decode);
        prefill
    };
    let good = (5, 2, 8);
    assert_eq!(
        message((5, 4, 8), (5, 2, 7), good),
        "k's head_dim is 7, expected 8"
    );
    assert_eq!(
        message((5, 4, 8), good, (5, 2, 9)),
        "v's head_dim is 9, expected 8"
    );
    assert_eq!(
        message((5, 4, 8), good, (6, 2, 8)),
        "v's seqlen is 6, expected 5"
    );
    assert_eq!(
        message((5, 4, 8), good, (5, 1, 8)),
        "v's num_heads_kv is 1, expected 2"
    );
    assert!(
        message((5, 3, 8), good, good)
            .contains("num_heads_q 3 is not a multiple of num_heads_kv 2")
    );
    assert!(message((5, 0, 8), good, good).contains("num_heads_q is 0"));
    assert!(message((5, 4, 8), (5, 0, 8), (5, 0, 8)).contains("num_heads_kv is 0"));
    assert!(message((5, 4, 0), (5, 2, 0), (5, 2, 0)).contains("head_dim is 0"));

    let (q, k) = (x((5, 4, 8)), x(good));
    let into = |out: (usize, usize, usize), lse| {
        let (mut out, mut lse) = (x(out), Array2::zeros(lse));
        let (out, lse) = (out.view_mut(), lse.view_mut());
        attention::prefill_into(q.view(), k.view(), k.view(), 1.0, out, lse)
    };
    into((5, 4, 8), (4, 5)).unwrap();
    for (out, lse) in [
        ((4, 4, 8), (4, 5)),
        ((5, 3, 8), (4, 5)),
        ((5, 4, 7), (4, 5)),
        ((5, 4, 8), (5, 4)),
    ] {
        let error = into(out, lse).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error:?}");
    }
}
