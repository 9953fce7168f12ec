//! A tensor of a checkpoint: its dtype, its shape, and a view on the bytes of the file.

use std::ops::Range;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::cast;
use super::guarded_map::GuardedMap;

/// The element types that weights may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::Bf16 | DType::F16 => 2,
            DType::F32 => 4,
        }
    }

    /// The name in safetensors files: "BF16", "F16" or "F32".
    pub fn name(self) -> &'static str {
        match self {
            DType::Bf16 => "BF16",
            DType::F16 => "F16",
            DType::F32 => "F32",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The elements of a tensor in row-major order.
#[derive(Debug, Clone, Copy)]
pub enum Elements<'a> {
    /// bfloat16.
    Bf16(&'a [bf16]),
    /// IEEE half precision.
    F16(&'a [f16]),
    /// IEEE single precision.
    F32(&'a [f32]),
}

impl Elements<'_> {
    /// The elements of `range`, converted without loss into `out`, which is as long.
    ///
    /// # Panics
    /// If `range` is out of bounds or `out` is not as long.
    pub fn to_f32(&self, range: Range<usize>, out: &mut [f32]) {
        match self {
            Elements::Bf16(data) => data[range].convert_to_f32_slice(out),
            Elements::F16(data) => data[range].convert_to_f32_slice(out),
            Elements::F32(data) => out.copy_from_slice(&data[range]),
        }
    }
}

/// Where the bytes of a checkpoint lie. Cloning shares them.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A mapped file.
    Mapped(Arc<GuardedMap>),
    /// Part of the program.
    Static(&'static [u8]),
}

impl Source {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Source::Mapped(map) => map.bytes(),
            Source::Static(bytes) => bytes,
        }
    }
}

/// The elements: in the file, or copied where the file's are not aligned for this machine.
#[derive(Debug, Clone)]
enum Storage {
    View(Source, Range<usize>),
    Bf16(Arc<[bf16]>),
    F16(Arc<[f16]>),
    F32(Arc<[f32]>),
}

/// A tensor, row-major and contiguous. Cloning shares the elements.
#[derive(Debug, Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    storage: Storage,
}

impl Tensor {
    /// The tensor in the bytes `range` of `source`, which are the product of `shape` times the size
    /// of `dtype`.
    pub(super) fn new(
        dtype: DType,
        shape: Vec<usize>,
        source: &Source,
        range: Range<usize>,
    ) -> Self {
        let bytes = &source.bytes()[range.clone()];
        debug_assert_eq!(bytes.len(), shape.iter().product::<usize>() * dtype.size());
        let aligned = match dtype {
            DType::Bf16 => cast::view::<bf16>(bytes).is_some(),
            DType::F16 => cast::view::<f16>(bytes).is_some(),
            DType::F32 => cast::view::<f32>(bytes).is_some(),
        };
        let storage = match dtype {
            _ if aligned => Storage::View(source.clone(), range),
            DType::Bf16 => Storage::Bf16(cast::copy(bytes).into()),
            DType::F16 => Storage::F16(cast::copy(bytes).into()),
            DType::F32 => Storage::F32(cast::copy(bytes).into()),
        };
        Tensor {
            dtype,
            shape,
            storage,
        }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The length of each dimension, the slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in memory or in the file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.len() as u64 * self.dtype.size() as u64
    }

    /// Whether the elements were copied out of the file, because they are not aligned there.
    pub fn is_copied(&self) -> bool {
        !matches!(self.storage, Storage::View(..))
    }

    /// The elements in row-major order.
    pub fn elements(&self) -> Elements<'_> {
        const ALIGNED: &str = "the alignment was found out by `new`";
        match &self.storage {
            Storage::View(source, range) => {
                let bytes = &source.bytes()[range.clone()];
                match self.dtype {
                    DType::Bf16 => Elements::Bf16(cast::view(bytes).expect(ALIGNED)),
                    DType::F16 => Elements::F16(cast::view(bytes).expect(ALIGNED)),
                    DType::F32 => Elements::F32(cast::view(bytes).expect(ALIGNED)),
                }
            }
            Storage::Bf16(data) => Elements::Bf16(data),
            Storage::F16(data) => Elements::F16(data),
            Storage::F32(data) => Elements::F32(data),
        }
    }

    /// Row `row` of a matrix `[rows, columns]`, converted without loss into `out` `[columns]`.
    ///
    /// # Panics
    /// If this is not a matrix, `row` is out of bounds, or `out` is not as long as a row.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        let [_, columns] = self.shape[..] else {
            panic!("a row of a tensor of shape {:?}", self.shape);
        };
        self.elements()
            .to_f32(row * columns..(row + 1) * columns, out);
    }

    /// All elements, converted without loss.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.elements().to_f32(0..self.len(), &mut out);
        out
    }
}
