//! The selection kernel: the exact best of each row, whatever the scores, and flags for what cannot be.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windowkv_kernels::{Device, Error, Flags, Matrix, MatrixMut, Schedule, ops};
use windowkv_ref::policy::top_indices;
use windowkv_tests::golden::{self, Vectors};
use windowkv_tests::kernels::{SparseMemory, a_device, devices, emulated, fail, on_every_device};

/// The edges of what the kernel does: 32 scores of a step, 256 of all warps, whole digits.
const COUNTS: [usize; 15] = [
    0, 1, 2, 31, 32, 33, 63, 64, 255, 256, 257, 511, 512, 513, 1025,
];
/// What an output holds before, and where nothing is to be written.
const UNWRITTEN: i32 = -1;

/// How the scores of a row are drawn.
#[derive(Debug, Clone, Copy)]
enum Scores {
    /// As column sums of a softmax: positive, over many powers of two.
    Attention,
    /// Any bits, but those of NaN.
    AnyBits,
    /// All the same.
    Equal,
    /// Two or three values: ties at every threshold.
    Few,
    /// Neighbouring floats: all but the last digit of their keys agree.
    Close,
    /// Zeros of both signs, infinities, subnormals.
    Special,
    /// Rising: the last ones win.
    Rising,
    /// Falling: the first ones win.
    Falling,
}

impl Scores {
    const ALL: [Self; 8] = [
        Self::Attention,
        Self::AnyBits,
        Self::Equal,
        Self::Few,
        Self::Close,
        Self::Special,
        Self::Rising,
        Self::Falling,
    ];

    fn draw(self, count: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
        let special = [
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MIN_POSITIVE / 2.0,
            -1e-45,
            f32::MAX,
            f32::MIN,
        ];
        let few = [
            0.25,
            -1.0,
            f32::from_bits(random.random::<u32>() & 0x7f7f_ffff),
        ];
        let base = random.random_range(0x2000_0000u32..0x4000_0000);
        (0..count)
            .map(|i| match self {
                Self::Attention => (random.random::<f32>() * 12.0 - 14.0).exp2(),
                Self::AnyBits => {
                    let number = f32::from_bits(random.random());
                    if number.is_nan() { 0.5 } else { number }
                }
                Self::Equal => few[2],
                Self::Few => few[random.random_range(0..3)],
                Self::Close => f32::from_bits(base + random.random_range(0..40)),
                Self::Special => special[random.random_range(0..special.len())],
                Self::Rising => i as f32 - 3.0,
                Self::Falling => 3.0 - i as f32,
            })
            .collect()
    }
}

/// One sequence: its windows, what is asked for, its scores.
#[derive(Debug, Clone)]
struct SequenceCase {
    num_windows: usize,
    num_keep: i32,
    scores: Scores,
    /// NaNs in each row.
    nans: usize,
}

#[derive(Debug, Clone)]
struct Case {
    sequences: Vec<SequenceCase>,
    rows_per_sequence: usize,
    /// Room for windows beyond the most, and for kept ones beyond the most (below 0: too little).
    spare_windows: usize,
    spare_keep: i32,
    /// Elements between the rows.
    gaps: [usize; 2],
    seed: u64,
}

fn sequence() -> impl Strategy<Value = SequenceCase> {
    let count = prop_oneof![prop::sample::select(&COUNTS[..]), 0usize..700];
    let asked = (0..8, any::<prop::sample::Index>());
    let scores = prop::sample::select(&Scores::ALL[..]);
    (
        count,
        asked,
        scores,
        prop_oneof![6 => Just(0), 1 => 1usize..4],
    )
        .prop_map(|(num_windows, (which, index), scores, nans)| {
            let num_keep = match which {
                0 => 0,
                1 => 1,
                2 => num_windows as i32 - 1,
                3 => num_windows as i32,
                4 => num_windows as i32 + 7,
                _ => index.index(num_windows + 1) as i32,
            };
            SequenceCase {
                num_windows,
                num_keep,
                scores,
                nans,
            }
        })
}

fn any_case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(sequence(), 0..4),
        1usize..4,
        prop_oneof![Just(0usize), 1usize..70],
        prop_oneof![4 => 0..5i32, 1 => -30..0i32],
        [0usize..4, 0usize..4],
        any::<u64>(),
    )
        .prop_map(
            |(sequences, rows_per_sequence, spare_windows, spare_keep, gaps, seed)| Case {
                sequences,
                rows_per_sequence,
                spare_windows,
                spare_keep,
                gaps,
                seed,
            },
        )
}

/// What is asked of one launch.
struct Input {
    scores: Vec<f32>,
    rows: usize,
    max_windows: usize,
    stride: usize,
    num_windows: Vec<i32>,
    num_keep: Vec<i32>,
    max_keep: usize,
    indices_stride: usize,
}

/// What came of it: the kept ones of each row, and the flags.
fn run(device: &Device, input: &Input) -> Result<(Vec<Vec<usize>>, Flags), Error> {
    let Input {
        rows,
        max_keep,
        indices_stride,
        ..
    } = *input;
    let scores = device.upload(&input.scores)?;
    let num_windows = device.upload(&input.num_windows)?;
    let num_keep = device.upload(&input.num_keep)?;
    let mut indices = device.upload(&vec![UNWRITTEN; rows * indices_stride])?;
    let mut num_kept = device.upload(&vec![UNWRITTEN; rows])?;
    let mut flags = device.zeroed::<u32>(1)?;
    ops::select(
        device,
        ops::SelectParams {
            scores: Matrix::strided(scores.view(), rows, input.max_windows, input.stride, 0)?,
            num_windows: num_windows.view(),
            num_keep: num_keep.view(),
            indices: MatrixMut::strided(indices.view_mut(), rows, max_keep, indices_stride, 0)?,
            num_kept: num_kept.view_mut(),
            flags: Some(flags.view_mut()),
        },
    )?;
    let indices = indices.download()?;
    let mut kept = Vec::new();
    for (row, count) in num_kept.download()?.into_iter().enumerate() {
        let count = usize::try_from(count).expect("a count was written");
        let (written, rest) = indices[row * indices_stride..][..indices_stride].split_at(count);
        assert!(
            rest.iter().all(|&i| i == UNWRITTEN),
            "row {row} writes past its {count}: {rest:?}"
        );
        kept.push(written.iter().map(|&i| i as usize).collect());
    }
    Ok((kept, Flags::from_bits(flags.download()?[0])))
}

/// The oracle: NaN counts as -inf.
fn best(scores: &[f32], count: usize) -> Vec<usize> {
    let numbers: Vec<f32> = scores
        .iter()
        .map(|&x| if x.is_nan() { f32::NEG_INFINITY } else { x })
        .collect();
    top_indices(&numbers, count).expect("no NaN is left")
}

fn input_of(case: &Case, sequences: &[SequenceCase], rows: &[Vec<f32>]) -> Input {
    let most = case
        .sequences
        .iter()
        .map(|s| s.num_windows)
        .max()
        .unwrap_or(0);
    let max_windows = most + case.spare_windows;
    let wanted = case
        .sequences
        .iter()
        .map(|s| s.num_keep.clamp(0, s.num_windows as i32))
        .max();
    let max_keep = (wanted.unwrap_or(0) + case.spare_keep).max(0) as usize;
    let stride = max_windows + case.gaps[0];
    let mut scores = vec![f32::NAN; (rows.len() * stride).saturating_sub(case.gaps[0])];
    for (row, values) in rows.iter().enumerate() {
        scores[row * stride..][..values.len()].copy_from_slice(values);
    }
    Input {
        scores,
        rows: rows.len(),
        max_windows,
        stride,
        num_windows: sequences.iter().map(|s| s.num_windows as i32).collect(),
        num_keep: sequences.iter().map(|s| s.num_keep).collect(),
        max_keep,
        indices_stride: max_keep + case.gaps[1],
    }
}

fn selects_the_best(device: &Device, case: &Case) -> Result<(), TestCaseError> {
    let mut random = ChaCha8Rng::seed_from_u64(case.seed);
    let mut rows = Vec::new();
    let mut expected_flags = 0;
    for sequence in &case.sequences {
        let count = sequence.num_windows;
        let whole = sequence.num_keep >= count as i32;
        for _ in 0..case.rows_per_sequence {
            let mut scores = sequence.scores.draw(count, &mut random);
            for _ in 0..sequence.nans.min(count) {
                let sign = u32::from(random.random::<bool>()) << 31;
                scores[random.random_range(0..count)] = f32::from_bits(0x7fc0_0001 | sign);
            }
            // A row that is kept whole has no scores.
            rows.push(if whole { Vec::new() } else { scores });
        }
    }
    let input = input_of(case, &case.sequences, &rows);
    let (kept, flags) = run(device, &input).map_err(fail)?;
    for (row, kept) in kept.iter().enumerate() {
        let sequence = &case.sequences[row / case.rows_per_sequence];
        let wanted = sequence.num_keep.clamp(0, sequence.num_windows as i32) as usize;
        let count = wanted.min(input.max_keep);
        if count < wanted {
            expected_flags |= Flags::CAPACITY.bits();
        }
        if sequence.num_keep < 0 {
            expected_flags |= Flags::RANGE.bits();
        }
        if wanted == sequence.num_windows {
            prop_assert_eq!(
                kept,
                &(0..count).collect::<Vec<_>>(),
                "row {} is kept whole",
                row
            );
            continue;
        }
        if count > 0 && rows[row].iter().any(|x| x.is_nan()) {
            expected_flags |= Flags::NAN.bits();
        }
        prop_assert_eq!(kept, &best(&rows[row], count), "row {}", row);
    }
    prop_assert_eq!(flags, Flags::from_bits(expected_flags));

    // The same under another schedule, and each sequence alone.
    device.set_schedule(Schedule {
        seed: case.seed,
        workers: 1,
    });
    prop_assert_eq!(&run(device, &input).map_err(fail)?.0, &kept);
    let each = case
        .sequences
        .iter()
        .zip(rows.chunks(case.rows_per_sequence));
    for (index, (sequence, rows)) in each.enumerate() {
        let alone = input_of(case, std::slice::from_ref(sequence), rows);
        let (found, _) = run(device, &alone).map_err(fail)?;
        let first = index * case.rows_per_sequence;
        prop_assert_eq!(&found[..], &kept[first..first + case.rows_per_sequence]);
    }
    Ok(())
}

#[test]
fn the_best_of_each_row_are_selected() {
    on_every_device(400, any_case(), |device, case| {
        selects_the_best(device, &case)
    });
}

fn one_row(scores: Vec<f32>, num_keep: usize) -> Input {
    let count = scores.len();
    Input {
        scores,
        rows: 1,
        max_windows: count,
        stride: count,
        num_windows: vec![count as i32],
        num_keep: vec![num_keep as i32],
        max_keep: num_keep,
        indices_stride: num_keep,
    }
}

/// Around the 16,384 scores that fit the registers, and the most that a row may have.
#[test]
fn long_rows() {
    for device in devices() {
        for (count, kinds) in [
            (16_383, &Scores::ALL[..2]),
            (16_384, &Scores::ALL[1..3]),
            (16_385, &Scores::ALL[3..5]),
            (33_000, &Scores::ALL[..1]),
            (131_072, &Scores::ALL[3..4]),
        ] {
            for &kind in kinds {
                let mut random = ChaCha8Rng::seed_from_u64(count as u64);
                let mut scores = kind.draw(count, &mut random);
                let keep = count / 3;
                let (kept, flags) = run(&device, &one_row(scores.clone(), keep)).expect("it runs");
                assert_eq!(kept[0], best(&scores, keep), "{count} of {kind:?}");
                assert!(flags.is_empty());
                // A NaN beyond the registers is seen too.
                scores[count - 1] = f32::NAN;
                let (kept, flags) = run(&device, &one_row(scores.clone(), 1)).expect("it runs");
                assert_eq!((kept[0].clone(), flags), (best(&scores, 1), Flags::NAN));
            }
        }
    }
}

/// One digit of the key decides, and the others are the same; and ties through all four digits.
#[test]
fn every_digit_decides() {
    for device in devices() {
        for digit in 0..4 {
            let count = 300;
            let key = |i: usize| 0x3f80_0000u32 ^ ((i * 7 % 100) as u32) << (8 * digit);
            let scores: Vec<f32> = (0..count)
                .map(|i| f32::from_bits(key(i) & 0x7f7f_ffff))
                .collect();
            for keep in [1, 2, 3, 99, 100, 101, 150, 298, 299] {
                let (kept, _) = run(&device, &one_row(scores.clone(), keep)).expect("it runs");
                assert_eq!(
                    kept[0],
                    best(&scores, keep),
                    "digit {digit}, {keep} of {count}"
                );
            }
        }
    }
}

/// Numbers in device memory that the launcher cannot see.
#[test]
fn numbers_out_of_range_are_clamped_and_flagged() {
    let scores = vec![1.0, 5.0, 3.0, 4.0];
    for device in devices() {
        for (num_windows, num_keep, kept, flags) in [
            (-3, 2, vec![], Flags::RANGE),
            (i32::MIN, i32::MIN, vec![], Flags::RANGE),
            (4, -1, vec![], Flags::RANGE),
            (9, 2, vec![1, 3], Flags::RANGE),
            (i32::MAX, i32::MAX, vec![0, 1, 2, 3], Flags::RANGE),
            (0, 2, vec![], Flags::default()),
            (4, 2, vec![1, 3], Flags::default()),
        ] {
            let mut input = one_row(scores.clone(), 4);
            input.num_windows = vec![num_windows];
            input.num_keep = vec![num_keep];
            let found = run(&device, &input).expect("it runs");
            assert_eq!(found, (vec![kept], flags), "{num_keep} of {num_windows}");
        }
    }
}

#[test]
fn wrong_parameters_are_named() {
    let device = a_device();
    let refused = |input: &Input, word: &str| {
        let error = run(&device, input).expect_err(word);
        assert!(error.to_string().contains(word), "{error}");
    };
    let mut input = one_row(vec![0.0; 131_073], 1);
    refused(&input, "max_windows is 131073, not in [0, 131072]");
    input = one_row(vec![0.0; 6], 2);
    input.rows = 3;
    input.max_windows = 2;
    input.stride = 2;
    input.num_windows = vec![1, 1];
    input.num_keep = vec![1, 1];
    refused(&input, "3 rows for 2 sequences");
    input.num_keep = vec![1];
    refused(&input, "the length of num_keep is 1, expected 2");
    input.num_windows = vec![];
    input.num_keep = vec![];
    refused(&input, "the rows of no sequences is 3, expected 0");
}

/// The released code's windows from the released code's scores.
#[test]
fn golden_windows() {
    let mut layers = 0;
    for path in golden::entries("selection") {
        let vectors = Vectors::read(&path);
        for layer in vectors.suffixes("window_scores.layer") {
            let scores = vectors.array2(&format!("window_scores.layer{layer}"));
            let expected = vectors.indices(&format!("selected_windows.layer{layer}"));
            let row = scores.row(0).to_vec();
            for device in devices() {
                let (kept, flags) =
                    run(&device, &one_row(row.clone(), expected[0].len())).expect("it runs");
                assert_eq!(kept[0], expected[0], "{} layer {layer}", path.display());
                assert!(flags.is_empty());
            }
            layers += 1;
        }
    }
    println!("{layers} layers of golden windows");
    assert!(layers > 0);
}

/// Rows more than 2^31 elements apart.
#[test]
fn rows_far_apart() {
    let Some(device) = emulated() else {
        return;
    };
    let (count, keep, stride) = (100, 30, (1 << 31) + 5);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let rows = [0, 1].map(|_| Scores::Attention.draw(count, &mut random));
    let mut scores = SparseMemory::<f32>::new(&device, stride + count);
    let mut indices = SparseMemory::<i32>::new(&device, stride + keep);
    for (row, values) in rows.iter().enumerate() {
        scores.elements(row * stride, count).copy_from_slice(values);
    }
    let num_windows = device.upload(&[count as i32; 2]).expect("memory");
    let num_keep = device.upload(&[keep as i32; 2]).expect("memory");
    let mut num_kept = device.poisoned::<i32>(2).expect("memory");
    let params = ops::SelectParams {
        scores: Matrix::strided(scores.view(), 2, count, stride, 0).expect("it fits"),
        num_windows: num_windows.view(),
        num_keep: num_keep.view(),
        indices: MatrixMut::strided(indices.view_mut(), 2, keep, stride, 0).expect("it fits"),
        num_kept: num_kept.view_mut(),
        flags: None,
    };
    ops::select(&device, params).expect("it runs");
    for (row, values) in rows.iter().enumerate() {
        let kept = indices.elements(row * stride, keep);
        let kept: Vec<usize> = kept.iter().map(|&i| i as usize).collect();
        assert_eq!(kept, best(values, keep), "row {row}");
    }
}
