//! Working with cudarc: its streams run the kernels, its memory is used where it lies.
//!
//! ```no_run
//! use windowkv_kernels::{Device, Matrix, ops};
//!
//! let stream = windowkv_kernels::cuda::context(0)?.new_stream().unwrap();
//! let device = Device::from_cudarc(&stream)?;
//! let input = stream.clone_htod(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
//! let mut sums = stream.alloc_zeros::<f32>(2).unwrap();
//! {
//!     let input = device.borrow(&input)?;
//!     let mut sums = device.borrow_mut(&mut sums)?;
//!     ops::row_sum(&device, &Matrix::new(input.view(), 2, 3)?, sums.view_mut())?;
//! } // the borrows end: cudarc records that the stream uses the memory
//! assert_eq!(stream.clone_dtoh(&sums).unwrap(), [6.0, 15.0]);
//! # Ok::<(), windowkv_kernels::Error>(())
//! ```
//!
//! A call inside `begin_capture` and `end_capture` goes into the graph with the addresses of its memory. Whoever launches
//! the graph keeps that memory alive, as with every kernel that cudarc captures.

use std::sync::Arc;

pub use cudarc;
use cudarc::driver::{CudaContext, CudaStream, SyncOnDrop};

use crate::device::{Device, Place};
use crate::element::Element;
use crate::error::Error;
use crate::view::{Slice, SliceMut};

mod driver_error;
mod graph;

pub(crate) use driver_error::driver_error;
pub use graph::{Capture, Graph, begin_capture};

/// What cudarc owns or lends. cudarc's own traits may be implemented by anybody, with any pointer.
mod sealed {
    use cudarc::driver::{CudaSlice, CudaView, CudaViewMut, DevicePtr, DevicePtrMut};

    pub trait Memory<T>: DevicePtr<T> {}
    impl<T> Memory<T> for CudaSlice<T> {}
    impl<T> Memory<T> for CudaView<'_, T> {}
    impl<T> Memory<T> for CudaViewMut<'_, T> {}

    pub trait MemoryMut<T>: DevicePtrMut<T> {}
    impl<T> MemoryMut<T> for CudaSlice<T> {}
    impl<T> MemoryMut<T> for CudaViewMut<'_, T> {}
}
use sealed::{Memory, MemoryMut};

/// cudarc's context of GPU `ordinal`; unlike `CudaContext::new` it does not panic without a driver.
///
/// # Errors
/// [`Error::Unsupported`] without a driver or such a GPU, [`Error::Device`] when CUDA fails.
pub fn context(ordinal: usize) -> Result<Arc<CudaContext>, Error> {
    require_driver()?;
    CudaContext::new(ordinal).map_err(driver_error)
}

/// A stream of its own on GPU `ordinal`.
///
/// # Errors
/// As [`context`].
pub fn stream(ordinal: usize) -> Result<Arc<CudaStream>, Error> {
    context(ordinal)?.new_stream().map_err(driver_error)
}

/// cudarc panics when it finds no libcuda: ask first.
fn require_driver() -> Result<(), Error> {
    // SAFETY: the function loads the driver's library, whose initialisers are NVIDIA's.
    if unsafe { cudarc::driver::sys::is_culib_present() } {
        return Ok(());
    }
    Err(Error::Unsupported(
        "there is no NVIDIA driver (libcuda) on this machine: install one, or use the emulated device".into(),
    ))
}

impl Device {
    /// The GPU of a cudarc stream. Kernels run on that stream, in the order of the calls.
    ///
    /// # Errors
    /// As [`Device::cuda`].
    pub fn from_cudarc(stream: &Arc<CudaStream>) -> Result<Device, Error> {
        let context = stream.context();
        context.bind_to_thread().map_err(driver_error)?;
        Ok(Device::cuda(context.ordinal())?.on_stream(stream.clone()))
    }

    pub(crate) fn cudarc_stream(&self) -> Result<&Arc<CudaStream>, Error> {
        self.stream_owner.as_ref().ok_or_else(|| {
            Error::InvalidArgument(format!(
                "the device {} has no cudarc stream: make it with Device::from_cudarc",
                self.place()
            ))
        })
    }

    fn check_ordinal(&self, name: &'static str, ordinal: usize) -> Result<(), Error> {
        if ordinal == self.place().ordinal {
            return Ok(());
        }
        Err(Error::WrongDevice {
            name,
            found: Place {
                ordinal,
                ..self.place()
            },
            expected: self.place(),
        })
    }

    /// cudarc's memory (`CudaSlice`, `CudaView`, `CudaViewMut`) of this device's stream, to be read by its kernels.
    ///
    /// # Errors
    /// [`Error::WrongDevice`] for memory of another GPU, [`Error::InvalidArgument`] for memory of another stream
    /// ([`borrow_across_streams`](Self::borrow_across_streams) takes it) and for a device without a stream.
    pub fn borrow<'a, T: Element, M: Memory<T>>(
        &'a self,
        memory: &'a M,
    ) -> Result<Borrowed<'a, T>, Error> {
        self.check_stream(memory.stream())?;
        // SAFETY: the memory is freed in the order of this stream, behind the kernels that use it.
        unsafe { self.borrow_across_streams(memory) }
    }

    /// cudarc's memory of this device's stream, to be written by its kernels.
    ///
    /// # Errors
    /// As [`Device::borrow`].
    pub fn borrow_mut<'a, T: Element, M: MemoryMut<T>>(
        &'a self,
        memory: &'a mut M,
    ) -> Result<BorrowedMut<'a, T>, Error> {
        self.check_stream(memory.stream())?;
        // SAFETY: as in `borrow`.
        unsafe { self.borrow_mut_across_streams(memory) }
    }

    /// cudarc's memory of any stream of this GPU, to be read by kernels of this device. The stream waits for what others
    /// write to it.
    ///
    /// # Errors
    /// [`Error::WrongDevice`] for memory of another GPU, [`Error::InvalidArgument`] for a device without a stream.
    ///
    /// # Safety
    /// The borrow must be dropped, not forgotten (`std::mem::forget`): only then does cudarc learn that this stream uses
    /// the memory, and wait for it before the memory is freed or written.
    pub unsafe fn borrow_across_streams<'a, T: Element, M: Memory<T>>(
        &'a self,
        memory: &'a M,
    ) -> Result<Borrowed<'a, T>, Error> {
        let stream = self.cudarc_stream()?;
        self.check_ordinal("the borrowed memory", memory.stream().context().ordinal())?;
        let len = memory.len();
        let (pointer, sync) = memory.device_ptr(stream);
        let start = std::ptr::without_provenance(pointer as usize);
        // SAFETY: cudarc's memory holds `len` elements and stays borrowed as long as the view; the stream has
        // been made to wait for its writers, and `sync` tells later writers of this use.
        let slice = unsafe { Slice::from_raw(start, len, self.place()) };
        Ok(Borrowed { slice, _sync: sync })
    }

    /// The same, to be written. The stream waits for all that others do with it.
    ///
    /// # Errors
    /// As [`borrow_across_streams`](Self::borrow_across_streams).
    ///
    /// # Safety
    /// As there.
    pub unsafe fn borrow_mut_across_streams<'a, T: Element, M: MemoryMut<T>>(
        &'a self,
        memory: &'a mut M,
    ) -> Result<BorrowedMut<'a, T>, Error> {
        let stream = self.cudarc_stream()?;
        self.check_ordinal("the borrowed memory", memory.stream().context().ordinal())?;
        let len = memory.len();
        let (pointer, sync) = memory.device_ptr_mut(stream);
        let start = std::ptr::without_provenance_mut(pointer as usize);
        // SAFETY: as in `borrow_across_streams`, and the borrow is exclusive.
        let slice = unsafe { SliceMut::from_raw(start, len, self.place()) };
        Ok(BorrowedMut { slice, _sync: sync })
    }

    fn check_stream(&self, of_memory: &CudaStream) -> Result<(), Error> {
        let own = self.cudarc_stream()?;
        self.check_ordinal("the borrowed memory", of_memory.context().ordinal())?;
        if of_memory.cu_stream() == own.cu_stream() {
            return Ok(());
        }
        Err(Error::InvalidArgument(format!(
            "the borrowed memory belongs to stream {:#x}, the device runs on {:#x}: make the device on the memory's \
             stream, or use borrow_across_streams",
            of_memory.cu_stream().addr(),
            own.cu_stream().addr()
        )))
    }
}

/// A borrow of cudarc's memory. Keep it until the kernels that use it are launched, then drop it: only then does
/// cudarc record that the stream uses the memory.
#[derive(Debug)]
pub struct Borrowed<'a, T: Element> {
    slice: Slice<'a, T>,
    _sync: SyncOnDrop<'a>,
}

impl<T: Element> Borrowed<'_, T> {
    /// All of it.
    pub fn view(&self) -> Slice<'_, T> {
        self.slice
    }
}

/// The same, to be written.
#[derive(Debug)]
pub struct BorrowedMut<'a, T: Element> {
    slice: SliceMut<'a, T>,
    _sync: SyncOnDrop<'a>,
}

impl<T: Element> BorrowedMut<'_, T> {
    /// All of it, to be read.
    pub fn view(&self) -> Slice<'_, T> {
        self.slice.view()
    }

    /// All of it, to be written.
    pub fn view_mut(&mut self) -> SliceMut<'_, T> {
        self.slice.reborrow()
    }
}
