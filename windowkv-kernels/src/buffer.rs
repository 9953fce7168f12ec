//! Memory of a device.

use std::ffi::c_void;
use std::marker::PhantomData;

use crate::device::{Device, entry};
use crate::element::Element;
use crate::error::Error;
use crate::view::{Slice, SliceMut};

/// Memory of a device, freed when dropped. For tests, examples and programs of their own; memory that cudarc
/// owns is used where it lies ([`Device::borrow`](crate::Device)).
#[derive(Debug)]
pub struct Buffer<T: Element> {
    memory: *mut c_void,
    len: usize,
    device: Device,
    element: PhantomData<T>,
}

/// Zeros that are copied at a time.
const ZEROS: usize = 1 << 20;

impl Device {
    /// Device memory with a copy of `values`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Device`].
    pub fn upload<T: Element>(&self, values: &[T]) -> Result<Buffer<T>, Error> {
        let mut buffer = self.poisoned(values.len())?;
        buffer.write(values)?;
        Ok(buffer)
    }

    /// Device memory of zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Device`].
    pub fn zeroed<T: Element>(&self, len: usize) -> Result<Buffer<T>, Error> {
        let mut buffer = self.poisoned(len)?;
        let zeros = vec![T::default(); len.min(ZEROS)];
        for start in (0..len).step_by(ZEROS) {
            buffer.write_at(start, &zeros[..ZEROS.min(len - start)])?;
        }
        Ok(buffer)
    }

    /// Device memory filled with 0xff: NaN in every floating-point format, so that what a kernel forgets to
    /// write is seen.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Device`].
    pub fn poisoned<T: Element>(&self, len: usize) -> Result<Buffer<T>, Error> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(|| {
            Error::OutOfMemory(format!("{len} elements overflow the address space"))
        })?;
        self.faults.allocate(&self.trace.lock(), bytes)?;
        let mut memory = std::ptr::null_mut();
        let allocate = entry(self.testing()?.allocate, "allocate")?;
        // SAFETY: `memory` lives across the call.
        self.check(unsafe { allocate(&mut memory, bytes) })?;
        self.trace.allocated(bytes);
        Ok(Buffer {
            memory,
            len,
            device: self.clone(),
            element: PhantomData,
        })
    }
}

impl<T: Element> Buffer<T> {
    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of it, to be read.
    pub fn view(&self) -> Slice<'_, T> {
        // SAFETY: the memory holds `len` elements and lives as long as the borrow.
        unsafe { Slice::from_raw(self.memory.cast(), self.len, self.device.place()) }
    }

    /// All of it, to be written.
    pub fn view_mut(&mut self) -> SliceMut<'_, T> {
        // SAFETY: as in `view`, and the borrow is exclusive.
        unsafe { SliceMut::from_raw(self.memory.cast(), self.len, self.device.place()) }
    }

    /// Overwrites the buffer.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths differ, [`Error::Device`].
    pub fn write(&mut self, values: &[T]) -> Result<(), Error> {
        Error::same("the number of values", values.len(), self.len)?;
        let upload = entry(self.device.testing()?.upload, "upload")?;
        self.device.trace.uploaded(size_of_val(values));
        // SAFETY: both sides hold size_of_val(values) bytes.
        self.device
            .check(unsafe { upload(self.memory, values.as_ptr().cast(), size_of_val(values)) })
    }

    /// Overwrites a part of the buffer, from element `start` on.
    ///
    /// # Errors
    /// [`Error::Shape`] when it does not fit, [`Error::Device`].
    pub fn write_at(&mut self, start: usize, values: &[T]) -> Result<(), Error> {
        let end = start.checked_add(values.len());
        if end.is_none_or(|end| end > self.len) {
            return Err(Error::Shape(format!(
                "{} values from element {start} on do not fit a buffer of {}",
                values.len(),
                self.len
            )));
        }
        let upload = entry(self.device.testing()?.upload, "upload")?;
        self.device.trace.uploaded(size_of_val(values));
        let target = self.memory.wrapping_byte_add(start * size_of::<T>());
        // SAFETY: both sides hold size_of_val(values) bytes, as was just checked.
        self.device
            .check(unsafe { upload(target, values.as_ptr().cast(), size_of_val(values)) })
    }

    /// A copy of the contents, after all kernels launched before.
    ///
    /// # Errors
    /// [`Error::Device`], also for an earlier kernel that failed.
    pub fn download(&self) -> Result<Vec<T>, Error> {
        let mut values = vec![T::default(); self.len];
        let download = entry(self.device.testing()?.download, "download")?;
        self.device.trace.downloaded(size_of_val(values.as_slice()));
        // SAFETY: both sides hold size_of_val(values) bytes, and any bits are a T.
        self.device.check(unsafe {
            download(
                values.as_mut_ptr().cast(),
                self.memory,
                size_of_val(values.as_slice()),
            )
        })?;
        Ok(values)
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: the memory came from this device's `allocate`, and this is its end.
        unsafe { self.device.release(self.memory, self.len * size_of::<T>()) };
    }
}
