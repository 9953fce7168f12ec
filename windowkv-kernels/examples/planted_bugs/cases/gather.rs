//! Gathers into another buffer and in place, with right numbers and with wrong ones.

use half::f16;
use windowkv_kernels::{
    CacheLayout, CacheMut, Device, Error, Flags, Matrix, Observation, Pages, Sequences, Shape,
    Tensor, ops,
};

use super::Verdict;

/// Two padded sequences of two heads of 32, of which windows of 4 stay.
struct Case {
    what: &'static str,
    layers: usize,
    seqlens: [i32; 2],
    suffix_len: i32,
    /// Of each list; a list a sequence, or one for each of its heads.
    windows: &'static [&'static [i32]],
    /// Columns of the indices, when fewer than the longest list has.
    max_keep: Option<usize>,
    capacity: usize,
    /// Pages of four tokens.
    page_table: Option<&'static [i32]>,
    in_place: bool,
    flags: Flags,
}

const HEADS: usize = 2;
const DIM: usize = 32;
const WINDOW: i32 = 4;
const PAGE: usize = 4;

const RIGHT: Case = Case {
    what: "contiguous",
    layers: 1,
    seqlens: [21, 14],
    suffix_len: 3,
    // The last window of 21 - 3 tokens has two.
    windows: &[&[0, 2, 4], &[1]],
    max_keep: None,
    capacity: 14,
    page_table: None,
    in_place: false,
    flags: Flags::from_bits(0),
};

/// Windows 1 to 299 of 300: two steps of a block. And the same with window 0 at the end.
const LONG: [i32; 299] = {
    let mut windows = [0; 299];
    let mut i = 0;
    while i < 299 {
        windows[i] = i as i32 + 1;
        i += 1;
    }
    windows
};
const OUT_OF_ORDER: [i32; 299] = {
    let mut windows = LONG;
    windows[298] = 0;
    windows
};

const CASES: [Case; 12] = [
    RIGHT,
    Case {
        what: "a suffix alone",
        windows: &[&[], &[1]],
        ..RIGHT
    },
    Case {
        what: "lists of heads",
        windows: &[&[0, 1], &[1, 3], &[0], &[1]],
        ..RIGHT
    },
    Case {
        what: "pages",
        page_table: Some(&[5, 7, 0, 2, 1, 6, 4, 3]),
        capacity: 16,
        ..RIGHT
    },
    Case {
        what: "a page that is not there",
        page_table: Some(&[5, 7, 0, 2, 1, 6, 8, 3]),
        capacity: 16,
        windows: &[&[0, 2, 4], &[0, 1, 2]],
        flags: Flags::RANGE,
        ..RIGHT
    },
    Case {
        what: "a suffix longer than its sequence",
        seqlens: [9, 2],
        windows: &[&[0], &[]],
        ..RIGHT
    },
    Case {
        what: "a small cache",
        capacity: 9,
        flags: Flags::CAPACITY,
        ..RIGHT
    },
    Case {
        what: "a window outside",
        windows: &[&[0, 2], &[0, 4]],
        flags: Flags::RANGE,
        ..RIGHT
    },
    Case {
        what: "more windows than there is room for",
        windows: &[&[0, 2], &[0, 1, 2]],
        max_keep: Some(2),
        flags: Flags::RANGE,
        ..RIGHT
    },
    Case {
        what: "many layers",
        layers: 33,
        seqlens: [6, 0],
        windows: &[&[0], &[]],
        capacity: 7,
        ..RIGHT
    },
    Case {
        what: "in place",
        seqlens: [1203, 20],
        windows: &[&LONG, &[1, 3]],
        in_place: true,
        capacity: 1203,
        ..RIGHT
    },
    Case {
        what: "in place, out of order",
        seqlens: [1203, 20],
        windows: &[&OUT_OF_ORDER, &[1, 3]],
        in_place: true,
        capacity: 1203,
        flags: Flags::RANGE,
        ..RIGHT
    },
];

pub(crate) fn run(device: &Device) -> Result<Verdict, Error> {
    for case in &CASES {
        if let Some(text) = case.run(device)? {
            return Ok(Verdict::Wrong(format!("{}: {text}", case.what)));
        }
    }
    Ok(Verdict::Right)
}

impl Case {
    fn own_lists(&self) -> bool {
        self.windows.len() > 2
    }

    fn list(&self, sequence: usize, head: usize) -> &'static [i32] {
        let list = if self.own_lists() {
            sequence * HEADS + head
        } else {
            sequence
        };
        let windows = self.windows[list];
        &windows[..windows.len().min(self.max_keep.unwrap_or(usize::MAX))]
    }

    /// The tokens that stay; `None` for one that only has to be some token of the sequence.
    fn tokens(&self, sequence: usize, head: usize) -> Vec<Option<usize>> {
        let seqlen = self.seqlens[sequence];
        let review = (seqlen - self.suffix_len).max(0);
        let mut tokens = Vec::new();
        let mut before = -1;
        for (slot, &window) in self.list(sequence, head).iter().enumerate() {
            let last = (review + WINDOW - 1) / WINDOW - 1;
            let right = before < window && window <= last;
            // A window that is none is taken for the nearest that is possible.
            let taken = window.clamp(slot as i32, last);
            for token in taken * WINDOW..(taken * WINDOW + WINDOW).min(review) {
                tokens.push(right.then_some(token as usize));
            }
            before = window;
        }
        tokens.extend((review as usize..seqlen as usize).map(Some));
        tokens
    }

    fn run(&self, device: &Device) -> Result<Option<String>, Error> {
        let batch = self.seqlens.len();
        let longest = *self.seqlens.iter().max().expect("two") as usize;
        let max_seqlen = if self.in_place {
            self.capacity
        } else {
            longest
        };
        let lists = self.windows.len();
        let longest_list = self
            .windows
            .iter()
            .map(|list| list.len())
            .max()
            .unwrap_or(0);
        let columns = self.max_keep.unwrap_or(longest_list);
        let mut indices = vec![-1; lists * columns];
        for (row, list) in self.windows.iter().enumerate() {
            let kept = list.len().min(columns);
            indices[row * columns..][..kept].copy_from_slice(&list[..kept]);
        }
        let num_kept: Vec<i32> = self.windows.iter().map(|list| list.len() as i32).collect();
        let observation = Observation {
            suffix_len: self.suffix_len,
            window_len: WINDOW,
            ..Observation::default()
        };
        let (indices, num_kept) = (device.upload(&indices)?, device.upload(&num_kept)?);
        let observations = device.upload(&vec![observation; batch])?;
        let seqlens = device.upload(&self.seqlens)?;
        let table = device.upload(self.page_table.unwrap_or(&[]))?;
        let mut kept_lens = device.poisoned::<i32>(batch)?;
        let mut flags = device.zeroed::<u32>(1)?;

        let shape = [batch, max_seqlen, HEADS, DIM];
        let numbers = |tensor: usize| -> Vec<f16> {
            let len = batch * max_seqlen * HEADS * DIM;
            (0..len)
                .map(|i| f16::from_bits((i.wrapping_mul(40503) ^ (tensor * 7919)) as u16))
                .collect()
        };
        let sources: Vec<[Vec<f16>; 2]> = (0..self.layers)
            .map(|layer| [numbers(2 * layer), numbers(2 * layer + 1)])
            .collect();
        let pages = batch * self.capacity / PAGE;
        let cache_len = batch * self.capacity * HEADS * DIM;
        let mut memory = Vec::new();
        let mut caches = Vec::new();
        for [k, v] in &sources {
            memory.push([device.upload(k)?, device.upload(v)?]);
            caches.push([
                device.poisoned::<f16>(cache_len)?,
                device.poisoned::<f16>(cache_len)?,
            ]);
        }
        let windows = ops::KeptWindows {
            observations: observations.view(),
            indices: Matrix::new(indices.view(), lists, columns)?,
            num_kept: num_kept.view(),
        };
        let sequences_kv = Sequences::padded(max_seqlen).with_seqlens(seqlens.view());
        let cache_shape = [batch, self.capacity, HEADS, DIM];
        let contiguous =
            CacheLayout::contiguous(cache_shape, Shape::new(cache_shape).tokens_outermost());
        if self.in_place {
            let layers = memory.iter_mut().map(|[k, v]| CacheMut {
                k: k.view_mut(),
                v: v.view_mut(),
            });
            let params = ops::CompactParams {
                layers: layers.collect(),
                cache: contiguous,
                sequences_kv,
                windows,
                kept_lens: kept_lens.view_mut(),
                flags: Some(flags.view_mut()),
            };
            ops::compact(device, params)?;
        } else {
            let cache = if self.page_table.is_some() {
                let pages = Pages {
                    table: table.view(),
                    pages_per_sequence: self.capacity / PAGE,
                    page_len: PAGE,
                    num_pages: pages,
                };
                let strides = Shape::new([pages.num_pages, PAGE, HEADS, DIM]).tokens_outermost();
                CacheLayout::paged(batch, HEADS, DIM, strides, pages)?
            } else {
                contiguous
            };
            let mut layers = Vec::new();
            for ([k, v], [k_cache, v_cache]) in memory.iter().zip(&mut caches) {
                layers.push(ops::GatherLayer {
                    k: Tensor::new(k.view(), shape)?,
                    v: Tensor::new(v.view(), shape)?,
                    cache: CacheMut {
                        k: k_cache.view_mut(),
                        v: v_cache.view_mut(),
                    },
                });
            }
            let params = ops::GatherParams {
                layers,
                sequences_kv,
                cache,
                windows,
                kept_lens: kept_lens.view_mut(),
                flags: Some(flags.view_mut()),
            };
            ops::gather(device, params)?;
        }

        let found = Flags::from_bits(flags.download()?[0]);
        if found != self.flags {
            return Ok(Some(format!("flags {found:?}, not {:?}", self.flags)));
        }
        let kept_lens = kept_lens.download()?;
        let after = if self.in_place { &memory } else { &caches };
        for (layer, (sources, after)) in sources.iter().zip(after).enumerate() {
            for (kv, (source, after)) in sources.iter().zip(after).enumerate() {
                let after = after.download()?;
                for sequence in 0..batch {
                    if let Some(text) =
                        self.compare(sequence, source, &after, max_seqlen, &kept_lens)
                    {
                        return Ok(Some(format!(
                            "layer {layer}, tensor {kv}, sequence {sequence}: {text}"
                        )));
                    }
                }
            }
        }
        Ok(None)
    }

    fn compare(
        &self,
        sequence: usize,
        source: &[f16],
        after: &[f16],
        max_seqlen: usize,
        kept_lens: &[i32],
    ) -> Option<String> {
        let bits = |x: &[f16]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for head in 0..HEADS {
            let tokens = self.tokens(sequence, head);
            let kept = tokens.len().min(self.capacity);
            if kept_lens[sequence] != kept as i32 {
                return Some(format!("{} tokens, not {kept}", kept_lens[sequence]));
            }
            let row = |token: usize| {
                let at = ((sequence * max_seqlen + token) * HEADS + head) * DIM;
                bits(&source[at..at + DIM])
            };
            for p in 0..self.capacity {
                let place = match self.page_table {
                    None => sequence * self.capacity + p,
                    Some(table) => {
                        let page = table[sequence * (self.capacity / PAGE) + p / PAGE] as usize;
                        if page >= table.len() {
                            continue;
                        }
                        page * PAGE + p % PAGE
                    }
                };
                let at = (place * HEADS + head) * DIM;
                let got = bits(&after[at..at + DIM]);
                let right = if p >= kept {
                    let before = if self.in_place {
                        row(p)
                    } else {
                        vec![0xffff; DIM]
                    };
                    got == before
                } else {
                    match tokens[p] {
                        Some(token) => got == row(token),
                        None => (0..self.seqlens[sequence] as usize).any(|token| got == row(token)),
                    }
                };
                if !right {
                    return Some(format!("head {head}, place {p} is wrong"));
                }
            }
        }
        None
    }
}
