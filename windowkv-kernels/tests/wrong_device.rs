//! Each parameter of each op has to lie where the op runs.

use std::cell::Cell;

use half::f16;
use windowkv_kernels::{
    Buffer, CacheLayout, CacheMut, Device, Element, Error, InOut, Matrix, MatrixMut, Observation,
    Pages, RowsF32, RowsF32Mut, Sampling, Sequences, Tensor, TensorMut, ffi, ops,
};

/// Memory for the parameters of a call, of which one lies elsewhere.
struct Memory {
    here: Device,
    other: Device,
    wrong: Option<usize>,
    given: Cell<usize>,
}

impl Memory {
    fn zeroed<T: Element>(&self, len: usize) -> Buffer<T> {
        let index = self.given.replace(self.given.get() + 1);
        let device = if self.wrong == Some(index) {
            &self.other
        } else {
            &self.here
        };
        device.zeroed(len).expect("memory")
    }

    fn ints(&self, len: usize) -> Buffer<i32> {
        self.zeroed(len)
    }

    fn halves(&self, len: usize) -> Buffer<f16> {
        self.zeroed(len)
    }
}

/// An emulated GPU by another name.
fn another_device() -> Device {
    // SAFETY: the tables are this program's own.
    unsafe {
        Device::from_library(
            "other",
            &*ffi::wkv_emulated_kernels(),
            &*ffi::wkv_emulated_testing(),
        )
    }
    .expect("the emulated GPU opens")
}

/// Calls with all memory in place, which has to work, then with each of its pieces elsewhere: the names that the errors
/// give, in the order in which the call asks for memory.
fn names_told(call: impl Fn(&Memory) -> Result<(), Error>) -> Vec<&'static str> {
    let mut memory = Memory {
        here: Device::emulated(),
        other: another_device(),
        wrong: None,
        given: Cell::new(0),
    };
    call(&memory).expect("all memory is in place");
    let mut names = Vec::new();
    for wrong in 0..memory.given.replace(0) {
        memory.wrong = Some(wrong);
        match call(&memory) {
            Err(Error::WrongDevice { name, .. }) => names.push(name),
            other => panic!("piece {wrong} of the memory elsewhere: {other:?}"),
        }
        memory.given.set(0);
    }
    names
}

#[test]
fn memory_of_another_device_is_refused() {
    let here = Device::emulated();
    let other = another_device();
    let input = other.zeroed::<f32>(8).expect("memory");
    let mut sums = here.zeroed::<f32>(2).expect("memory");
    let rows = Matrix::new(input.view(), 2, 4).expect("it fits");
    let error = ops::row_sum(&here, &rows, sums.view_mut()).expect_err("another device's memory");
    assert!(
        matches!(error, Error::WrongDevice { name: "input", .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("input lies on other 0, the call runs on emulated 0"),
        "{error}"
    );
}

const Q: [usize; 4] = [1, 4, 2, 32];
const KV: [usize; 4] = [1, 4, 1, 32];

fn elements(shape: [usize; 4]) -> usize {
    shape.iter().product()
}

#[test]
fn of_prefill() {
    let names = names_told(|memory| {
        let (q, k, v) = (
            memory.halves(elements(Q)),
            memory.halves(elements(KV)),
            memory.halves(elements(KV)),
        );
        let mut o = memory.halves(elements(Q));
        let mut lse = memory.zeroed::<f32>(8);
        let (cu_q, q_lens) = (memory.ints(2), memory.ints(1));
        let (cu_kv, kv_lens) = (memory.ints(2), memory.ints(1));
        let mut flags = memory.zeroed::<u32>(1);
        ops::prefill(
            &memory.here,
            ops::PrefillParams {
                q: Tensor::new(q.view(), Q)?,
                k: Tensor::new(k.view(), KV)?,
                v: Tensor::new(v.view(), KV)?,
                o: TensorMut::new(o.view_mut(), Q)?,
                lse: Some(RowsF32Mut::new(lse.view_mut(), [1, 2, 4])?),
                sequences_q: Sequences::ragged(cu_q.view(), 4).with_seqlens(q_lens.view()),
                sequences_kv: Sequences::ragged(cu_kv.view(), 4).with_seqlens(kv_lens.view()),
                softmax_scale: 1.0,
                flags: Some(flags.view_mut()),
            },
        )
    });
    let sequences = ["sequences_q", "sequences_q", "sequences_kv", "sequences_kv"];
    assert_eq!(names[..5], ["q", "k", "v", "o", "lse"]);
    assert_eq!(names[5..9], sequences);
    assert_eq!(names[9..], ["flags"]);
}

#[test]
fn of_score() {
    let names = names_told(|memory| {
        let (q, k) = (memory.halves(elements(Q)), memory.halves(elements(KV)));
        let lse = memory.zeroed::<f32>(8);
        let (q_lens, kv_lens) = (memory.ints(1), memory.ints(1));
        let observations = memory.zeroed::<Observation>(1);
        let mut columns = memory.zeroed::<f32>(8);
        let mut windows = memory.zeroed::<f32>(4);
        let mut workspace = memory.zeroed::<u8>(32);
        let mut flags = memory.zeroed::<u32>(1);
        ops::score(
            &memory.here,
            ops::ScoreParams {
                input: ops::ScoreInput {
                    q: Tensor::new(q.view(), Q)?,
                    k: Tensor::new(k.view(), KV)?,
                    lse: RowsF32::new(lse.view(), [1, 2, 4])?,
                    sequences_q: Sequences::padded(4).with_seqlens(q_lens.view()),
                    sequences_kv: Sequences::padded(4).with_seqlens(kv_lens.view()),
                },
                observations: observations.view(),
                column_scores: Some(RowsF32Mut::new(columns.view_mut(), [1, 2, 4])?),
                window_scores: Some(MatrixMut::new(windows.view_mut(), 1, 4)?),
                pooling: ops::Pooling::None,
                softmax_scale: 1.0,
                workspace: workspace.view_mut(),
                flags: Some(flags.view_mut()),
            },
        )
    });
    assert_eq!(names[..5], ["q", "k", "lse", "sequences_q", "sequences_kv"]);
    assert_eq!(
        names[5..],
        [
            "observations",
            "column_scores",
            "window_scores",
            "workspace",
            "flags"
        ]
    );
}

#[test]
fn of_select() {
    let names = names_told(|memory| {
        let scores = memory.zeroed::<f32>(4);
        let (num_windows, num_keep) = (memory.ints(1), memory.ints(1));
        let (mut indices, mut num_kept) = (memory.ints(2), memory.ints(1));
        let mut flags = memory.zeroed::<u32>(1);
        ops::select(
            &memory.here,
            ops::SelectParams {
                scores: Matrix::new(scores.view(), 1, 4)?,
                num_windows: num_windows.view(),
                num_keep: num_keep.view(),
                indices: MatrixMut::new(indices.view_mut(), 1, 2)?,
                num_kept: num_kept.view_mut(),
                flags: Some(flags.view_mut()),
            },
        )
    });
    assert_eq!(
        names,
        [
            "scores",
            "num_windows",
            "num_keep",
            "indices",
            "num_kept",
            "flags"
        ]
    );
}

/// Of a cache of two pages, or of one run.
fn layout<'a>(table: &'a Buffer<i32>, paged: bool) -> Result<CacheLayout<'a>, Error> {
    let strides = CacheLayout::tokens_outermost(KV);
    if !paged {
        return Ok(CacheLayout::contiguous(KV, strides));
    }
    let pages = Pages {
        table: table.view(),
        pages_per_sequence: 1,
        page_len: 4,
        num_pages: 1,
    };
    CacheLayout::paged(1, 1, 32, strides, pages)
}

#[test]
fn of_gather_and_compact() {
    fn call(memory: &Memory, in_place: bool) -> Result<(), Error> {
        let (mut k_cache, mut v_cache) = (memory.halves(elements(KV)), memory.halves(elements(KV)));
        let seqlens = memory.ints(1);
        let observations = memory.zeroed::<Observation>(1);
        let (indices, num_kept) = (memory.ints(2), memory.ints(1));
        let mut kept_lens = memory.ints(1);
        let mut flags = memory.zeroed::<u32>(1);
        let windows = ops::KeptWindows {
            observations: observations.view(),
            indices: Matrix::new(indices.view(), 1, 2)?,
            num_kept: num_kept.view(),
        };
        let sequences_kv = Sequences::padded(4).with_seqlens(seqlens.view());
        let cache = CacheMut {
            k: k_cache.view_mut(),
            v: v_cache.view_mut(),
        };
        if in_place {
            let params = ops::CompactParams {
                layers: vec![cache],
                cache: CacheLayout::contiguous(KV, CacheLayout::tokens_outermost(KV)),
                sequences_kv,
                windows,
                kept_lens: kept_lens.view_mut(),
                flags: Some(flags.view_mut()),
            };
            return ops::compact(&memory.here, params);
        }
        let (k, v) = (memory.halves(elements(KV)), memory.halves(elements(KV)));
        let table = memory.ints(1);
        let layer = ops::GatherLayer {
            k: Tensor::new(k.view(), KV)?,
            v: Tensor::new(v.view(), KV)?,
            cache,
        };
        ops::gather(
            &memory.here,
            ops::GatherParams {
                layers: vec![layer],
                cache: layout(&table, true)?,
                sequences_kv,
                windows,
                kept_lens: kept_lens.view_mut(),
                flags: Some(flags.view_mut()),
            },
        )
    }
    let both = [
        "the keys of the cache",
        "the values of the cache",
        "sequences_kv",
        "observations",
        "indices",
        "num_kept",
        "kept_lens",
        "flags",
    ];
    assert_eq!(names_told(|memory| call(memory, true)), both);
    let names = names_told(|memory| call(memory, false));
    assert_eq!(names[..both.len()], both);
    // The page table is told of as a part of the cache.
    assert_eq!(names[both.len()..], ["k", "v", "the keys of the cache"]);
}

#[test]
fn of_decode() {
    let one_q = [1, 1, 2, 32];
    let one_kv = [1, 1, 1, 32];
    let names = names_told(|memory| {
        let q = memory.halves(elements(one_q));
        let (k, v) = (
            memory.halves(elements(one_kv)),
            memory.halves(elements(one_kv)),
        );
        let mut o = memory.halves(elements(one_q));
        let mut lse = memory.zeroed::<f32>(2);
        let (mut k_cache, mut v_cache) = (memory.halves(elements(KV)), memory.halves(elements(KV)));
        let (table, lens) = (memory.ints(1), memory.ints(1));
        let mut workspace = memory.zeroed::<u8>(0);
        let mut flags = memory.zeroed::<u32>(1);
        ops::decode(
            &memory.here,
            ops::DecodeParams {
                q: Tensor::new(q.view(), one_q)?,
                new: Some((
                    Tensor::new(k.view(), one_kv)?,
                    Tensor::new(v.view(), one_kv)?,
                )),
                o: TensorMut::new(o.view_mut(), one_q)?,
                lse: Some(lse.view_mut()),
                cache: CacheMut {
                    k: k_cache.view_mut(),
                    v: v_cache.view_mut(),
                },
                layout: layout(&table, true)?,
                cache_lens: lens.view(),
                softmax_scale: 1.0,
                workspace: workspace.view_mut(),
                flags: Some(flags.view_mut()),
            },
        )
    });
    let new = ["k of the new token", "v of the new token"];
    assert_eq!(names[0], "q");
    assert_eq!(names[1..3], new);
    assert_eq!(names[3..5], ["o", "lse"]);
    assert_eq!(
        names[5..8],
        [
            "the keys of the cache",
            "the values of the cache",
            "the keys of the cache"
        ]
    );
    assert_eq!(names[8..], ["cache_lens", "workspace", "flags"]);
    let names = names_told(|memory| {
        let mut values = memory.ints(3);
        ops::advance(&memory.here, values.view_mut(), 1)
    });
    assert_eq!(names, ["values"]);
}

#[test]
fn of_a_layers_small_kernels() {
    let names = names_told(|memory| {
        let (x, residual) = (memory.halves(16), memory.halves(16));
        let (mut out, mut sum) = (memory.halves(16), memory.halves(16));
        let weight = memory.halves(8);
        let apart = InOut::Apart(
            Matrix::new(residual.view(), 2, 8)?,
            MatrixMut::new(sum.view_mut(), 2, 8)?,
        );
        ops::rms_norm(
            &memory.here,
            ops::RmsNormParams {
                x: InOut::Apart(
                    Matrix::new(x.view(), 2, 8)?,
                    MatrixMut::new(out.view_mut(), 2, 8)?,
                ),
                residual: Some(ops::Residual::AddAndStore(apart)),
                weight: weight.view(),
                eps: 1.0,
            },
        )
    });
    assert_eq!(names, ["x", "residual", "x", "residual", "weight"]);

    let names = names_told(|memory| {
        let (mut q, mut k) = (memory.halves(elements(Q)), memory.halves(elements(KV)));
        let (positions, turns) = (memory.ints(4), memory.zeroed::<u64>(16));
        ops::rope(
            &memory.here,
            ops::RopeParams {
                q: TensorMut::new(q.view_mut(), Q)?,
                k: Some(TensorMut::new(k.view_mut(), KV)?),
                positions: positions.view(),
                turns: turns.view(),
            },
        )
    });
    assert_eq!(names, ["q", "k", "positions", "turns"]);

    let names = names_told(|memory| {
        let (gate, up, mut out) = (memory.halves(16), memory.halves(16), memory.halves(16));
        ops::silu_mul(
            &memory.here,
            ops::SiluMulParams {
                gate: InOut::Apart(
                    Matrix::new(gate.view(), 2, 8)?,
                    MatrixMut::new(out.view_mut(), 2, 8)?,
                ),
                up: Matrix::new(up.view(), 2, 8)?,
            },
        )
    });
    assert_eq!(names, ["gate", "up", "gate"]);

    let names = names_told(|memory| {
        let (table, ids, mut out) = (memory.halves(24), memory.ints(2), memory.halves(16));
        let mut flags = memory.zeroed::<u32>(1);
        ops::embedding(
            &memory.here,
            ops::EmbeddingParams {
                table: Matrix::new(table.view(), 3, 8)?,
                ids: ids.view(),
                out: MatrixMut::new(out.view_mut(), 2, 8)?,
                flags: Some(flags.view_mut()),
            },
        )
    });
    assert_eq!(names, ["table", "ids", "out", "flags"]);

    let names = names_told(|memory| {
        let logits = memory.zeroed::<f32>(16);
        let (sampling, steps) = (memory.zeroed::<Sampling>(2), memory.ints(2));
        let mut tokens = memory.ints(2);
        let mut flags = memory.zeroed::<u32>(1);
        ops::sample(
            &memory.here,
            ops::SampleParams {
                logits: Matrix::new(logits.view(), 2, 8)?,
                sampling: Some((sampling.view(), steps.view())),
                tokens: tokens.view_mut(),
                flags: Some(flags.view_mut()),
            },
        )
    });
    assert_eq!(names, ["logits", "sampling", "steps", "tokens", "flags"]);
}
