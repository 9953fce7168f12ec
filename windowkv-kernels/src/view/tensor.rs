//! Tensors of tokens and heads.

use crate::device::Device;
use crate::element::Element;
use crate::error::Error;
use crate::ffi;
use crate::view::layout::{Shape, Strides, check};
use crate::view::{Slice, SliceMut};

/// `[batch, tokens, heads, head_dim]` in device memory, to be read.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a, T: Element> {
    memory: Slice<'a, T>,
    shape: Shape,
    strides: Strides,
    offset: usize,
}

/// The same, to be written.
#[derive(Debug)]
pub struct TensorMut<'a, T: Element> {
    memory: SliceMut<'a, T>,
    shape: Shape,
    strides: Strides,
    offset: usize,
}

fn dims(shape: Shape, strides: Strides) -> [(usize, usize); 3] {
    [
        (shape.batch, strides.batch),
        (shape.tokens, strides.token),
        (shape.heads, strides.head),
    ]
}

/// For the C ABI. A view's strides fit it.
pub(crate) fn raw_strides(strides: Strides) -> ffi::wkv_strides {
    ffi::wkv_strides {
        batch: strides.batch as i64,
        token: strides.token as i64,
        head: strides.head as i64,
    }
}

/// A tensor that nobody gave.
pub(crate) fn no_tensor() -> ffi::wkv_tensor {
    ffi::wkv_tensor {
        data: std::ptr::null_mut(),
        strides: raw_strides(Strides::default()),
    }
}

macro_rules! tensor_methods {
    ($slice:ident, $exclusive:literal) => {
        /// Tokens outermost, no gaps, from the start of `memory`.
        ///
        /// # Errors
        /// [`Error::Shape`] when it does not fit.
        pub fn new(memory: $slice<'a, T>, shape: [usize; 4]) -> Result<Self, Error> {
            let strides = Shape::new(shape).tokens_outermost();
            Self::strided(memory, shape, strides, 0)
        }

        /// Any strides, from element `offset` of `memory` on.
        ///
        /// # Errors
        /// [`Error::Shape`] when it does not fit, or when it would be written and its elements overlap.
        pub fn strided(
            memory: $slice<'a, T>,
            shape: [usize; 4],
            strides: Strides,
            offset: usize,
        ) -> Result<Self, Error> {
            let shape = Shape::new(shape);
            check(
                &dims(shape, strides),
                shape.head_dim,
                offset,
                memory.len(),
                $exclusive,
            )?;
            Ok(Self {
                memory,
                shape,
                strides,
                offset,
            })
        }

        /// Sizes.
        pub fn shape(&self) -> Shape {
            self.shape
        }

        /// Strides.
        pub fn strides(&self) -> Strides {
            self.strides
        }

        pub(crate) fn on(&self, name: &'static str, device: &Device) -> Result<(), Error> {
            self.memory.on(name, device)
        }
    };
}

impl<'a, T: Element> Tensor<'a, T> {
    tensor_methods!(Slice, false);

    /// For the C ABI, which does not write through it.
    pub(crate) fn raw(&self) -> ffi::wkv_tensor {
        ffi::wkv_tensor {
            data: self
                .memory
                .as_ptr()
                .wrapping_add(self.offset)
                .cast_mut()
                .cast(),
            strides: raw_strides(self.strides),
        }
    }
}

impl<'a, T: Element> TensorMut<'a, T> {
    tensor_methods!(SliceMut, true);

    /// The same tensor, to be read.
    pub fn view(&self) -> Tensor<'_, T> {
        Tensor {
            memory: self.memory.view(),
            shape: self.shape,
            strides: self.strides,
            offset: self.offset,
        }
    }

    pub(crate) fn raw(&mut self) -> ffi::wkv_tensor {
        ffi::wkv_tensor {
            data: self.memory.as_mut_ptr().wrapping_add(self.offset).cast(),
            strides: raw_strides(self.strides),
        }
    }
}
