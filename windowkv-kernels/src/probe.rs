//! Probes: small kernels around one function of `cuda/ptx` each, for its test.

use std::ffi::CString;

use crate::buffer::Buffer;
use crate::device::{Device, entry};
use crate::element::Element;
use crate::error::Error;
use crate::ffi;

/// A launch of a probe.
#[derive(Clone, Debug)]
pub struct Probe {
    name: String,
    blocks: u32,
    arguments: [i64; 8],
    tensor: Option<Tensor>,
}

/// The tensor map of a probe; see `cuda/ptx/tensor_map.h`. Dimension 0 is the innermost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// 0 f16, 1 bf16, 2 f32, 3 u8.
    pub element: i32,
    /// 0 none, 1, 2, 3 for 32, 64, 128 bytes.
    pub swizzle: i32,
    /// Whether elements outside the tensor become NaN instead of zero.
    pub fill_nan: bool,
    /// Whether the map is of the output buffer.
    pub of_output: bool,
    /// Elements of each dimension.
    pub size: Vec<u64>,
    /// Bytes from one element to the next in each dimension; the first is not used.
    pub stride_bytes: Vec<u64>,
    /// Elements of the box.
    pub box_size: Vec<u32>,
}

impl Probe {
    /// One block of the probe's own number of threads, with all arguments 0.
    pub fn new(name: &str) -> Probe {
        Probe {
            name: name.to_owned(),
            blocks: 1,
            arguments: [0; 8],
            tensor: None,
        }
    }

    /// The number of blocks.
    pub fn blocks(mut self, blocks: u32) -> Probe {
        self.blocks = blocks;
        self
    }

    /// The first arguments, at most 8.
    pub fn arguments(mut self, arguments: &[i64]) -> Probe {
        self.arguments[..arguments.len()].copy_from_slice(arguments);
        self
    }

    /// The tensor map.
    pub fn tensor(mut self, tensor: Tensor) -> Probe {
        self.tensor = Some(tensor);
        self
    }

    /// Runs the probe.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an unknown name or a bad tensor map; what the launch gives.
    ///
    /// # Safety
    /// The probe, with these arguments, stays inside the two buffers: `cuda/ptx/test` says what each reads and
    /// writes.
    pub unsafe fn run<I: Element, O: Element>(
        &self,
        device: &Device,
        input: &Buffer<I>,
        output: &mut Buffer<O>,
    ) -> Result<(), Error> {
        let mut output = output.view_mut();
        let input = input.view();
        input.on("input", device)?;
        output.on("output", device)?;
        let name = CString::new(self.name.as_str())
            .map_err(|_| Error::InvalidArgument("a probe's name holds no zero byte".into()))?;
        let mut spec = ffi::wkv_tensor_spec {
            element: 0,
            rank: 0,
            swizzle: 0,
            fill: 0,
            of_output: 0,
            size: [0; 4],
            stride_bytes: [0; 4],
            box_: [0; 4],
        };
        if let Some(tensor) = &self.tensor {
            let rank = tensor.size.len();
            if rank > 4 || tensor.stride_bytes.len() != rank || tensor.box_size.len() != rank {
                return Err(Error::Shape(
                    "a tensor map has one size, stride and box side a dimension, at most 4".into(),
                ));
            }
            spec.element = tensor.element;
            spec.rank = rank as i32;
            spec.swizzle = tensor.swizzle;
            spec.fill = i32::from(tensor.fill_nan);
            spec.of_output = i32::from(tensor.of_output);
            spec.size[..rank].copy_from_slice(&tensor.size);
            spec.stride_bytes[..rank].copy_from_slice(&tensor.stride_bytes);
            spec.box_[..rank].copy_from_slice(&tensor.box_size);
        }
        let params = ffi::wkv_probe_params {
            struct_size: size_of::<ffi::wkv_probe_params>(),
            name: name.as_ptr(),
            input: input.as_ptr().cast(),
            output: output.as_mut_ptr().cast(),
            blocks: self.blocks as i32,
            threads: 0,
            arguments: self.arguments,
            tensor: spec,
        };
        let function = entry(device.testing()?.probe, "probe")?;
        // SAFETY: the buffers and the name live across the call, which on a real GPU is ordered before every
        // later use of the buffers; that the probe stays inside them is the caller's promise.
        device.check(unsafe { function(&params) })
    }
}
