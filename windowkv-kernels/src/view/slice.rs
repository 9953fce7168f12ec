//! Device memory as an op sees it: where it starts, how much there is, where it lies, how long it lives.

use std::marker::PhantomData;
use std::ops::Range;

use crate::device::{Device, Place};
use crate::element::Element;
use crate::error::Error;

/// Elements in device memory, to be read.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a, T: Element> {
    start: *const T,
    len: usize,
    place: Place,
    lifetime: PhantomData<&'a [T]>,
}

/// Elements in device memory, to be written.
#[derive(Debug)]
pub struct SliceMut<'a, T: Element> {
    start: *mut T,
    len: usize,
    place: Place,
    lifetime: PhantomData<&'a mut [T]>,
}

fn check_range(range: &Range<usize>, len: usize) -> Result<(), Error> {
    if range.start <= range.end && range.end <= len {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "elements {} to {} of {len}",
        range.start, range.end
    )))
}

macro_rules! slice_methods {
    () => {
        /// Elements.
        pub fn len(&self) -> usize {
            self.len
        }

        /// Whether there are none.
        pub fn is_empty(&self) -> bool {
            self.len == 0
        }

        /// Where the memory lies.
        pub fn place(&self) -> Place {
            self.place
        }

        /// [`Error::WrongDevice`] unless the memory lies where `device` runs its kernels.
        pub(crate) fn on(&self, name: &'static str, device: &Device) -> Result<(), Error> {
            if self.place == device.place() {
                return Ok(());
            }
            Err(Error::WrongDevice {
                name,
                found: self.place,
                expected: device.place(),
            })
        }
    };
}

impl<'a, T: Element> Slice<'a, T> {
    /// Memory that somebody else owns.
    ///
    /// # Safety
    /// `len` elements lie at `start` on `place`, are initialised, and are neither freed nor written during `'a`
    /// other than in the order of `place`'s stream.
    pub unsafe fn from_raw(start: *const T, len: usize, place: Place) -> Self {
        Self {
            start,
            len,
            place,
            lifetime: PhantomData,
        }
    }

    slice_methods!();

    /// A part of it.
    ///
    /// # Errors
    /// [`Error::Shape`] when it lies outside.
    pub fn range(self, range: Range<usize>) -> Result<Self, Error> {
        check_range(&range, self.len)?;
        Ok(Self {
            start: self.start.wrapping_add(range.start),
            len: range.len(),
            ..self
        })
    }

    pub(crate) fn as_ptr(&self) -> *const T {
        self.start
    }
}

impl<'a, T: Element> SliceMut<'a, T> {
    /// Memory that somebody else owns.
    ///
    /// # Safety
    /// As [`Slice::from_raw`], and nobody else reads or writes it during `'a` other than in the order of `place`'s
    /// stream.
    pub unsafe fn from_raw(start: *mut T, len: usize, place: Place) -> Self {
        Self {
            start,
            len,
            place,
            lifetime: PhantomData,
        }
    }

    slice_methods!();

    /// A part of it.
    ///
    /// # Errors
    /// [`Error::Shape`] when it lies outside.
    pub fn range(self, range: Range<usize>) -> Result<Self, Error> {
        check_range(&range, self.len)?;
        Ok(Self {
            start: self.start.wrapping_add(range.start),
            len: range.len(),
            ..self
        })
    }

    /// The same memory for a shorter time.
    pub fn reborrow(&mut self) -> SliceMut<'_, T> {
        SliceMut {
            lifetime: PhantomData,
            ..*self
        }
    }

    /// The same memory, to be read.
    pub fn view(&self) -> Slice<'_, T> {
        Slice {
            start: self.start,
            len: self.len,
            place: self.place,
            lifetime: PhantomData,
        }
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.start
    }
}
