//! A group of layers from prefill to decode, as a runtime calls the kernels, against `windowkv-ref` in f64.

use half::{bf16, f16};
use ndarray::{Array3, Axis, concatenate, s};
use proptest::prelude::*;
use windowkv_kernels::{
    Buffer, CacheLayout, CacheMut, Device, Matrix, MatrixMut, Observation, Pages, RowsF32,
    RowsF32Mut, Sequences, Shape, Tensor, TensorMut, ops,
};
use windowkv_ref::policy::{Strategy as WindowStrategy, Windows, top_indices};
use windowkv_tests::kernels::{Expected, Half, fail, on_every_device, score};
use windowkv_tests::random::tensor;

/// Keys of a step of the prefill and of the decode kernel.
const PREFILL_TILE: usize = 64;
const DECODE_TILE: usize = 16;
const DECODE_STEPS: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Request {
    seqlen: usize,
    suffix_len: usize,
    window_len: usize,
    max_strategy: bool,
    /// Review tokens that a layer may keep.
    kv_budget: usize,
    data: u64,
}

#[derive(Debug, Clone)]
struct Case {
    bfloat16: bool,
    num_layers: usize,
    num_heads_kv: usize,
    group: usize,
    head_dim: usize,
    pooling: ops::Pooling,
    paged: bool,
    requests: Vec<Request>,
}

fn cases() -> impl Strategy<Value = Case> {
    let request = (
        1..150usize,
        1..20usize,
        1..12usize,
        any::<bool>(),
        0..130usize,
        any::<u64>(),
    )
        .prop_map(
            |(seqlen, suffix_len, window_len, max_strategy, kv_budget, data)| Request {
                seqlen,
                suffix_len,
                window_len,
                max_strategy,
                kv_budget,
                data,
            },
        );
    let pooling = prop_oneof![
        Just(ops::Pooling::None),
        Just(ops::Pooling::Average { width: 5 }),
        Just(ops::Pooling::Max { width: 3 }),
    ];
    (
        any::<bool>(),
        1..=3usize,
        1..=2usize,
        1..=3usize,
        prop::sample::select(&[32usize, 64, 96, 128][..]),
        pooling,
        any::<bool>(),
        prop::collection::vec(request, 1..4),
    )
        .prop_map(
            |(bfloat16, num_layers, num_heads_kv, group, head_dim, pooling, paged, requests)| {
                Case {
                    bfloat16,
                    num_layers,
                    num_heads_kv,
                    group,
                    head_dim,
                    pooling,
                    paged,
                    requests,
                }
            },
        )
}

impl Request {
    fn windows(&self) -> Windows {
        Windows::new(self.seqlen, self.suffix_len, self.window_len).expect("a window has tokens")
    }

    fn top_tokens(&self) -> usize {
        let strategy = if self.max_strategy {
            WindowStrategy::Max
        } else {
            WindowStrategy::Average
        };
        strategy.top_tokens(self.window_len)
    }

    /// What the kernels are told; a prompt that fits is not scored.
    fn observation(&self) -> Observation {
        let keeps_all = self.windows().keeps_all(self.kv_budget);
        Observation {
            query_len: self.suffix_len as i32,
            suffix_len: self.suffix_len as i32,
            window_len: if keeps_all { 0 } else { self.window_len as i32 },
            top_tokens: self.top_tokens() as i32,
        }
    }
}

/// Random numbers of each sequence, `[tokens, heads, head_dim]`, which `T` holds exactly.
fn numbers<T: Half>(
    case: &Case,
    what: u64,
    heads: usize,
    tokens: impl Fn(&Request) -> usize,
) -> Vec<Array3<f64>> {
    let of_request = |request: &Request| {
        let seed = request
            .data
            .wrapping_add(what.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        tensor::<f64>(seed, (tokens(request), heads, case.head_dim), 2.0).mapv(|x| T::of(x).value())
    };
    case.requests.iter().map(of_request).collect()
}

/// The sequences one after the other on the device.
fn upload<T: Half>(device: &Device, parts: &[Array3<f64>]) -> Result<Buffer<T>, TestCaseError> {
    let numbers: Vec<T> = parts.iter().flatten().map(|&x| T::of(x)).collect();
    device.upload(&numbers).map_err(fail)
}

/// One layer's q, k and v, on the host and on the device.
struct Layer<T: Half> {
    q: Vec<Array3<f64>>,
    k: Vec<Array3<f64>>,
    v: Vec<Array3<f64>>,
    on_device: [Buffer<T>; 3],
}

fn run<T: Half>(device: &Device, case: &Case) -> Result<(), TestCaseError> {
    let Case {
        num_heads_kv,
        head_dim,
        ..
    } = *case;
    let num_heads_q = num_heads_kv * case.group;
    let batch = case.requests.len();
    let softmax_scale = (head_dim as f64).powf(-0.5);
    let starts: Vec<usize> = case
        .requests
        .iter()
        .scan(0, |end, request| {
            let start = *end;
            *end += request.seqlen;
            Some(start)
        })
        .collect();
    let total: usize = case.requests.iter().map(|request| request.seqlen).sum();
    let max_seqlen = case
        .requests
        .iter()
        .map(|request| request.seqlen)
        .max()
        .unwrap_or(0);
    let cu_seqlens: Vec<i32> = starts
        .iter()
        .chain([&total])
        .map(|&start| start as i32)
        .collect();
    let cu_seqlens = device.upload(&cu_seqlens).map_err(fail)?;
    let sequences = Sequences::ragged(cu_seqlens.view(), max_seqlen);

    // Prefill of every layer.
    let mut layers = Vec::new();
    let mut leader_lse = Vec::new();
    for index in 0..case.num_layers as u64 {
        let q = numbers::<T>(case, 3 * index, num_heads_q, |request| request.seqlen);
        let k = numbers::<T>(case, 3 * index + 1, num_heads_kv, |request| request.seqlen);
        let v = numbers::<T>(case, 3 * index + 2, num_heads_kv, |request| request.seqlen);
        let on_device = [
            upload(device, &q)?,
            upload(device, &k)?,
            upload(device, &v)?,
        ];
        let layer = Layer { q, k, v, on_device };
        let mut out = device
            .poisoned::<T>(total * num_heads_q * head_dim)
            .map_err(fail)?;
        let mut lse = device.poisoned::<f32>(num_heads_q * total).map_err(fail)?;
        let shape_q = [1, total, num_heads_q, head_dim];
        let shape_kv = [1, total, num_heads_kv, head_dim];
        ops::prefill(
            device,
            ops::PrefillParams {
                q: Tensor::new(layer.on_device[0].view(), shape_q).map_err(fail)?,
                k: Tensor::new(layer.on_device[1].view(), shape_kv).map_err(fail)?,
                v: Tensor::new(layer.on_device[2].view(), shape_kv).map_err(fail)?,
                o: TensorMut::new(out.view_mut(), shape_q).map_err(fail)?,
                lse: Some(RowsF32Mut::new(lse.view_mut(), [1, num_heads_q, total]).map_err(fail)?),
                sequences_q: sequences,
                sequences_kv: sequences,
                softmax_scale: softmax_scale as f32,
                flags: None,
            },
        )
        .map_err(fail)?;
        let (out, lse_host) = (out.download().map_err(fail)?, lse.download().map_err(fail)?);
        for (b, request) in case.requests.iter().enumerate() {
            let expected = Expected::new::<T>(
                layer.q[b].view(),
                layer.k[b].view(),
                layer.v[b].view(),
                softmax_scale,
                PREFILL_TILE,
            );
            for token in 0..request.seqlen {
                for head in 0..num_heads_q {
                    let row = starts[b] + token;
                    for d in 0..head_dim {
                        let found = out[(row * num_heads_q + head) * head_dim + d].value();
                        expected
                            .check_out(token, head, d, found)
                            .map_err(TestCaseError::fail)?;
                    }
                    let found = f64::from(lse_host[head * total + row]);
                    expected
                        .check_lse(head, token, found)
                        .map_err(TestCaseError::fail)?;
                }
            }
        }
        if index == 0 {
            leader_lse = lse_host;
        }
        layers.push(layer);
    }

    // The leader scores and selects.
    let leader = &layers[0];
    let lse = device.upload(&leader_lse).map_err(fail)?;
    let observations: Vec<Observation> = case.requests.iter().map(Request::observation).collect();
    let observations = device.upload(&observations).map_err(fail)?;
    let count = |of: &dyn Fn(&Request) -> usize| -> Result<Buffer<i32>, TestCaseError> {
        let counts: Vec<i32> = case
            .requests
            .iter()
            .map(|request| of(request) as i32)
            .collect();
        device.upload(&counts).map_err(fail)
    };
    let num_windows = count(&|request| request.windows().count())?;
    let num_keep = count(&|request| request.windows().kept_count(request.kv_budget))?;
    let max_windows = case
        .requests
        .iter()
        .map(|request| request.windows().count())
        .max()
        .unwrap_or(0);
    let mut window_scores = device.poisoned::<f32>(batch * max_windows).map_err(fail)?;
    let mut flags = device.zeroed::<u32>(1).map_err(fail)?;
    let input = ops::ScoreInput {
        q: Tensor::new(
            leader.on_device[0].view(),
            [1, total, num_heads_q, head_dim],
        )
        .map_err(fail)?,
        k: Tensor::new(
            leader.on_device[1].view(),
            [1, total, num_heads_kv, head_dim],
        )
        .map_err(fail)?,
        lse: RowsF32::new(lse.view(), [1, num_heads_q, total]).map_err(fail)?,
        sequences_q: sequences,
        sequences_kv: sequences,
    };
    let bytes = ops::score_workspace_size(device, &input).map_err(fail)?;
    let mut workspace = device.poisoned::<u8>(bytes).map_err(fail)?;
    ops::score(
        device,
        ops::ScoreParams {
            input,
            observations: observations.view(),
            column_scores: None,
            window_scores: Some(
                MatrixMut::new(window_scores.view_mut(), batch, max_windows).map_err(fail)?,
            ),
            pooling: case.pooling,
            softmax_scale: softmax_scale as f32,
            workspace: workspace.view_mut(),
            flags: Some(flags.view_mut()),
        },
    )
    .map_err(fail)?;
    let mut indices = device.poisoned::<i32>(batch * max_windows).map_err(fail)?;
    let mut num_kept = device.poisoned::<i32>(batch).map_err(fail)?;
    ops::select(
        device,
        ops::SelectParams {
            scores: Matrix::new(window_scores.view(), batch, max_windows).map_err(fail)?,
            num_windows: num_windows.view(),
            num_keep: num_keep.view(),
            indices: MatrixMut::new(indices.view_mut(), batch, max_windows).map_err(fail)?,
            num_kept: num_kept.view_mut(),
            flags: Some(flags.view_mut()),
        },
    )
    .map_err(fail)?;
    let (scores, chosen) = (
        window_scores.download().map_err(fail)?,
        indices.download().map_err(fail)?,
    );
    let mut positions = Vec::new();
    for (b, request) in case.requests.iter().enumerate() {
        let windows = request.windows();
        let keep = windows.kept_count(request.kv_budget);
        let chosen: Vec<usize> = chosen[b * max_windows..][..keep]
            .iter()
            .map(|&w| w as usize)
            .collect();
        if keep < windows.count() {
            let scores = &scores[b * max_windows..][..windows.count()];
            check_choice(
                case,
                request,
                leader,
                b,
                (&leader_lse, starts[b], total),
                scores,
                &chosen,
            )?;
        } else {
            prop_assert!(chosen.iter().copied().eq(0..windows.count()));
        }
        positions.push(windows.positions(&chosen));
    }

    // Every layer of the group keeps the leader's windows.
    let longest = positions.iter().map(Vec::len).max().unwrap_or(0);
    let page_len = 16;
    let pages_per_sequence = (longest + DECODE_STEPS).div_ceil(page_len);
    let num_pages = batch * pages_per_sequence;
    // Pages lie backwards.
    let table: Vec<i32> = (0..num_pages as i32).rev().collect();
    let table = device.upload(&table).map_err(fail)?;
    let capacity = pages_per_sequence * page_len;
    let shape = if case.paged {
        [num_pages, page_len, num_heads_kv, head_dim]
    } else {
        [batch, capacity, num_heads_kv, head_dim]
    };
    let strides = Shape::new(shape).tokens_outermost();
    let layout = if case.paged {
        let pages = Pages {
            table: table.view(),
            pages_per_sequence,
            page_len,
            num_pages,
        };
        CacheLayout::paged(batch, num_heads_kv, head_dim, strides, pages).map_err(fail)?
    } else {
        CacheLayout::contiguous(shape, strides)
    };
    let elements = shape.iter().product();
    let mut caches = Vec::new();
    for _ in &layers {
        caches.push([
            device.poisoned::<T>(elements).map_err(fail)?,
            device.poisoned(elements).map_err(fail)?,
        ]);
    }
    let mut cache_lens = device.poisoned::<i32>(batch).map_err(fail)?;
    let shape_kv = [1, total, num_heads_kv, head_dim];
    let mut gathered = Vec::new();
    for (layer, [k, v]) in layers.iter().zip(&mut caches) {
        gathered.push(ops::GatherLayer {
            k: Tensor::new(layer.on_device[1].view(), shape_kv).map_err(fail)?,
            v: Tensor::new(layer.on_device[2].view(), shape_kv).map_err(fail)?,
            cache: CacheMut {
                k: k.view_mut(),
                v: v.view_mut(),
            },
        });
    }
    ops::gather(
        device,
        ops::GatherParams {
            layers: gathered,
            sequences_kv: sequences,
            cache: layout,
            windows: ops::KeptWindows {
                observations: observations.view(),
                indices: Matrix::new(indices.view(), batch, max_windows).map_err(fail)?,
                num_kept: num_kept.view(),
            },
            kept_lens: cache_lens.view_mut(),
            flags: Some(flags.view_mut()),
        },
    )
    .map_err(fail)?;
    let kept: Vec<i32> = positions
        .iter()
        .map(|positions| positions.len() as i32)
        .collect();
    prop_assert_eq!(cache_lens.download().map_err(fail)?, kept);

    // New tokens read the compact caches, and are appended to them.
    let rows = |parts: &[Array3<f64>], positions: &[Vec<usize>]| -> Vec<Array3<f64>> {
        parts
            .iter()
            .zip(positions)
            .map(|(x, rows)| x.select(Axis(0), rows))
            .collect()
    };
    let mut oracle: Vec<[Vec<Array3<f64>>; 2]> = layers
        .iter()
        .map(|layer| [rows(&layer.k, &positions), rows(&layer.v, &positions)])
        .collect();
    let shape_q = [batch, 1, num_heads_q, head_dim];
    let shape_new = [batch, 1, num_heads_kv, head_dim];
    let bytes =
        ops::decode_workspace_size::<T>(device, Shape::new(shape_q), &layout).map_err(fail)?;
    let mut workspace = device.zeroed::<u8>(bytes).map_err(fail)?;
    for step in 0..DECODE_STEPS as u64 {
        for (index, ([k_cache, v_cache], [k_oracle, v_oracle])) in
            caches.iter_mut().zip(&mut oracle).enumerate()
        {
            let what = 100 + 10 * step + 3 * index as u64;
            let q = numbers::<T>(case, what, num_heads_q, |_| 1);
            let k_new = numbers::<T>(case, what + 1, num_heads_kv, |_| 1);
            let v_new = numbers::<T>(case, what + 2, num_heads_kv, |_| 1);
            let (q_device, k_device, v_device) = (
                upload::<T>(device, &q)?,
                upload::<T>(device, &k_new)?,
                upload::<T>(device, &v_new)?,
            );
            let mut out = device
                .poisoned::<T>(batch * num_heads_q * head_dim)
                .map_err(fail)?;
            ops::decode(
                device,
                ops::DecodeParams {
                    q: Tensor::new(q_device.view(), shape_q).map_err(fail)?,
                    new: Some((
                        Tensor::new(k_device.view(), shape_new).map_err(fail)?,
                        Tensor::new(v_device.view(), shape_new).map_err(fail)?,
                    )),
                    o: TensorMut::new(out.view_mut(), shape_q).map_err(fail)?,
                    lse: None,
                    cache: CacheMut {
                        k: k_cache.view_mut(),
                        v: v_cache.view_mut(),
                    },
                    layout,
                    cache_lens: cache_lens.view(),
                    softmax_scale: softmax_scale as f32,
                    workspace: workspace.view_mut(),
                    flags: Some(flags.view_mut()),
                },
            )
            .map_err(fail)?;
            let out = out.download().map_err(fail)?;
            for b in 0..batch {
                let append = |cache: &Array3<f64>, new: &Array3<f64>| {
                    concatenate(Axis(0), &[cache.view(), new.view()]).expect("shapes fit")
                };
                k_oracle[b] = append(&k_oracle[b], &k_new[b]);
                v_oracle[b] = append(&v_oracle[b], &v_new[b]);
                let (k, v) = (k_oracle[b].view(), v_oracle[b].view());
                let expected = Expected::new::<T>(q[b].view(), k, v, softmax_scale, DECODE_TILE);
                for head in 0..num_heads_q {
                    for d in 0..head_dim {
                        let found = out[(b * num_heads_q + head) * head_dim + d].value();
                        expected
                            .check_out(0, head, d, found)
                            .map_err(TestCaseError::fail)?;
                    }
                }
            }
        }
        ops::advance(device, cache_lens.view_mut(), 1).map_err(fail)?;
    }
    prop_assert_eq!(flags.download().map_err(fail)?, [0]);
    Ok(())
}

/// The windows are those that the kernel's own scores imply; these lie within their bound of the oracle's, and where
/// the oracle's margin exceeds the bound, the windows are the oracle's too.
fn check_choice<T: Half>(
    case: &Case,
    request: &Request,
    leader: &Layer<T>,
    b: usize,
    (lse, start, total): (&[f32], usize, usize),
    scores: &[f32],
    chosen: &[usize],
) -> Result<(), TestCaseError> {
    let windows = request.windows();
    let (q, k) = (&leader.q[b], &leader.k[b]);
    let rows = request.suffix_len.min(request.seqlen);
    let first = request.seqlen - rows;
    let lse = ndarray::Array2::from_shape_fn((q.dim().1, rows), |(head, row)| {
        f64::from(lse[head * total + start + first + row])
    });
    let columns = score::column_scores(
        q.slice(s![first.., .., ..]),
        k.view(),
        lse.view(),
        (case.head_dim as f64).powf(-0.5),
        windows.review_len(),
    );
    let pooled = score::pooled(&columns, case.pooling);
    let expected = score::window_scores(&pooled, &windows, request.top_tokens());
    for (window, &found) in scores.iter().enumerate() {
        let (exact, error) = (expected.exact[window], expected.error[window]);
        prop_assert!(
            (f64::from(found) - exact).abs() <= error,
            "window {window} of sequence {b} scores {found}, not {exact} within {error:e}"
        );
    }
    let own =
        top_indices(scores, chosen.len()).map_err(|i| TestCaseError::fail(format!("NaN {i}")))?;
    prop_assert_eq!(&own, chosen);
    let exact = expected.exact.to_vec();
    let best =
        top_indices(&exact, chosen.len()).map_err(|i| TestCaseError::fail(format!("NaN {i}")))?;
    let worst_in = best
        .iter()
        .map(|&w| exact[w] - expected.error[w])
        .fold(f64::INFINITY, f64::min);
    let best_out = (0..exact.len())
        .filter(|window| !best.contains(window))
        .map(|w| exact[w] + expected.error[w])
        .fold(f64::NEG_INFINITY, f64::max);
    if worst_in > best_out {
        prop_assert_eq!(&best, chosen);
    }
    Ok(())
}

#[test]
fn a_group_of_layers_from_prefill_to_decode() {
    on_every_device(60, cases(), |device, case| {
        if case.bfloat16 {
            run::<bf16>(device, &case)
        } else {
            run::<f16>(device, &case)
        }
    });
}
