//! The gather kernel: bit for bit what the policy says stays, in every layout, in place and not.

use half::{bf16, f16};
use proptest::prelude::*;
use windowkv_kernels::{
    CacheLayout, CacheMut, Device, Flags, Matrix, Observation, Pages, Sequences, Shape, Strides,
    Tensor, ops,
};
use windowkv_ref::policy::Windows;
use windowkv_tests::kernels::{
    Half, Lay, Order, SparseMemory, a_device, devices, emulated, fail, on_every_device,
};

/// What a kernel must leave alone.
const POISON: u16 = 0xffff;

/// How the sequences of a batch follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batching {
    Ragged,
    /// Ragged, and only the first tokens of each sequence count.
    RaggedShortened,
    /// Padded, every sequence as long as the longest.
    Full,
    Padded,
}

/// One sequence and what stays of it.
#[derive(Debug, Clone)]
struct SequenceCase {
    seqlen: usize,
    suffix_len: usize,
    window_len: usize,
    /// Which windows stay: bit `w % 64`, turned by the head where each has its own.
    mask: u64,
}

impl SequenceCase {
    /// The windows that head `head` keeps. Heads with lists of their own keep equally many tokens: each list is as
    /// long as the first, and has no short window.
    fn windows(&self, head: usize, own_lists: bool) -> Vec<usize> {
        if self.window_len == 0 {
            return Vec::new();
        }
        let windows = self.geometry();
        let count = if own_lists {
            windows.review_len() / self.window_len
        } else {
            windows.count()
        };
        let wanted = (0..count)
            .filter(|w| self.mask >> (w % 64) & 1 != 0)
            .count();
        let mut kept: Vec<usize> = (0..wanted)
            .map(|i| (i * count / wanted.max(1) + head) % count)
            .collect();
        if !own_lists {
            kept = (0..count)
                .filter(|w| self.mask >> (w % 64) & 1 != 0)
                .collect();
        }
        kept.sort_unstable();
        kept.dedup();
        kept
    }

    fn geometry(&self) -> Windows {
        Windows::new(self.seqlen, self.suffix_len, self.window_len.max(1)).expect("windows")
    }

    /// Positions that stay, ascending.
    fn positions(&self, head: usize, own_lists: bool) -> Vec<usize> {
        if self.window_len == 0 {
            return (0..self.seqlen).collect();
        }
        self.geometry().positions(&self.windows(head, own_lists))
    }
}

#[derive(Debug, Clone)]
struct Case {
    bfloat16: bool,
    layers: usize,
    heads: usize,
    head_dim: usize,
    own_lists: bool,
    batching: Batching,
    sequences: Vec<SequenceCase>,
    source: Order,
    cache: Order,
    /// Log2 of the page length; `None`: no pages
    pages: Option<u32>,
    /// Tokens of room beyond the longest kept sequence; below 0, too few
    spare: i64,
    data: u64,
}

fn sequence(longest: usize) -> impl Strategy<Value = SequenceCase> {
    let window_len = prop_oneof![1 => Just(0usize), 1 => Just(1usize), 6 => 1..20usize];
    let mask = prop_oneof![1 => Just(0u64), 1 => Just(u64::MAX), 4 => any::<u64>()];
    (0..=longest, 0..40usize, window_len, mask).prop_map(
        |(seqlen, suffix_len, window_len, mask)| SequenceCase {
            seqlen,
            suffix_len,
            window_len,
            mask,
        },
    )
}

fn cases(longest: usize) -> impl Strategy<Value = Case> {
    let layers = prop_oneof![8 => 1..4usize, 1 => 31..35usize];
    let head_dim = prop_oneof![Just(32usize), Just(64), Just(96), Just(128)];
    let batching = prop_oneof![
        Just(Batching::Ragged),
        Just(Batching::RaggedShortened),
        Just(Batching::Full),
        Just(Batching::Padded)
    ];
    let shape = (layers, 1..4usize, head_dim, any::<bool>(), any::<bool>());
    let memory = (
        Order::any(),
        Order::any(),
        prop_oneof![Just(None), (0..5u32).prop_map(Some)],
        prop_oneof![3 => 0..20i64, 1 => -30..0i64],
        any::<u64>(),
    );
    let sequences = prop::collection::vec(sequence(longest), 0..4);
    (shape, batching, sequences, memory).prop_map(|(shape, batching, mut sequences, memory)| {
        let (layers, heads, head_dim, own_lists, bfloat16) = shape;
        let (source, cache, pages, spare, data) = memory;
        let many = layers > 4;
        if many {
            // Many layers show that they come in several launches, whatever else is in them.
            sequences.truncate(1);
        }
        if batching == Batching::Full {
            let longest = sequences.iter().map(|s| s.seqlen).max().unwrap_or(0);
            sequences.iter_mut().for_each(|s| s.seqlen = longest);
        }
        Case {
            bfloat16,
            layers,
            heads: if many { 1 } else { heads },
            head_dim: if many { 32 } else { head_dim },
            own_lists,
            batching,
            sequences,
            source,
            cache,
            pages,
            spare,
            data,
        }
    })
}

/// Sixteen random bits.
fn noise(seed: u64, index: usize) -> u16 {
    let mut z = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) as u16
}

/// What the case means, computed on the host.
struct Plan {
    batch: usize,
    source: Lay,
    cache: Lay,
    /// First row of each sequence's tokens in the source, `(batch, token)`
    starts: Vec<(usize, usize)>,
    cu_seqlens: Vec<i32>,
    seqlens: Vec<i32>,
    max_seqlen: usize,
    capacity: usize,
    page_len: usize,
    num_pages: usize,
    page_table: Vec<i32>,
    /// `[batch][list]`
    windows: Vec<Vec<Vec<usize>>>,
    kept_lens: Vec<usize>,
    index_heads: usize,
}

impl Plan {
    fn new(case: &Case) -> Self {
        let batch = case.sequences.len();
        let index_heads = if case.own_lists { case.heads } else { 1 };
        let longest = case.sequences.iter().map(|s| s.seqlen).max().unwrap_or(0);
        let shortened = case.batching == Batching::RaggedShortened;
        let ragged = shortened || case.batching == Batching::Ragged;
        let mut cu_seqlens = vec![0];
        for (b, sequence) in case.sequences.iter().enumerate() {
            let unused = if shortened { b % 3 } else { 0 };
            cu_seqlens.push(cu_seqlens[b] + (sequence.seqlen + unused) as i32);
        }
        let shape = if ragged {
            [1, cu_seqlens[batch] as usize, case.heads, case.head_dim]
        } else {
            [batch, longest, case.heads, case.head_dim]
        };
        let starts = (0..batch)
            .map(|b| {
                if ragged {
                    (0, cu_seqlens[b] as usize)
                } else {
                    (b, 0)
                }
            })
            .collect();
        let windows: Vec<Vec<Vec<usize>>> = case
            .sequences
            .iter()
            .map(|s| {
                (0..index_heads)
                    .map(|head| s.windows(head, case.own_lists))
                    .collect()
            })
            .collect();
        let wanted: Vec<usize> = case
            .sequences
            .iter()
            .map(|s| s.positions(0, case.own_lists).len())
            .collect();
        let room = wanted.iter().copied().max().unwrap_or(0) as i64 + case.spare;
        let page_len = 1 << case.pages.unwrap_or(0);
        let pages_each = (room.max(0) as usize).div_ceil(page_len);
        let capacity = match case.pages {
            Some(_) => pages_each * page_len,
            None => room.max(0) as usize,
        };
        // Every other page belongs to nobody, and they are dealt out backwards.
        let num_pages = 2 * batch * pages_each + 1;
        let page_table = (0..batch * pages_each)
            .map(|i| (2 * (batch * pages_each - i) - 1) as i32)
            .collect();
        let cache_shape = match case.pages {
            Some(_) => [num_pages, page_len, case.heads, case.head_dim],
            None => [batch, capacity, case.heads, case.head_dim],
        };
        Self {
            batch,
            source: Lay::new(shape, case.source),
            cache: Lay::new(cache_shape, case.cache),
            starts,
            cu_seqlens,
            seqlens: case.sequences.iter().map(|s| s.seqlen as i32).collect(),
            max_seqlen: longest,
            capacity,
            page_len,
            num_pages,
            page_table,
            windows,
            kept_lens: wanted.iter().map(|&kept| kept.min(capacity)).collect(),
            index_heads,
        }
    }

    fn source_at(&self, batch: usize, token: usize, head: usize) -> usize {
        let (row, first) = self.starts[batch];
        self.source.at(row, first + token, head)
    }

    fn cache_at(&self, paged: bool, batch: usize, token: usize, head: usize) -> usize {
        if !paged {
            return self.cache.at(batch, token, head);
        }
        let pages_each = self.capacity / self.page_len;
        let page = self.page_table[batch * pages_each + token / self.page_len];
        self.cache.at(page as usize, token % self.page_len, head)
    }

    /// The memory of one tensor: noise where it has elements, poison between them.
    fn source_bits(&self, seed: u64) -> Vec<u16> {
        let mut bits = vec![POISON; self.source.len];
        let shape = self.source.shape;
        for b in 0..shape.batch {
            for t in 0..shape.tokens {
                for h in 0..shape.heads {
                    let at = self.source.at(b, t, h);
                    (at..at + shape.head_dim).for_each(|i| bits[i] = noise(seed, i));
                }
            }
        }
        bits
    }

    /// Lists of `columns` windows a row; what does not count is far outside every sequence.
    fn indices(&self, columns: usize) -> (Vec<i32>, Vec<i32>) {
        let rows = self.windows.iter().flatten();
        let indices = rows.clone().flat_map(|list| {
            let rest = std::iter::repeat_n(i32::MAX, columns - list.len());
            list.iter()
                .map(|&w| w as i32)
                .chain(rest)
                .collect::<Vec<_>>()
        });
        (
            indices.collect(),
            rows.map(|list| list.len() as i32).collect(),
        )
    }
}

fn halves<T: Half>(bits: &[u16]) -> Vec<T> {
    bits.iter().map(|&bits| T::from_bits(bits)).collect()
}

fn observations(case: &Case) -> Vec<Observation> {
    let observation = |s: &SequenceCase| Observation {
        suffix_len: s.suffix_len as i32,
        window_len: s.window_len as i32,
        ..Observation::default()
    };
    case.sequences.iter().map(observation).collect()
}

/// The case's gather from one buffer into another; the whole memory of every cache is compared.
fn gathered<T: Half>(device: &Device, case: &Case) -> Result<(), TestCaseError> {
    let plan = Plan::new(case);
    let paged = case.pages.is_some();
    let tensors: Vec<[Vec<u16>; 2]> = (0..case.layers as u64)
        .map(|layer| [0, 1].map(|kv| plan.source_bits(case.data ^ (2 * layer + kv) << 32)))
        .collect();
    let upload = |bits: &Vec<u16>| device.upload(&halves::<T>(bits)).map_err(fail);
    let mut sources = Vec::new();
    let mut caches = Vec::new();
    for [k, v] in &tensors {
        sources.push([upload(k)?, upload(v)?]);
        let poisoned = || device.poisoned::<T>(plan.cache.len).map_err(fail);
        caches.push([poisoned()?, poisoned()?]);
    }
    let columns = plan
        .windows
        .iter()
        .flatten()
        .map(Vec::len)
        .max()
        .unwrap_or(0);
    let stride = columns + 3;
    let (indices, num_kept) = plan.indices(stride);
    let indices = device.upload(&indices).map_err(fail)?;
    let num_kept = device.upload(&num_kept).map_err(fail)?;
    let observations = device.upload(&observations(case)).map_err(fail)?;
    let cu_seqlens = device.upload(&plan.cu_seqlens).map_err(fail)?;
    let seqlens = device.upload(&plan.seqlens).map_err(fail)?;
    let table = device.upload(&plan.page_table).map_err(fail)?;
    let mut kept_lens = device.poisoned::<i32>(plan.batch).map_err(fail)?;
    let mut flags = device.zeroed::<u32>(1).map_err(fail)?;

    let shape = plan.source.shape;
    let shape = [shape.batch, shape.tokens, shape.heads, shape.head_dim];
    let mut layers = Vec::new();
    for ([k, v], [k_cache, v_cache]) in sources.iter().zip(&mut caches) {
        let tensor = |buffer| {
            Tensor::strided(buffer, shape, plan.source.strides, plan.source.offset).map_err(fail)
        };
        let offset = plan.cache.offset..plan.cache.len;
        layers.push(ops::GatherLayer {
            k: tensor(k.view())?,
            v: tensor(v.view())?,
            cache: CacheMut {
                k: k_cache.view_mut().range(offset.clone()).map_err(fail)?,
                v: v_cache.view_mut().range(offset).map_err(fail)?,
            },
        });
    }
    let sequences = match case.batching {
        Batching::Ragged => Sequences::ragged(cu_seqlens.view(), plan.max_seqlen),
        Batching::RaggedShortened => {
            Sequences::ragged(cu_seqlens.view(), plan.max_seqlen + 2).with_seqlens(seqlens.view())
        }
        Batching::Full => Sequences::padded(plan.max_seqlen),
        Batching::Padded => Sequences::padded(plan.max_seqlen).with_seqlens(seqlens.view()),
    };
    let cache = if paged {
        let pages = Pages {
            table: table.view(),
            pages_per_sequence: plan.capacity / plan.page_len,
            page_len: plan.page_len,
            num_pages: plan.num_pages,
        };
        CacheLayout::paged(
            plan.batch,
            case.heads,
            case.head_dim,
            plan.cache.strides,
            pages,
        )
        .map_err(fail)?
    } else {
        let shape = [plan.batch, plan.capacity, case.heads, case.head_dim];
        CacheLayout::contiguous(shape, plan.cache.strides)
    };
    let rows = plan.batch * plan.index_heads;
    let params = ops::GatherParams {
        layers,
        sequences_kv: sequences,
        cache,
        windows: ops::KeptWindows {
            observations: observations.view(),
            indices: Matrix::strided(indices.view(), rows, columns, stride, 0).map_err(fail)?,
            num_kept: num_kept.view(),
        },
        kept_lens: kept_lens.view_mut(),
        flags: Some(flags.view_mut()),
    };
    ops::gather(device, params).map_err(fail)?;

    for (layer, (sources, caches)) in tensors.iter().zip(&caches).enumerate() {
        for (kv, (source, cache)) in sources.iter().zip(caches).enumerate() {
            let mut expected = vec![POISON; plan.cache.len];
            for (b, sequence) in case.sequences.iter().enumerate() {
                for head in 0..case.heads {
                    let positions = sequence.positions(head, case.own_lists);
                    for (p, &token) in positions[..plan.kept_lens[b]].iter().enumerate() {
                        let from = plan.source_at(b, token, head);
                        let to = plan.cache_at(paged, b, p, head);
                        expected[to..to + case.head_dim]
                            .copy_from_slice(&source[from..from + case.head_dim]);
                    }
                }
            }
            same_bits(
                &cache.download().map_err(fail)?,
                &expected,
                &format!("layer {layer}, {kv}"),
            )?;
        }
    }
    check_lens(
        &plan,
        case,
        &kept_lens.download().map_err(fail)?,
        flags.download().map_err(fail)?[0],
    )
}

fn same_bits<T: Half>(got: &[T], expected: &[u16], what: &str) -> Result<(), TestCaseError> {
    let got: Vec<u16> = got.iter().map(|x| x.bits()).collect();
    let wrong = got
        .iter()
        .zip(expected)
        .position(|(got, expected)| got != expected);
    prop_assert!(
        wrong.is_none(),
        "{what}: element {wrong:?} of {} is {:#x?}, not {:#x?}",
        got.len(),
        wrong.map(|i| got[i]),
        wrong.map(|i| expected[i])
    );
    prop_assert_eq!(got.len(), expected.len());
    Ok(())
}

fn check_lens(plan: &Plan, case: &Case, got: &[i32], flags: u32) -> Result<(), TestCaseError> {
    let expected: Vec<i32> = plan.kept_lens.iter().map(|&len| len as i32).collect();
    prop_assert_eq!(got, expected);
    let wanted = case
        .sequences
        .iter()
        .map(|s| s.positions(0, case.own_lists).len());
    let short = wanted
        .zip(&plan.kept_lens)
        .any(|(wanted, &kept)| kept < wanted);
    let flag = if short {
        Flags::CAPACITY
    } else {
        Flags::default()
    };
    prop_assert_eq!(Flags::from_bits(flags), flag);
    Ok(())
}

/// The case's windows compacted in their own buffer; the whole memory is compared.
fn compacted<T: Half>(device: &Device, case: &Case) -> Result<(), TestCaseError> {
    let case = &Case {
        batching: Batching::Padded,
        pages: None,
        spare: case.spare.max(0),
        ..case.clone()
    };
    let plan = Plan::new(case);
    let tensors: Vec<[Vec<u16>; 2]> = (0..case.layers as u64)
        .map(|layer| [0, 1].map(|kv| plan.source_bits(case.data ^ (2 * layer + kv) << 32)))
        .collect();
    let mut caches = Vec::new();
    for [k, v] in &tensors {
        let upload = |bits: &Vec<u16>| device.upload(&halves::<T>(bits)).map_err(fail);
        caches.push([upload(k)?, upload(v)?]);
    }
    let columns = plan
        .windows
        .iter()
        .flatten()
        .map(Vec::len)
        .max()
        .unwrap_or(0);
    let (indices, num_kept) = plan.indices(columns);
    let indices = device.upload(&indices).map_err(fail)?;
    let num_kept = device.upload(&num_kept).map_err(fail)?;
    let observations = device.upload(&observations(case)).map_err(fail)?;
    let seqlens = device.upload(&plan.seqlens).map_err(fail)?;
    let mut kept_lens = device.poisoned::<i32>(plan.batch).map_err(fail)?;
    let mut flags = device.zeroed::<u32>(1).map_err(fail)?;
    let mut layers = Vec::new();
    for [k, v] in &mut caches {
        let range = plan.source.offset..plan.source.len;
        layers.push(CacheMut {
            k: k.view_mut().range(range.clone()).map_err(fail)?,
            v: v.view_mut().range(range).map_err(fail)?,
        });
    }
    let shape = [plan.batch, plan.max_seqlen, case.heads, case.head_dim];
    let rows = plan.batch * plan.index_heads;
    let params = ops::CompactParams {
        layers,
        cache: CacheLayout::contiguous(shape, plan.source.strides),
        sequences_kv: Sequences::padded(plan.max_seqlen).with_seqlens(seqlens.view()),
        windows: ops::KeptWindows {
            observations: observations.view(),
            indices: Matrix::new(indices.view(), rows, columns).map_err(fail)?,
            num_kept: num_kept.view(),
        },
        kept_lens: kept_lens.view_mut(),
        flags: Some(flags.view_mut()),
    };
    ops::compact(device, params).map_err(fail)?;

    for (layer, (before, after)) in tensors.iter().zip(&caches).enumerate() {
        for (kv, (before, after)) in before.iter().zip(after).enumerate() {
            let mut expected = before.clone();
            for (b, sequence) in case.sequences.iter().enumerate() {
                for head in 0..case.heads {
                    let positions = sequence.positions(head, case.own_lists);
                    for (p, &token) in positions.iter().enumerate() {
                        let (from, to) =
                            (plan.source_at(b, token, head), plan.source_at(b, p, head));
                        expected[to..to + case.head_dim]
                            .copy_from_slice(&before[from..from + case.head_dim]);
                    }
                }
            }
            same_bits(
                &after.download().map_err(fail)?,
                &expected,
                &format!("layer {layer}, {kv}"),
            )?;
        }
    }
    check_lens(
        &plan,
        case,
        &kept_lens.download().map_err(fail)?,
        flags.download().map_err(fail)?[0],
    )
}

#[test]
fn every_layout_gets_the_tokens_that_stay() {
    on_every_device(300, cases(150), |device, case| {
        if case.bfloat16 {
            gathered::<bf16>(device, &case)
        } else {
            gathered::<f16>(device, &case)
        }
    });
}

#[test]
fn a_buffer_is_compacted_in_place() {
    on_every_device(200, cases(1000), |device, case| {
        if case.bfloat16 {
            compacted::<bf16>(device, &case)
        } else {
            compacted::<f16>(device, &case)
        }
    });
}

#[test]
fn long_sequences_take_several_blocks() {
    on_every_device(10, cases(3000), |device, case| {
        gathered::<bf16>(device, &case)?;
        compacted::<f16>(device, &case)
    });
}

/// What is wrong with the numbers that lie in device memory.
#[derive(Debug, Clone, Copy)]
enum Fault {
    IndexBelow,
    IndexAbove,
    NotAscending,
    Repeated,
    TooManyKept,
    NegativeKept,
    NegativeWindow,
    NegativeSuffix,
    SeqlenAbove,
    SeqlenBelow,
    CuSeqlensAbove,
    CuSeqlensDescend,
    Page,
    UnequalLists,
}

const FAULTS: [Fault; 14] = [
    Fault::IndexBelow,
    Fault::IndexAbove,
    Fault::NotAscending,
    Fault::Repeated,
    Fault::TooManyKept,
    Fault::NegativeKept,
    Fault::NegativeWindow,
    Fault::NegativeSuffix,
    Fault::SeqlenAbove,
    Fault::SeqlenBelow,
    Fault::CuSeqlensAbove,
    Fault::CuSeqlensDescend,
    Fault::Page,
    Fault::UnequalLists,
];

/// Two sequences of 40 tokens, windows of 4, suffix 4: nine windows, of which three stay.
fn faulty(device: &Device, fault: Fault, in_place: bool) -> Result<(), TestCaseError> {
    let (batch, seqlen, heads, head_dim, max_keep) = (2, 40, 2, 32, 5);
    let ragged = matches!(fault, Fault::CuSeqlensAbove | Fault::CuSeqlensDescend);
    let paged = matches!(fault, Fault::Page);
    if in_place && (ragged || paged) {
        return Ok(());
    }
    let own_lists = matches!(fault, Fault::UnequalLists);
    let rows = if own_lists { batch * heads } else { batch };
    let mut indices = [1, 4, 6, 0, 0].repeat(rows);
    let mut num_kept = vec![3; rows];
    let observation = Observation {
        suffix_len: 4,
        window_len: 4,
        ..Observation::default()
    };
    let mut observations = vec![observation; batch];
    let mut seqlens = vec![seqlen as i32; batch];
    let mut cu_seqlens = vec![0, 40, 80];
    let mut table: Vec<i32> = (0..8).collect();
    match fault {
        Fault::IndexBelow => indices[5] = -1,
        Fault::IndexAbove => indices[7] = 9,
        Fault::NotAscending => indices[6] = 8,
        Fault::Repeated => indices[6] = 1,
        Fault::TooManyKept => num_kept[1] = 6,
        Fault::NegativeKept => num_kept[1] = i32::MIN,
        Fault::NegativeWindow => observations[1].window_len = -1,
        Fault::NegativeSuffix => observations[1].suffix_len = -5,
        Fault::SeqlenAbove => seqlens[1] = 41,
        Fault::SeqlenBelow => seqlens[1] = -1,
        Fault::CuSeqlensAbove => cu_seqlens[2] = i32::MAX,
        Fault::CuSeqlensDescend => cu_seqlens[2] = 39,
        Fault::Page => table[5] = 8,
        Fault::UnequalLists => num_kept[3] = 2,
    }
    // The number of a token, in each of its elements.
    let shape = if ragged {
        [1, batch * seqlen, heads, head_dim]
    } else {
        [batch, seqlen, heads, head_dim]
    };
    let source: Vec<f16> = (0..batch * seqlen * heads * head_dim)
        .map(|i| f16::from_f32((i / head_dim) as f32))
        .collect();
    let poison = f16::from_bits(POISON);
    let memory = || device.upload(&source).map_err(fail);
    let (k, v, mut k_place, mut v_place) = (memory()?, memory()?, memory()?, memory()?);
    let cache_len = batch * seqlen * heads * head_dim;
    let mut k_cache = device.poisoned::<f16>(cache_len).map_err(fail)?;
    let mut v_cache = device.poisoned::<f16>(cache_len).map_err(fail)?;
    let indices = device.upload(&indices).map_err(fail)?;
    let num_kept = device.upload(&num_kept).map_err(fail)?;
    let observations = device.upload(&observations).map_err(fail)?;
    let (seqlens, cu_seqlens) = (
        device.upload(&seqlens).map_err(fail)?,
        device.upload(&cu_seqlens).map_err(fail)?,
    );
    let table = device.upload(&table).map_err(fail)?;
    let mut kept_lens = device.poisoned::<i32>(batch).map_err(fail)?;
    let mut flags = device.zeroed::<u32>(1).map_err(fail)?;
    let sequences = if ragged {
        Sequences::ragged(cu_seqlens.view(), seqlen)
    } else {
        Sequences::padded(seqlen).with_seqlens(seqlens.view())
    };
    let strides = Shape::new([batch, seqlen, heads, head_dim]).tokens_outermost();
    let page_strides = Shape::new([8, 8, heads, head_dim]).tokens_outermost();
    let pages = Pages {
        table: table.view(),
        pages_per_sequence: 4,
        page_len: 8,
        num_pages: 8,
    };
    let cache = if paged {
        CacheLayout::paged(batch, heads, head_dim, page_strides, pages).map_err(fail)?
    } else {
        CacheLayout::contiguous([batch, seqlen, heads, head_dim], strides)
    };
    let windows = ops::KeptWindows {
        observations: observations.view(),
        indices: Matrix::new(indices.view(), rows, max_keep).map_err(fail)?,
        num_kept: num_kept.view(),
    };
    if in_place {
        let params = ops::CompactParams {
            layers: vec![CacheMut {
                k: k_place.view_mut(),
                v: v_place.view_mut(),
            }],
            cache,
            sequences_kv: sequences,
            windows,
            kept_lens: kept_lens.view_mut(),
            flags: Some(flags.view_mut()),
        };
        ops::compact(device, params).map_err(fail)?;
    } else {
        let layer = ops::GatherLayer {
            k: Tensor::new(k.view(), shape).map_err(fail)?,
            v: Tensor::new(v.view(), shape).map_err(fail)?,
            cache: CacheMut {
                k: k_cache.view_mut(),
                v: v_cache.view_mut(),
            },
        };
        let params = ops::GatherParams {
            layers: vec![layer],
            sequences_kv: sequences,
            cache,
            windows,
            kept_lens: kept_lens.view_mut(),
            flags: Some(flags.view_mut()),
        };
        ops::gather(device, params).map_err(fail)?;
    }
    prop_assert_eq!(
        Flags::from_bits(flags.download().map_err(fail)?[0]),
        Flags::RANGE
    );
    let kept_lens = kept_lens.download().map_err(fail)?;
    // The sequence without a fault is as ever: windows 1, 4, 6 and the suffix.
    prop_assert_eq!(kept_lens[0], 16);
    prop_assert!((0..=seqlen as i32).contains(&kept_lens[1]));
    let caches = if in_place {
        [k_place, v_place]
    } else {
        [k_cache, v_cache]
    };
    for cache in caches {
        let got = cache.download().map_err(fail)?;
        for (b, &kept_len) in kept_lens.iter().enumerate().take(batch) {
            for p in 0..if paged { 32 } else { seqlen } {
                for head in 0..heads {
                    let at = if paged {
                        ((b * 4 + p / 8) * 8 + p % 8) * heads + head
                    } else {
                        (b * seqlen + p) * heads + head
                    };
                    let row = &got[at * head_dim..(at + 1) * head_dim];
                    let what = format!("sequence {b}, {p}, head {head}");
                    let untouched = p >= kept_len as usize || paged && b * 4 + p / 8 == 5;
                    if untouched {
                        let before = &source[at * head_dim..(at + 1) * head_dim];
                        let kept = row.iter().zip(before).all(|(row, before)| {
                            row.to_bits()
                                == if in_place {
                                    before.to_bits()
                                } else {
                                    poison.to_bits()
                                }
                        });
                        prop_assert!(kept, "{what} was written");
                        continue;
                    }
                    // Some token of this sequence and head.
                    let number = row[0].to_f32() as usize;
                    prop_assert!(row.iter().all(|&x| x == row[0]), "{what} is torn");
                    prop_assert!(
                        number % heads == head && number / heads / seqlen == b,
                        "{what} is {number}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn numbers_out_of_range_are_flagged_and_touch_nothing_outside() {
    on_every_device(
        60,
        (0..FAULTS.len(), any::<bool>()),
        |device, (fault, in_place)| faulty(device, FAULTS[fault], in_place),
    );
    for device in devices() {
        for fault in FAULTS {
            for in_place in [false, true] {
                faulty(&device, fault, in_place)
                    .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            }
        }
    }
}

#[test]
fn launchers_refuse_what_cannot_be() {
    let device = a_device();
    let memory = device.zeroed::<f16>(4 * 16 * 2 * 32).expect("memory");
    let mut cache = device.zeroed::<f16>(4 * 16 * 2 * 32).expect("memory");
    let mut values = device.zeroed::<f16>(4 * 16 * 2 * 32).expect("memory");
    let observations = device.zeroed::<Observation>(4).expect("memory");
    let (indices, num_kept) = (
        device.zeroed::<i32>(12).expect("memory"),
        device.zeroed::<i32>(4).expect("memory"),
    );
    let mut kept_lens = device.zeroed::<i32>(4).expect("memory");
    let mut refused = |shape: [usize; 4],
                       cache_shape: [usize; 4],
                       rows: usize,
                       layers: usize,
                       word: &str| {
        let tensor = || Tensor::new(memory.view(), shape).expect("a tensor");
        let layer = ops::GatherLayer {
            k: tensor(),
            v: tensor(),
            cache: CacheMut {
                k: cache.view_mut(),
                v: values.view_mut(),
            },
        };
        let mut all = vec![layer];
        all.truncate(layers);
        let params = ops::GatherParams {
            layers: all,
            sequences_kv: Sequences::padded(shape[1]),
            cache: CacheLayout::contiguous(cache_shape, Shape::new(cache_shape).tokens_outermost()),
            windows: ops::KeptWindows {
                observations: observations.view(),
                indices: Matrix::new(indices.view(), rows, 3).expect("rows"),
                num_kept: num_kept.view().range(0..rows).expect("a range"),
            },
            kept_lens: kept_lens.view_mut(),
            flags: None,
        };
        let error = ops::gather(&device, params).expect_err(word).to_string();
        assert!(error.contains(word), "{error} lacks {word:?}");
    };
    let shape = [4, 16, 2, 32];
    refused([4, 16, 2, 24], [4, 16, 2, 24], 4, 1, "head_dim is 24");
    refused(shape, [4, 16, 2, 24], 4, 1, "head_dim of the cache is 24");
    refused(shape, [3, 16, 2, 32], 4, 1, "batch of the cache is 3");
    refused(shape, [4, 17, 2, 32], 4, 1, "does not fit");
    refused(shape, [4, 16, 1, 32], 4, 1, "heads of the cache is 1");
    refused(shape, shape, 3, 1, "indices has 3 rows");
    refused(shape, shape, 4, 0, "no layers");
    let cache_layout =
        CacheLayout::contiguous([4, 16, 2, 32], Shape::new(shape).tokens_outermost());
    let params = ops::CompactParams::<f16> {
        layers: Vec::new(),
        cache: cache_layout,
        sequences_kv: Sequences::padded(16),
        windows: ops::KeptWindows {
            observations: observations.view(),
            indices: Matrix::new(indices.view(), 4, 3).expect("rows"),
            num_kept: num_kept.view(),
        },
        kept_lens: kept_lens.view_mut(),
        flags: None,
    };
    let error = ops::compact(&device, params)
        .expect_err("no layers")
        .to_string();
    assert!(error.contains("num_layers is 0"), "{error}");
}

/// Rows of one head that lie 2^30 elements apart, beyond what 32 bits count, from one buffer to another.
#[test]
fn offsets_past_32_bits() {
    const APART: usize = 1 << 30;
    let (tokens, dim) = (6, 32);
    let Some(device) = emulated() else {
        return;
    };
    let len = (tokens - 1) * APART + dim;
    let [mut k, mut v, mut k_cache, mut v_cache] =
        [(); 4].map(|()| SparseMemory::<f16>::new(&device, len));
    for token in 0..tokens {
        k.elements(token * APART, dim)
            .fill(f16::from_f32(token as f32));
        v.elements(token * APART, dim)
            .fill(f16::from_f32(-(token as f32)));
    }
    let observation = Observation {
        suffix_len: 1,
        window_len: 1,
        ..Observation::default()
    };
    let observations = device.upload(&[observation]).expect("memory");
    let indices = device.upload(&[0, 1, 3, 4]).expect("memory");
    let num_kept = device.upload(&[4]).expect("memory");
    let mut kept_lens = device.poisoned::<i32>(1).expect("memory");
    let strides = Strides {
        batch: tokens * APART,
        token: APART,
        head: dim,
    };
    let tensor =
        |memory| Tensor::strided(memory, [1, tokens, 1, dim], strides, 0).expect("a tensor");
    let params = ops::GatherParams {
        layers: vec![ops::GatherLayer {
            k: tensor(k.view()),
            v: tensor(v.view()),
            cache: CacheMut {
                k: k_cache.view_mut(),
                v: v_cache.view_mut(),
            },
        }],
        sequences_kv: Sequences::padded(tokens),
        cache: CacheLayout::contiguous([1, tokens, 1, dim], strides),
        windows: ops::KeptWindows {
            observations: observations.view(),
            indices: Matrix::new(indices.view(), 1, 4).expect("rows"),
            num_kept: num_kept.view(),
        },
        kept_lens: kept_lens.view_mut(),
        flags: None,
    };
    ops::gather(&device, params).expect("a gather");
    assert_eq!(kept_lens.download().expect("a copy"), [5]);
    for (p, token) in [0, 1, 3, 4, 5].into_iter().enumerate() {
        let number = f16::from_f32(token as f32);
        assert!(
            k_cache
                .elements(p * APART, dim)
                .iter()
                .all(|&x| x == number)
        );
        assert!(
            v_cache
                .elements(p * APART, dim)
                .iter()
                .all(|&x| x == -number)
        );
    }
    assert!(
        k_cache
            .elements(5 * APART, dim)
            .iter()
            .all(|&x| x == f16::ZERO)
    );
}
