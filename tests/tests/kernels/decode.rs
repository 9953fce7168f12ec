//! The decode kernel against the formula in f64, in every layout of the cache, and against itself.

use half::{bf16, f16};
use ndarray::{Array3, Axis, concatenate, s};
use proptest::prelude::*;
use windowkv_kernels::{
    Buffer, CacheLayout, CacheMut, Device, Error, Flags, Pages, Schedule, Shape, Strides, Tensor,
    TensorMut, ops,
};
use windowkv_tests::kernels::{
    Expected, Filled, Half, LargeScores, Lay, Order, SparseMemory, a_device, check_poison, devices,
    emulated, fail, no_worse_than_plain, on_every_device, value,
};
use windowkv_tests::random::tensor;

/// Of the kernel: keys of a warp's step.
const TILE_N: usize = 16;

/// Of the cases that are not drawn.
const HEAD_DIM: usize = 32;

/// One sequence: what `cache_lens` says, and how many tokens the cache holds in truth.
#[derive(Debug, Clone, Copy)]
struct SequenceCase {
    cache_len: i32,
    data: u64,
}

#[derive(Debug, Clone)]
struct Case {
    bfloat16: bool,
    num_heads_kv: usize,
    group: usize,
    head_dim: usize,
    sequences: Vec<SequenceCase>,
    /// Tokens of room beyond the longest sequence's; below 0, too few
    spare: i64,
    /// Log2 of the page length; `None`: no pages
    pages: Option<u32>,
    /// q, the new token's, o, cache
    orders: [Order; 4],
    appends: bool,
    lse: bool,
    /// Scores are within this.
    top: f64,
}

/// Around the edges of a warp's step, a block's step and a split; a few long ones.
fn cache_len() -> impl Strategy<Value = i32> {
    const EDGES: [i32; 16] = [
        0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 191, 255, 256, 257, 300,
    ];
    prop_oneof![
        1 => Just(-1),
        8 => prop::sample::select(&EDGES[..]),
        4 => 0..280i32,
        1 => 4080..4120i32,
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let heads = (
        1..=2usize,
        prop::sample::select(&[1usize, 2, 4, 7, 8, 15, 16, 17, 33][..]),
        prop::sample::select(&[32usize, 64, 96, 128][..]),
    );
    let sequence =
        (cache_len(), any::<u64>()).prop_map(|(cache_len, data)| SequenceCase { cache_len, data });
    let memory = (
        prop_oneof![2 => Just(0i64), 3 => 1..40i64, 1 => -20..0i64],
        prop_oneof![1 => Just(None), 1 => (0..7u32).prop_map(Some)],
        [Order::any(), Order::any(), Order::any(), Order::any()],
    );
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let tops = prop::sample::select(&[0.01, 3.0, 60.0][..]);
    let sequences = prop::collection::vec(sequence, 0..4);
    (heads, sequences, memory, flags, tops).prop_map(
        |((num_heads_kv, group, head_dim), mut sequences, memory, flags, top)| {
            let (spare, pages, orders) = memory;
            let (bfloat16, appends, lse) = flags;
            let long = sequences.iter().position(|s| s.cache_len > 1000);
            // Long sequences are alone, and have one head.
            if let Some(long) = long {
                sequences = vec![sequences[long]];
            }
            Case {
                bfloat16,
                num_heads_kv: if long.is_some() { 1 } else { num_heads_kv },
                group: if long.is_some() { group.min(2) } else { group },
                head_dim: if long.is_some() { 32 } else { head_dim },
                sequences,
                spare,
                pages,
                orders,
                appends,
                lse,
                top,
            }
        },
    )
}

/// One sequence's numbers, rounded to the half-precision type.
struct Numbers {
    /// `[1, num_heads_q, head_dim]`
    q: Array3<f64>,
    /// `[tokens in the cache, num_heads_kv, head_dim]`
    k: Array3<f64>,
    v: Array3<f64>,
    /// `[1, num_heads_kv, head_dim]`
    k_new: Array3<f64>,
    v_new: Array3<f64>,
}

/// What a launch wrote.
struct Output {
    /// Bits, `[num_heads_q, head_dim]` of each sequence
    out: Vec<Vec<u16>>,
    /// Bits, `[num_heads_q]` of each sequence
    lse: Vec<Vec<u32>>,
    flags: Flags,
}

/// Memory that every call of a case uses, as a program would.
struct Workspace(Buffer<u8>);

impl Case {
    fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }

    fn num_heads_q(&self) -> usize {
        self.num_heads_kv * self.group
    }

    fn page_len(&self) -> usize {
        1 << self.pages.unwrap_or(0)
    }

    fn pages_per_sequence(&self, capacity: usize) -> usize {
        capacity.div_ceil(self.page_len())
    }

    /// Tokens that each sequence has room for; whole pages.
    fn capacity(&self) -> usize {
        let longest = self
            .sequences
            .iter()
            .map(|s| s.cache_len)
            .max()
            .unwrap_or(0);
        let room = (i64::from(longest) + self.spare).max(0) as usize;
        self.pages_per_sequence(room) * self.page_len()
    }

    /// Tokens of the sequence that lie in a cache of this capacity.
    fn cached(&self, sequence: usize, capacity: usize) -> usize {
        (self.sequences[sequence].cache_len.max(0) as usize).min(capacity)
    }

    fn numbers<T: Half>(&self, sequence: usize, capacity: usize) -> Numbers {
        let amplitude = (self.top / (self.head_dim as f64).sqrt()).sqrt();
        let of = |salt: u64, tokens, heads, amplitude| {
            let seed = self.sequences[sequence].data.wrapping_add(salt);
            let numbers = tensor::<f64>(seed, (tokens, heads, self.head_dim), amplitude);
            numbers.mapv(|x| T::of(x).value())
        };
        let cached = self.cached(sequence, capacity);
        Numbers {
            q: of(0, 1, self.num_heads_q(), amplitude),
            k: of(1, cached, self.num_heads_kv, amplitude),
            v: of(2, cached, self.num_heads_kv, 3.0),
            k_new: of(3, 1, self.num_heads_kv, amplitude),
            v_new: of(4, 1, self.num_heads_kv, 3.0),
        }
    }

    /// Runs the kernel on these sequences of the case. What is not the result or the appended token must be as it was.
    fn run<T: Half>(
        &self,
        device: &Device,
        sequences: &[usize],
        capacity: usize,
        workspace: &mut Workspace,
    ) -> Result<Output, TestCaseError> {
        let (batch, heads_kv, heads_q) = (sequences.len(), self.num_heads_kv, self.num_heads_q());
        let numbers: Vec<Numbers> = sequences
            .iter()
            .map(|&b| self.numbers::<T>(b, capacity))
            .collect();
        let lay = |tokens, heads, order| {
            Filled::<T>::poisoned(Lay::new([batch, tokens, heads, self.head_dim], order))
        };
        let mut q = lay(1, heads_q, self.orders[0]);
        let mut k_new = lay(1, heads_kv, self.orders[1]);
        let mut v_new = lay(1, heads_kv, self.orders[1]);
        let o = lay(1, heads_q, self.orders[2]);

        // Every other page belongs to nobody, and they are dealt out backwards.
        let (page_len, each) = (self.page_len(), self.pages_per_sequence(capacity));
        let num_pages = 2 * batch * each + 1;
        let page_of = |b: usize, page: usize| 2 * (batch * each - (b * each + page)) - 1;
        let table: Vec<i32> = (0..batch * each)
            .map(|i| page_of(i / each, i % each) as i32)
            .collect();
        let cache_lay = match self.pages {
            Some(_) => Lay::new(
                [num_pages, page_len, heads_kv, self.head_dim],
                self.orders[3],
            ),
            None => Lay::new([batch, capacity, heads_kv, self.head_dim], self.orders[3]),
        };
        let place = |b: usize, token: usize| match self.pages {
            Some(_) => (page_of(b, token / page_len), token % page_len),
            None => (b, token),
        };
        // CacheLayout has no offset: what lies before the cache is cut off.
        let cache_lay = Lay {
            offset: 0,
            len: cache_lay.len - cache_lay.offset,
            ..cache_lay
        };
        let mut k = Filled::<T>::poisoned(cache_lay);
        let mut v = Filled::<T>::poisoned(cache_lay);
        for (b, numbers) in numbers.iter().enumerate() {
            q.put(b, 0, &numbers.q);
            k_new.put(b, 0, &numbers.k_new);
            v_new.put(b, 0, &numbers.v_new);
            for token in 0..numbers.k.dim().0 {
                let (page, inside) = place(b, token);
                let one = |x: &Array3<f64>| x.slice(s![token..=token, .., ..]).to_owned();
                k.put(page, inside, &one(&numbers.k));
                v.put(page, inside, &one(&numbers.v));
            }
        }
        let lens: Vec<i32> = sequences
            .iter()
            .map(|&b| self.sequences[b].cache_len)
            .collect();

        let upload = |filled: &Filled<T>| device.upload(&filled.memory).map_err(fail);
        let (q_buffer, k_new_buffer, v_new_buffer) =
            (upload(&q)?, upload(&k_new)?, upload(&v_new)?);
        let (mut k_buffer, mut v_buffer, mut o_buffer) = (upload(&k)?, upload(&v)?, upload(&o)?);
        let mut lse = device.poisoned::<f32>(batch * heads_q).map_err(fail)?;
        let table = device.upload(&table).map_err(fail)?;
        let cache_lens = device.upload(&lens).map_err(fail)?;
        let mut flags = device.zeroed::<u32>(1).map_err(fail)?;
        let pages = Pages {
            table: table.view(),
            pages_per_sequence: each,
            page_len,
            num_pages,
        };
        let layout = match self.pages {
            Some(_) => CacheLayout::paged(batch, heads_kv, self.head_dim, cache_lay.strides, pages)
                .map_err(fail)?,
            None => CacheLayout::contiguous(
                [batch, capacity, heads_kv, self.head_dim],
                cache_lay.strides,
            ),
        };
        let dims = |filled: &Filled<T>| {
            let shape = filled.lay.shape;
            [shape.batch, shape.tokens, shape.heads, shape.head_dim]
        };
        fn view<'a, T: Half>(
            buffer: &'a Buffer<T>,
            filled: &Filled<T>,
            dims: [usize; 4],
        ) -> Result<Tensor<'a, T>, TestCaseError> {
            let (strides, offset) = (filled.lay.strides, filled.lay.offset);
            Tensor::strided(buffer.view(), dims, strides, offset).map_err(fail)
        }
        let needed = ops::decode_workspace_size::<T>(device, q.lay.shape, &layout).map_err(fail)?;
        if workspace.0.len() < needed {
            workspace.0 = device.zeroed(needed).map_err(fail)?;
        }
        let new = if self.appends {
            Some((
                view(&k_new_buffer, &k_new, dims(&k_new))?,
                view(&v_new_buffer, &v_new, dims(&v_new))?,
            ))
        } else {
            None
        };
        let params = ops::DecodeParams {
            q: view(&q_buffer, &q, dims(&q))?,
            new,
            o: TensorMut::strided(o_buffer.view_mut(), dims(&o), o.lay.strides, o.lay.offset)
                .map_err(fail)?,
            lse: self.lse.then(|| lse.view_mut()),
            cache: CacheMut {
                k: k_buffer.view_mut(),
                v: v_buffer.view_mut(),
            },
            layout,
            cache_lens: cache_lens.view(),
            softmax_scale: self.scale(),
            workspace: workspace.0.view_mut(),
            flags: Some(flags.view_mut()),
        };
        ops::decode(device, params).map_err(fail)?;

        // The caches are as they were, with the new tokens behind their sequences.
        for (b, numbers) in numbers.iter().enumerate() {
            let cached = numbers.k.dim().0;
            if self.appends && lens[b] >= 0 && cached < capacity {
                let (page, inside) = place(b, cached);
                k.put(page, inside, &numbers.k_new);
                v.put(page, inside, &numbers.v_new);
            }
        }
        for (name, buffer, expected) in [("k", &k_buffer, &k), ("v", &v_buffer, &v)] {
            let found = buffer.download().map_err(fail)?;
            let differs = |(x, y): (&T, &T)| x.bits() != y.bits();
            let at = found.iter().zip(&expected.memory).position(differs);
            prop_assert!(
                at.is_none(),
                "{name} of the cache is wrong at element {at:?}"
            );
        }

        let memory = o_buffer.download().map_err(fail)?;
        let mut written = vec![false; memory.len()];
        let mut output = Output {
            out: Vec::new(),
            lse: Vec::new(),
            flags: Flags::from_bits(flags.download().map_err(fail)?[0]),
        };
        let lse = lse.download().map_err(fail)?;
        for b in 0..batch {
            let mut out = Vec::new();
            for head in 0..heads_q {
                let at = o.lay.at(b, 0, head);
                out.extend(memory[at..at + self.head_dim].iter().map(|x| x.bits()));
                written[at..at + self.head_dim].fill(true);
            }
            output.out.push(out);
            let of_lse = &lse[b * heads_q..(b + 1) * heads_q];
            output
                .lse
                .push(of_lse.iter().map(|x| x.to_bits()).collect());
        }
        check_poison(&memory, &written).map_err(TestCaseError::fail)?;
        Ok(output)
    }

    fn flags(&self, capacity: usize) -> Flags {
        let over = |s: &SequenceCase| i64::from(s.cache_len) > capacity as i64;
        let full = |s: &SequenceCase| i64::from(s.cache_len) >= capacity as i64;
        let mut bits = 0;
        if self.sequences.iter().any(over) {
            bits |= Flags::RANGE.bits();
        }
        if self.appends && self.sequences.iter().any(full) {
            bits |= Flags::CAPACITY.bits();
        }
        Flags::from_bits(bits)
    }
}

/// Calls a generic function with the case's type.
macro_rules! typed {
    ($case:expr, $function:ident($($argument:expr),*)) => {
        if $case.bfloat16 {
            $function::<bf16>($($argument),*)
        } else {
            $function::<f16>($($argument),*)
        }
    };
}

fn no_workspace(device: &Device) -> Result<Workspace, TestCaseError> {
    Ok(Workspace(device.zeroed(0).map_err(fail)?))
}

fn within_the_bound<T: Half>(device: &Device, case: &Case) -> Result<(), TestCaseError> {
    let capacity = case.capacity();
    let all: Vec<usize> = (0..case.sequences.len()).collect();
    let output = case.run::<T>(device, &all, capacity, &mut no_workspace(device)?)?;
    prop_assert_eq!(output.flags, case.flags(capacity));
    for (b, sequence) in case.sequences.iter().enumerate() {
        let numbers = case.numbers::<T>(b, capacity);
        let (mut k, mut v) = (numbers.k, numbers.v);
        if sequence.cache_len < 0 {
            k = k.slice_move(s![..0, .., ..]);
            v = v.slice_move(s![..0, .., ..]);
        } else if case.appends {
            k = concatenate![Axis(0), k, numbers.k_new];
            v = concatenate![Axis(0), v, numbers.v_new];
        }
        let expected = Expected::new::<T>(
            numbers.q.view(),
            k.view(),
            v.view(),
            f64::from(case.scale()),
            TILE_N,
        );
        for (i, &bits) in output.out[b].iter().enumerate() {
            let (head, d) = (i / case.head_dim, i % case.head_dim);
            expected
                .check_out(0, head, d, T::from_bits(bits).value())
                .map_err(|text| TestCaseError::fail(format!("sequence {b}: {text}")))?;
        }
        for (head, &bits) in output.lse[b].iter().enumerate() {
            let found = f32::from_bits(bits);
            if case.lse {
                expected
                    .check_lse(head, 0, f64::from(found))
                    .map_err(|text| TestCaseError::fail(format!("sequence {b}: {text}")))?;
            } else {
                prop_assert_eq!(bits, u32::MAX, "lse was not asked for");
            }
        }
    }
    Ok(())
}

#[test]
fn it_computes_attention_and_appends() {
    on_every_device(250, cases(), |device, case| {
        typed!(case, within_the_bound(device, &case))
    });
}

/// Alone, in another layout, with more room, under another schedule, with a workspace that other calls have used.
fn same_bits<T: Half>(
    device: &Device,
    case: &Case,
    other: &Case,
    seed: u64,
) -> Result<(), TestCaseError> {
    let mut workspace = no_workspace(device)?;
    let capacity = case.capacity();
    let all: Vec<usize> = (0..case.sequences.len()).collect();
    let together = case.run::<T>(device, &all, capacity, &mut workspace)?;
    device.set_schedule(Schedule { seed, workers: 1 });
    let again = case.run::<T>(device, &all, capacity, &mut workspace)?;
    prop_assert_eq!(&again.out, &together.out, "a second time");
    prop_assert_eq!(&again.lse, &together.lse, "a second time");
    let other = Case {
        pages: other.pages,
        orders: other.orders,
        ..case.clone()
    };
    // Where tokens are cut off by the capacity, more room would let more of them in.
    let fits = case
        .sequences
        .iter()
        .all(|s| i64::from(s.cache_len) <= capacity as i64);
    let room = if fits {
        (capacity + (seed % 700) as usize).next_multiple_of(other.page_len())
    } else {
        capacity
    };
    if room % other.page_len() != 0 {
        return Ok(());
    }
    for &b in &all {
        let alone = other.run::<T>(device, &[b], room, &mut workspace)?;
        prop_assert_eq!(&alone.out[0], &together.out[b], "sequence {} alone", b);
        prop_assert_eq!(&alone.lse[0], &together.lse[b], "sequence {} alone", b);
    }
    Ok(())
}

#[test]
fn a_sequence_has_the_same_bits_in_every_batch_layout_and_schedule() {
    let inputs = (cases(), cases(), any::<u64>());
    on_every_device(80, inputs, |device, (case, other, seed)| {
        typed!(case, same_bits(device, &case, &other, seed))
    });
}

fn no_worse<T: Half>(device: &Device, case: &Case) -> Result<(), TestCaseError> {
    let capacity = case.capacity();
    let output = case.run::<T>(device, &[0], capacity, &mut no_workspace(device)?)?;
    let numbers = case.numbers::<T>(0, capacity);
    let k = concatenate![Axis(0), numbers.k, numbers.k_new];
    let v = concatenate![Axis(0), numbers.v, numbers.v_new];
    let out = output.out[0].iter().map(|&bits| T::from_bits(bits).value());
    let out = Array3::from_shape_vec(numbers.q.dim(), out.collect()).expect("all heads");
    let scale = f64::from(case.scale());
    no_worse_than_plain::<T>(numbers.q.view(), k.view(), v.view(), scale, &out)
        .map_err(TestCaseError::fail)
}

/// Never more than 1.0 times the error of the plain computation, in the sum of squares and at most, of one split and of
/// several. Scores are spread as a model's are, by about 1.6.
#[test]
fn it_is_no_worse_than_the_plain_computation_in_half_precision() {
    let inputs = (
        prop::sample::select(&[(8usize, 32usize), (16, 64), (7, 96), (33, 128)][..]),
        prop::sample::select(&[100, 290, 700][..]),
        any::<bool>(),
        any::<u64>(),
    );
    on_every_device(
        16,
        inputs,
        |device, ((group, head_dim), cache_len, bfloat16, data)| {
            let case = Case {
                bfloat16,
                num_heads_kv: 1,
                group,
                head_dim,
                sequences: vec![SequenceCase { cache_len, data }],
                spare: 1,
                pages: None,
                orders: [Order::Tokens; 4],
                appends: true,
                lse: false,
                top: 4.8 * (head_dim as f64).sqrt(),
            };
            typed!(case, no_worse(device, &case))
        },
    );
}

/// Bits of o and of lse for one sequence whose cache is full: q and o `[heads, 32]`, k and v `[keys, heads_kv, 32]`.
fn one_sequence<T: Half>(
    device: &Device,
    [q, k, v]: [&[f64]; 3],
    heads_kv: usize,
    softmax_scale: f32,
) -> Result<(Vec<u16>, Vec<u32>), Error> {
    let upload = |x: &[f64]| device.upload(&x.iter().map(|&x| T::of(x)).collect::<Vec<_>>());
    let (heads, keys) = (q.len() / HEAD_DIM, k.len() / heads_kv / HEAD_DIM);
    let (q, mut k, mut v) = (upload(q)?, upload(k)?, upload(v)?);
    let mut o = device.poisoned::<T>(heads * HEAD_DIM)?;
    let mut lse = device.poisoned::<f32>(heads)?;
    let lens = device.upload(&[keys as i32])?;
    let (shape, cache) = ([1, 1, heads, HEAD_DIM], [1, keys, heads_kv, HEAD_DIM]);
    let layout = CacheLayout::contiguous(cache, CacheLayout::tokens_outermost(cache));
    let bytes = ops::decode_workspace_size::<T>(device, Shape::new(shape), &layout)?;
    ops::decode(
        device,
        ops::DecodeParams {
            q: Tensor::new(q.view(), shape)?,
            new: None,
            o: TensorMut::new(o.view_mut(), shape)?,
            lse: Some(lse.view_mut()),
            cache: CacheMut {
                k: k.view_mut(),
                v: v.view_mut(),
            },
            layout,
            cache_lens: lens.view(),
            softmax_scale,
            workspace: device.zeroed::<u8>(bytes)?.view_mut(),
            flags: None,
        },
    )?;
    let o = o.download()?.iter().map(|x| x.bits()).collect();
    Ok((o, lse.download()?.iter().map(|x| x.to_bits()).collect()))
}

fn scores_to_the_limit<T: Half>(device: &Device) {
    let run = |factor, keys| {
        let case = LargeScores::new(factor, keys);
        let (o, lse) = one_sequence::<T>(device, [&case.q, &case.k, &case.v], 1, 1.0).unwrap();
        let o: Vec<f64> = o.iter().map(value::<T>).collect();
        (case, o, f32::from_bits(lse[0]))
    };
    for size in [0.0, 512.0, 4096.0, LargeScores::LAST_FACTOR] {
        for (factor, keys) in [(size, 1), (size, 300), (-size, 60), (-size, 300)] {
            let (case, o, lse) = run(factor, keys);
            assert!(
                case.is_found(T::UNIT, &o, lse),
                "{keys} keys, {factor}: {o:?}, {lse}, not {case:?}"
            );
        }
    }
    for size in [LargeScores::FIRST_TOO_LARGE, 8192.0, 32768.0] {
        for (factor, keys) in [(size, 60), (-size, 300)] {
            let (_, o, lse) = run(factor, keys);
            assert!(
                o.iter().all(|x| x.is_nan()) && lse.is_nan(),
                "{factor}: {o:?}, {lse}"
            );
        }
    }
}

/// Up to 2^24 in the exponent of 2 large scores do no harm; a head with larger ones is NaN, never a wrong number.
#[test]
fn scores_are_right_up_to_their_limit() {
    for device in devices() {
        scores_to_the_limit::<f16>(&device);
        scores_to_the_limit::<bf16>(&device);
    }
}

/// Who sees what is not finite: in q its own head; in k the heads that read it; in v the same, in its column.
#[test]
fn what_is_not_finite_stays_where_it_is_seen() {
    const HEADS: usize = 4;
    const HEADS_KV: usize = 2;
    const KEYS: usize = 290;
    let of = |seed, rows| {
        let numbers = tensor::<f64>(seed, (rows, 1, HEAD_DIM), 2.0);
        numbers.into_raw_vec_and_offset().0
    };
    let clean = [of(1, HEADS), of(2, KEYS * HEADS_KV), of(3, KEYS * HEADS_KV)];
    let head = |out: &[u16], i: usize| out[i * HEAD_DIM..][..HEAD_DIM].to_vec();
    for device in devices() {
        let run = |[q, k, v]: &[Vec<f64>; 3]| {
            one_sequence::<bf16>(&device, [q, k, v], HEADS_KV, 0.25).unwrap()
        };
        let broken = |tensor: usize, row: usize, value: f64| {
            let mut inputs = clean.clone();
            inputs[tensor][row * HEAD_DIM] = value;
            run(&inputs)
        };
        let (out, lse) = run(&clean);
        // Which heads are NaN; the others have the bits that they had.
        let nan_heads = |(found, found_lse): (Vec<u16>, Vec<u32>)| -> Vec<usize> {
            (0..HEADS)
                .filter(|&i| {
                    let nan = head(&found, i).iter().all(|x| value::<bf16>(x).is_nan())
                        && f32::from_bits(found_lse[i]).is_nan();
                    let same = head(&found, i) == head(&out, i) && found_lse[i] == lse[i];
                    assert!(nan || same, "head {i}");
                    nan
                })
                .collect()
        };
        assert_eq!(nan_heads(broken(0, 2, f64::NAN)), [2]);
        assert_eq!(nan_heads(broken(0, 1, f64::INFINITY)), [1]);
        assert_eq!(nan_heads(broken(1, 70 * HEADS_KV, f64::NAN)), [0, 1]);
        assert_eq!(nan_heads(broken(1, 280 * HEADS_KV + 1, f64::NAN)), [2, 3]);
        for bad in [f64::NAN, f64::INFINITY] {
            let (found, found_lse) = broken(2, 130 * HEADS_KV + 1, bad);
            assert_eq!(found_lse, lse);
            for i in 0..HEADS {
                let (found, before) = (head(&found, i), head(&out, i));
                assert_eq!(found[1..], before[1..], "{bad} in v: head {i}");
                if i < 2 {
                    assert_eq!(found, before, "{bad} in v: head {i}");
                } else {
                    assert!(
                        !value::<bf16>(&found[0]).is_finite(),
                        "{bad} in v: head {i}"
                    );
                }
            }
        }
    }
}

/// A page that is not there counts as keys and values of zeros, and what would be appended to it is lost.
#[test]
fn pages_that_do_not_exist_are_zeros() {
    for device in devices() {
        for (missing, appended) in [(0, true), (1, false)] {
            let run = || -> Result<(), Error> {
                let q = device.upload(&[f16::from_f32(0.25); HEAD_DIM])?;
                let new = device.upload(&[f16::from_f32(1.0); HEAD_DIM])?;
                let ones = vec![f16::from_f32(1.0); 2 * 4 * HEAD_DIM];
                let (mut k, mut v) = (device.upload(&ones)?, device.upload(&ones)?);
                let mut o = device.poisoned::<f16>(HEAD_DIM)?;
                let mut table = [0, 1];
                table[missing] = if appended { -1 } else { 2 };
                let table = device.upload(&table)?;
                let lens = device.upload(&[5])?;
                let mut flags = device.zeroed::<u32>(1)?;
                let mut workspace = device.zeroed::<u8>(0)?;
                let layout = CacheLayout::paged(
                    1,
                    1,
                    HEAD_DIM,
                    Strides {
                        batch: 4 * HEAD_DIM,
                        token: HEAD_DIM,
                        head: HEAD_DIM,
                    },
                    Pages {
                        table: table.view(),
                        pages_per_sequence: 2,
                        page_len: 4,
                        num_pages: 2,
                    },
                )?;
                let shape = [1, 1, 1, HEAD_DIM];
                let token = |buffer| Tensor::new(Buffer::view(buffer), shape);
                ops::decode(
                    &device,
                    ops::DecodeParams {
                        q: token(&q)?,
                        new: Some((token(&new)?, token(&new)?)),
                        o: TensorMut::new(o.view_mut(), shape)?,
                        lse: None,
                        cache: CacheMut {
                            k: k.view_mut(),
                            v: v.view_mut(),
                        },
                        layout,
                        cache_lens: lens.view(),
                        softmax_scale: 0.125,
                        workspace: workspace.view_mut(),
                        flags: Some(flags.view_mut()),
                    },
                )?;
                assert_eq!(Flags::from_bits(flags.download()?[0]), Flags::RANGE);
                // Scores are 1, of a missing key 0; values are 1, of a missing key 0. Page 0 has four of the five
                // cached tokens.
                let there = if missing == 0 { 2.0 } else { 5.0 } * 1.0f64.exp();
                let expected = there / (there + if missing == 0 { 4.0 } else { 1.0 });
                for x in o.download()? {
                    assert!(
                        (x.to_f64() - expected).abs() < 1e-3,
                        "{x} is not {expected}"
                    );
                }
                assert!(k.download()?.iter().all(|&x| x == ones[0]));
                Ok(())
            };
            run().unwrap();
        }
    }
}

/// Splits that meet in memory that was never zeroed cannot know who is last: NaN and a flag, but only where there are
/// splits. Zeroed, the same memory serves.
#[test]
fn a_workspace_that_was_not_zeroed_is_told() {
    const CAPACITY: usize = 300;
    for device in devices() {
        let run = |first: &[u8]| -> Result<(Vec<f16>, Vec<f32>, Flags), Error> {
            let q = device.upload(&[f16::from_f32(0.25); 2 * HEAD_DIM])?;
            let ones = vec![f16::from_f32(1.0); 2 * CAPACITY * HEAD_DIM];
            let (mut k, mut v) = (device.upload(&ones)?, device.upload(&ones)?);
            let mut o = device.poisoned::<f16>(2 * HEAD_DIM)?;
            let mut lse = device.poisoned::<f32>(2)?;
            let lens = device.upload(&[9, 290])?;
            let mut flags = device.zeroed::<u32>(1)?;
            let shape = [2, CAPACITY, 1, HEAD_DIM];
            let layout = CacheLayout::contiguous(shape, CacheLayout::tokens_outermost(shape));
            let shape = [2, 1, 1, HEAD_DIM];
            let bytes = ops::decode_workspace_size::<f16>(&device, Shape::new(shape), &layout)?;
            let workspace: Vec<u8> = first.iter().copied().cycle().take(bytes).collect();
            let mut workspace = device.upload(&workspace)?;
            let params = ops::DecodeParams {
                q: Tensor::new(q.view(), shape)?,
                new: None,
                o: TensorMut::new(o.view_mut(), shape)?,
                lse: Some(lse.view_mut()),
                cache: CacheMut {
                    k: k.view_mut(),
                    v: v.view_mut(),
                },
                layout,
                cache_lens: lens.view(),
                softmax_scale: 0.125,
                workspace: workspace.view_mut(),
                flags: Some(flags.view_mut()),
            };
            ops::decode(&device, params)?;
            let flags = Flags::from_bits(flags.download()?[0]);
            Ok((o.download()?, lse.download()?, flags))
        };
        let (o, _, flags) = run(&[0]).unwrap();
        assert_eq!(flags, Flags::default());
        assert!(o.iter().all(|&x| x == f16::from_f32(1.0)));
        for first in [
            &[0xff][..],
            &[1, 0, 0, 0],
            &[2, 0, 0, 0],
            &[0, 0, 0x80, 0x3f],
        ] {
            let (o, lse, flags) = run(first).unwrap();
            assert_eq!(flags, Flags::RANGE);
            assert!(o[..HEAD_DIM].iter().all(|&x| x == f16::from_f32(1.0)));
            assert!(o[HEAD_DIM..].iter().all(|x| x.is_nan()), "{o:?}");
            assert!(lse[0].is_finite() && lse[1].is_nan(), "{lse:?}");
        }
    }
}

#[test]
fn advance_leaves_those_that_have_left() {
    let values = (prop::collection::vec(any::<i32>(), 0..300), any::<i32>());
    on_every_device(40, values, |device, (values, amount)| {
        let mut buffer = device.upload(&values).map_err(fail)?;
        ops::advance(device, buffer.view_mut(), amount).map_err(fail)?;
        let expected: Vec<i32> = values
            .iter()
            .map(|&x| if x < 0 { x } else { x.saturating_add(amount) })
            .collect();
        prop_assert_eq!(buffer.download().map_err(fail)?, expected);
        Ok(())
    });
}

/// Where the rows of `[outer, tokens, heads]` lie.
fn places(shape: [usize; 3], strides: Strides) -> Vec<usize> {
    let [outer, tokens, heads] = shape;
    (0..outer * tokens * heads)
        .map(|i| [i / (tokens * heads), i / heads % tokens, i % heads])
        .map(|[o, t, h]| o * strides.batch + t * strides.token + h * strides.head)
        .collect()
}

/// Rows in memory of which only what is touched is there.
fn far(device: &Device, rows: &[Vec<f16>], places: &[usize]) -> SparseMemory<f16> {
    let len = places.iter().max().map_or(0, |&last| last + HEAD_DIM);
    let mut memory = SparseMemory::new(device, len);
    for (row, &at) in rows.iter().zip(places) {
        memory.elements(at, HEAD_DIM).copy_from_slice(row);
    }
    memory
}

fn bits_at(memory: &mut SparseMemory<f16>, places: &[usize]) -> Vec<u16> {
    let of = |&at: &usize| memory.elements(at, HEAD_DIM).to_vec();
    places.iter().flat_map(of).map(|x| x.to_bits()).collect()
}

/// Tokens, sequences, heads and pages more than 2^32 elements apart have the bits of those side by side, and the new
/// token is found where it belongs.
#[test]
fn offsets_past_32_bits() {
    const APART: usize = (1 << 32) + 64;
    let (batch, capacity, heads_q, heads_kv, page_len) = (2, 6, 4, 2, 2);
    let Some(device) = emulated() else {
        return;
    };
    let numbers = |seed, rows| -> Vec<Vec<f16>> {
        let numbers = tensor::<f64>(seed, (rows, 1, HEAD_DIM), 2.0);
        let row = |i| numbers.slice(s![i, 0, ..]).mapv(f16::from_f64).to_vec();
        (0..rows).map(row).collect()
    };
    let rows = batch * capacity * heads_kv;
    let (q, k_new, v_new) = (
        numbers(1, batch * heads_q),
        numbers(2, batch * heads_kv),
        numbers(3, batch * heads_kv),
    );
    let (k, v) = (numbers(4, rows), numbers(5, rows));
    let lens = device.upload(&[3, 5]).expect("memory");
    // Page i of the memory is page i of the sequences, one after the other.
    let table: Vec<i32> = (0..(batch * capacity / page_len) as i32).collect();
    let table = device.upload(&table).expect("memory");

    let run = |of_token: Strides, of_cache: Strides, paged: bool| -> Result<_, Error> {
        let outer = if paged {
            [batch * capacity / page_len, page_len]
        } else {
            [batch, capacity]
        };
        let token_places = |heads| places([batch, 1, heads], of_token);
        let cache_places = places([outer[0], outer[1], heads_kv], of_cache);
        let (q_places, new_places) = (token_places(heads_q), token_places(heads_kv));
        let q = far(&device, &q, &q_places);
        let k_new = far(&device, &k_new, &new_places);
        let v_new = far(&device, &v_new, &new_places);
        let mut o = far(&device, &[], &q_places);
        let mut k = far(&device, &k, &cache_places);
        let mut v = far(&device, &v, &cache_places);
        let layout = if paged {
            let pages = Pages {
                table: table.view(),
                pages_per_sequence: capacity / page_len,
                page_len,
                num_pages: outer[0],
            };
            CacheLayout::paged(batch, heads_kv, HEAD_DIM, of_cache, pages)?
        } else {
            CacheLayout::contiguous([batch, capacity, heads_kv, HEAD_DIM], of_cache)
        };
        let (shape_q, shape_new) = (
            [batch, 1, heads_q, HEAD_DIM],
            [batch, 1, heads_kv, HEAD_DIM],
        );
        ops::decode(
            &device,
            ops::DecodeParams {
                q: Tensor::strided(q.view(), shape_q, of_token, 0)?,
                new: Some((
                    Tensor::strided(k_new.view(), shape_new, of_token, 0)?,
                    Tensor::strided(v_new.view(), shape_new, of_token, 0)?,
                )),
                o: TensorMut::strided(o.view_mut(), shape_q, of_token, 0)?,
                lse: None,
                cache: CacheMut {
                    k: k.view_mut(),
                    v: v.view_mut(),
                },
                layout,
                cache_lens: lens.view(),
                softmax_scale: 0.25,
                workspace: device.zeroed::<u8>(0)?.view_mut(),
                flags: None,
            },
        )?;
        Ok((
            bits_at(&mut o, &q_places),
            bits_at(&mut k, &cache_places),
            bits_at(&mut v, &cache_places),
        ))
    };
    let strides = |batch, token, head| Strides { batch, token, head };
    let near = run(
        strides(heads_q * HEAD_DIM, 0, HEAD_DIM),
        CacheLayout::tokens_outermost([batch, capacity, heads_kv, HEAD_DIM]),
        false,
    )
    .expect("it runs");
    // The new tokens have been appended.
    for (b, token) in [(0, 3), (1, 5)] {
        for head in 0..heads_kv {
            let row = ((b * capacity + token) * heads_kv + head) * HEAD_DIM;
            let new: Vec<u16> = k_new[b * heads_kv + head]
                .iter()
                .map(|x| x.to_bits())
                .collect();
            assert_eq!(near.1[row..row + HEAD_DIM], new);
        }
    }
    let of_token = strides(4 * APART, 0, APART);
    for (of_cache, paged) in [
        (strides(capacity * APART, APART, 40), false),
        (strides(2 * APART, 40, APART), false),
        (strides(APART, 80, 40), true),
        (strides(2 * APART, APART, 40), true),
    ] {
        let far = run(of_token, of_cache, paged).expect("it runs");
        assert_eq!(far, near, "{of_cache:?}, in pages: {paged}");
    }
}

/// What no device could serve is told by name, with the value and the limit.
#[test]
fn bad_parameters_are_typed_errors() {
    let device = a_device();
    #[derive(Clone)]
    struct Sizes {
        q: [usize; 4],
        new: [usize; 4],
        cache: [usize; 4],
        lens: usize,
        lse: usize,
        workspace: usize,
        softmax_scale: f32,
    }
    let good = Sizes {
        q: [2, 1, 4, 32],
        new: [2, 1, 2, 32],
        cache: [2, 300, 2, 32],
        lens: 2,
        lse: 8,
        workspace: 1 << 20,
        softmax_scale: 1.0,
    };
    let run = |sizes: Sizes| -> Result<(), Error> {
        let memory = device.upload(&vec![f16::ONE; 2 * 300 * 2 * 32])?;
        let mut o = device.poisoned::<f16>(memory.len())?;
        let (mut k, mut v) = (
            device.poisoned::<f16>(memory.len())?,
            device.poisoned::<f16>(memory.len())?,
        );
        let lens = device.upload(&vec![0; sizes.lens])?;
        let mut lse = device.poisoned::<f32>(sizes.lse)?;
        let mut workspace = device.zeroed::<u8>(sizes.workspace)?;
        let new = Tensor::new(memory.view(), sizes.new)?;
        ops::decode(
            &device,
            ops::DecodeParams {
                q: Tensor::new(memory.view(), sizes.q)?,
                new: Some((new, new)),
                o: TensorMut::new(o.view_mut(), sizes.q)?,
                lse: Some(lse.view_mut()),
                cache: CacheMut {
                    k: k.view_mut(),
                    v: v.view_mut(),
                },
                layout: CacheLayout::contiguous(
                    sizes.cache,
                    CacheLayout::tokens_outermost(sizes.cache),
                ),
                cache_lens: lens.view(),
                softmax_scale: sizes.softmax_scale,
                workspace: workspace.view_mut(),
                flags: None,
            },
        )
    };
    assert_eq!(run(good.clone()), Ok(()));
    let refused = |change: fn(&mut Sizes), words: &[&str]| {
        let mut sizes = good.clone();
        change(&mut sizes);
        let text = run(sizes).expect_err("an error").to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    refused(|s| s.q[1] = 2, &["tokens of q is 2", "1"]);
    refused(|s| s.new[2] = 1, &["[2, 1, 1, 32]", "[2, 1, 2, 32]"]);
    refused(|s| s.cache[0] = 1, &["batch of the cache is 1", "2"]);
    refused(|s| s.cache[3] = 16, &["head_dim of the cache is 16", "32"]);
    refused(
        |s| (s.q[2], s.lse) = (3, 6),
        &["num_heads_q (3)", "num_heads_kv (2)"],
    );
    refused(|s| s.lens = 3, &["cache_lens is 3", "2"]);
    refused(|s| s.lse = 7, &["lse is 7", "8"]);
    refused(|s| s.workspace = 4096, &["workspace_bytes is 4096"]);
    refused(|s| s.softmax_scale = 0.0, &["softmax_scale is 0"]);
}
