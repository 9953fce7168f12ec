//! TMA boxes of rank 2 to 4: swizzles, out-of-range fill, clipped stores.

use proptest::prop_assert_eq;
use windowkv_kernels::probe::{Probe, Tensor};

use crate::{Random, check, run};

/// A random tensor and box, and where the box starts.
struct Case {
    tensor: Tensor,
    element_bytes: usize,
    origin: [i64; 4],
    tensor_bytes: usize,
    box_bytes: usize,
}

fn case(random: &mut Random, of_output: bool) -> Case {
    let rank = 2 + random.below(3);
    let element = random.below(4) as i32;
    let element_bytes = [2, 2, 4, 1][element as usize];
    let swizzle = random.below(4) as i32;
    let row_bytes = if swizzle == 0 {
        16 * (1 + random.below(8))
    } else {
        16 << swizzle
    };
    let mut box_size = vec![(row_bytes / element_bytes) as u32];
    let mut budget = 16;
    for _ in 1..rank {
        let side = 1 + random.below(budget);
        budget = (budget / side).max(1);
        box_size.push(side as u32);
    }
    let mut size = Vec::new();
    let mut stride_bytes = vec![0];
    let mut pitch = 0;
    for (i, &side) in box_size.iter().enumerate() {
        let side = side as usize;
        let elements = 1 + random.below(2 * side + 3);
        if i == 0 {
            pitch = (elements * element_bytes).div_ceil(16) * 16 + 16 * random.below(3);
        } else {
            stride_bytes.push(pitch as u64);
            pitch = pitch * elements + 16 * random.below(2);
        }
        size.push(elements as u64);
    }
    let mut origin = [0; 4];
    for i in 0..rank {
        let reach = box_size[i] as i64 + 2;
        origin[i] = random.below((size[i] as i64 + 2 * reach) as usize) as i64 - reach;
    }
    Case {
        element_bytes,
        origin,
        tensor_bytes: pitch,
        box_bytes: box_size
            .iter()
            .map(|&side| side as usize)
            .product::<usize>()
            * element_bytes,
        tensor: Tensor {
            element,
            swizzle,
            fill_nan: element != 3 && !of_output && random.below(3) == 0,
            of_output,
            size,
            stride_bytes,
            box_size,
        },
    }
}

impl Case {
    /// For each element of the box in its plain order: its byte in global memory, if it is inside.
    fn elements(&self) -> Vec<Option<usize>> {
        let sides = &self.tensor.box_size;
        let count: usize = sides.iter().map(|&side| side as usize).product();
        (0..count)
            .map(|index| {
                let mut rest = index;
                let mut byte = 0;
                for (i, &side) in sides.iter().enumerate() {
                    let at = (rest % side as usize) as i64 + self.origin[i];
                    rest /= side as usize;
                    if at < 0 || at >= self.tensor.size[i] as i64 {
                        return None;
                    }
                    byte += at as usize
                        * if i == 0 {
                            self.element_bytes
                        } else {
                            self.tensor.stride_bytes[i] as usize
                        };
                }
                Some(byte)
            })
            .collect()
    }

    /// Where a byte of the plain box lies in shared memory. The manual's figures: within 8 rows of the
    /// swizzle, piece p of row r changes place with piece p xor r; rows of 64 bytes count in pairs, rows of
    /// 32 in fours.
    fn place(&self, byte: usize) -> usize {
        let (row_bytes, rows_a_turn) = match self.tensor.swizzle {
            1 => (32, 4),
            2 => (64, 2),
            3 => (128, 1),
            _ => return byte,
        };
        let row = byte / row_bytes;
        let piece = byte % row_bytes / 16;
        let turn = row / rows_a_turn % (row_bytes / 16);
        row * row_bytes + (piece ^ turn) * 16 + byte % 16
    }

    fn probe(&self, name: &str) -> Probe {
        let mut arguments = vec![self.tensor.size.len() as i64, self.box_bytes as i64];
        arguments.extend(self.origin);
        Probe::new(name)
            .arguments(&arguments)
            .tensor(self.tensor.clone())
    }
}

#[test]
fn loads_boxes() {
    check(400, 90, |device, random| {
        let case = case(random, false);
        let input: Vec<u8> = (0..case.tensor_bytes)
            .map(|_| random.bits() as u8)
            .collect();
        let got: Vec<u8> = run(device, case.probe("tma_load"), &input, case.box_bytes)?;
        for (index, source) in case.elements().into_iter().enumerate() {
            for i in 0..case.element_bytes {
                let at = case.place(index * case.element_bytes + i);
                let expected = match source {
                    Some(byte) => input[byte + i],
                    None if !case.tensor.fill_nan => 0,
                    // The canonical NaN: all bits but the sign.
                    None if i + 1 == case.element_bytes => 0x7f,
                    None => 0xff,
                };
                prop_assert_eq!(got[at], expected, "element {} of {:?}", index, case.tensor);
            }
        }
        Ok(())
    });
}

#[test]
fn stores_boxes() {
    check(400, 90, |device, random| {
        let case = case(random, true);
        let plain: Vec<u8> = (0..case.box_bytes).map(|_| random.bits() as u8).collect();
        let mut shared = vec![0; case.box_bytes];
        for (byte, value) in plain.iter().enumerate() {
            shared[case.place(byte)] = *value;
        }
        let got: Vec<u8> = run(device, case.probe("tma_store"), &shared, case.tensor_bytes)?;
        // What the box does not cover keeps the 0xff of a fresh buffer.
        let mut expected = vec![0xff; case.tensor_bytes];
        for (index, target) in case.elements().into_iter().enumerate() {
            let Some(byte) = target else { continue };
            let from = index * case.element_bytes;
            expected[byte..byte + case.element_bytes]
                .copy_from_slice(&plain[from..from + case.element_bytes]);
        }
        prop_assert_eq!(got, expected);
        Ok(())
    });
}

/// A map of the output, of rows of four words, and a box of 32 of them.
fn rows_of_output(rows: usize) -> Tensor {
    Tensor {
        element: 2,
        swizzle: 0,
        fill_nan: false,
        of_output: true,
        size: vec![4, rows as u64],
        stride_bytes: vec![0, 16],
        box_size: vec![4, 32],
    }
}

#[test]
fn groups_of_stores_are_awaited_one_by_one() {
    check(60, 90, |device, random| {
        let groups = 1 + random.below(6);
        let words = random.words(groups * 128);
        let probe = Probe::new("tma_store_groups")
            .arguments(&[groups as i64, 0])
            .tensor(rows_of_output(groups * 32));
        let got: Vec<u32> = run(device, probe, &words, 2 * words.len())?;
        // In global memory, and as the storing thread sees it after the wait.
        prop_assert_eq!(&got[..words.len()], &words[..]);
        prop_assert_eq!(&got[words.len()..], &words[..]);
        Ok(())
    });
}

/// tma_store_wait_read promises that shared memory was read, not that global memory was written: the emulated
/// GPU writes as late as it may.
#[test]
fn a_store_is_seen_after_tma_store_wait_alone() {
    let device = windowkv_kernels::Device::emulated();
    let words: Vec<u32> = (0..128).collect();
    let probe = Probe::new("tma_store_groups")
        .arguments(&[1, 1])
        .tensor(rows_of_output(32));
    let got: Vec<u32> = run(&device, probe, &words, 256).expect("no report");
    assert_eq!(got[..128], words[..]);
    assert!(got[128..].iter().all(|&word| word == u32::MAX));
}

#[test]
fn bad_maps_are_refused() {
    let device = windowkv_kernels::Device::emulated();
    let good = Tensor {
        element: 0,
        swizzle: 3,
        fill_nan: false,
        of_output: false,
        size: vec![64, 8],
        stride_bytes: vec![0, 128],
        box_size: vec![64, 8],
    };
    let refuse = |change: &dyn Fn(&mut Tensor), word: &str| {
        let mut tensor = good.clone();
        change(&mut tensor);
        let probe = Probe::new("tma_load").arguments(&[2, 1024]).tensor(tensor);
        let input = device.upload(&[0u8; 2048]).expect("memory");
        let mut output = device.poisoned::<u8>(1024).expect("memory");
        let error =
            crate::launch(&device, &probe, &input, &mut output).expect_err("the map is bad");
        assert!(
            matches!(&error, windowkv_kernels::Error::InvalidArgument(text) if text.contains(word)),
            "{error:?} does not speak of {word}"
        );
    };
    refuse(&|map| map.box_size[0] = 32, "swizzle");
    refuse(&|map| map.stride_bytes[1] = 120, "stride");
    refuse(&|map| map.box_size[1] = 257, "box side");
    refuse(&|map| map.size[1] = 0, "size");
    refuse(&|map| map.size[1] = (1 << 32) + 1, "size");
    refuse(
        &|map| {
            map.swizzle = 0;
            map.box_size[0] = 4;
        },
        "row of the box",
    );
    refuse(
        &|map| {
            map.size.truncate(1);
            map.stride_bytes.truncate(1);
            map.box_size.truncate(1);
        },
        "rank",
    );
    refuse(
        &|map| {
            map.element = 3;
            map.swizzle = 0;
            map.fill_nan = true;
        },
        "NaN",
    );
}
