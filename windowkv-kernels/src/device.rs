//! Devices, their memory, and views of it.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;

use half::{bf16, f16};

use crate::error::Error;
use crate::ffi;

/// A machine that runs the kernels: the emulated GPU or a real one.
#[derive(Clone, Copy)]
pub struct Device {
    kernels: &'static ffi::wkv_kernels,
    testing: &'static ffi::wkv_testing,
    name: &'static str,
    capability: u32,
}

/// How the emulated GPU runs what the calling thread launches next. A real GPU takes no notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The seed of the generator that picks which thread runs next. The same seed, the same interleaving
    /// of each block.
    pub seed: u64,
    /// OS threads that share the blocks of a grid; 0 for one a core.
    pub workers: u32,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.name)
            .field("capability", &self.capability)
            .finish()
    }
}

impl Device {
    /// The emulated GPU. It is always there.
    pub fn emulated() -> Device {
        // SAFETY: both functions return static tables that match the headers ffi.rs was made from.
        let (kernels, testing) =
            unsafe { (&*ffi::wkv_emulated_kernels(), &*ffi::wkv_emulated_testing()) };
        Device {
            kernels,
            testing,
            name: "emulated",
            capability: 90,
        }
    }

    /// The CUDA device that is current for the calling thread.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without a device or with too old a driver, [`Error::Device`] when CUDA fails.
    #[cfg(feature = "cuda")]
    pub fn cuda() -> Result<Device, Error> {
        // SAFETY: as in `emulated`.
        let (kernels, testing) = unsafe { (&*ffi::wkv_cuda_kernels(), &*ffi::wkv_cuda_testing()) };
        // SAFETY: the tables are static and match the headers.
        unsafe { Device::from_tables("cuda", kernels, testing) }
    }

    /// A device from another library's tables.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the tables are those of another version, and what opening the device
    /// gives.
    ///
    /// # Safety
    /// The tables must be those of a library built from this version of `cuda/`, which stays loaded.
    pub unsafe fn from_tables(
        name: &'static str,
        kernels: &'static ffi::wkv_kernels,
        testing: &'static ffi::wkv_testing,
    ) -> Result<Device, Error> {
        if kernels.struct_size != size_of::<ffi::wkv_kernels>()
            || testing.struct_size != size_of::<ffi::wkv_testing>()
        {
            return Err(Error::Unsupported(format!(
                "the tables of {name} are those of another version"
            )));
        }
        let mut device = Device {
            kernels,
            testing,
            name,
            capability: 0,
        };
        let mut capability: c_int = 0;
        let open = entry(testing.open, "open")?;
        // SAFETY: `capability` lives across the call.
        device.check(unsafe { open(&mut capability) })?;
        device.capability = capability as u32;
        Ok(device)
    }

    /// Every device at hand: the emulated GPU and, with the feature `cuda` and a GPU, the real one.
    pub fn all() -> Vec<Device> {
        #[cfg_attr(not(feature = "cuda"), allow(unused_mut))]
        let mut devices = vec![Device::emulated()];
        #[cfg(feature = "cuda")]
        devices.extend(Device::cuda());
        devices
    }

    /// `emulated` or `cuda`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Ten times the major plus the minor compute capability: 90 for a Hopper.
    pub fn capability(&self) -> u32 {
        self.capability
    }

    /// How the calling thread's next launches run.
    pub fn set_schedule(&self, schedule: Schedule) {
        if let Some(configure) = self.testing.configure {
            // SAFETY: the function takes any values.
            unsafe { configure(schedule.seed, schedule.workers) };
        }
    }

    /// Switches between the emulated threads in the calling thread's last launch.
    pub fn switches(&self) -> u64 {
        // SAFETY: the function takes nothing.
        self.testing
            .switches
            .map_or(0, |switches| unsafe { switches() })
    }

    /// Device memory with a copy of `values`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Device`].
    pub fn upload<T: Element>(&self, values: &[T]) -> Result<Buffer<T>, Error> {
        let mut buffer = self.poisoned(values.len())?;
        buffer.write(values)?;
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
        let mut memory = std::ptr::null_mut();
        let allocate = entry(self.testing.allocate, "allocate")?;
        // SAFETY: `memory` lives across the call.
        self.check(unsafe { allocate(&mut memory, bytes) })?;
        Ok(Buffer {
            memory,
            len,
            device: *self,
            element: PhantomData,
        })
    }

    pub(crate) fn kernels(&self) -> &'static ffi::wkv_kernels {
        self.kernels
    }

    pub(crate) fn testing(&self) -> &'static ffi::wkv_testing {
        self.testing
    }

    pub(crate) fn check(&self, status: c_int) -> Result<(), Error> {
        Error::check(status, || match self.testing.last_error {
            // SAFETY: the library returns a C string that lives until this thread's next failing call.
            Some(last_error) => unsafe { CStr::from_ptr(last_error()) }
                .to_string_lossy()
                .into_owned(),
            None => String::new(),
        })
    }
}

/// A function of a table, which a library may lack.
pub(crate) fn entry<F>(function: Option<F>, name: &str) -> Result<F, Error> {
    function.ok_or_else(|| Error::Unsupported(format!("the library has no function {name}")))
}

mod sealed {
    pub trait Sealed {}
}

/// A type of numbers in device memory: any bits are a value of it.
pub trait Element: Copy + Default + sealed::Sealed {}

/// A half-precision type of the tensor cores.
pub trait HalfPrecision: Element {
    /// How the C ABI names it.
    #[doc(hidden)]
    const DTYPE: ffi::wkv_dtype;
}

macro_rules! elements {
    ($($type:ty),*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {}
    )*};
}
elements!(u8, u16, u32, u64, i32, f32, f16, bf16);

impl HalfPrecision for f16 {
    const DTYPE: ffi::wkv_dtype = ffi::wkv_dtype_WKV_F16;
}
impl HalfPrecision for bf16 {
    const DTYPE: ffi::wkv_dtype = ffi::wkv_dtype_WKV_BF16;
}

/// Memory of a device, freed when dropped.
#[derive(Debug)]
pub struct Buffer<T: Element> {
    memory: *mut c_void,
    len: usize,
    device: Device,
    element: PhantomData<T>,
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

    /// Overwrites the buffer.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths differ, [`Error::Device`].
    pub fn write(&mut self, values: &[T]) -> Result<(), Error> {
        if values.len() != self.len {
            return Err(Error::Shape(format!(
                "{} values for a buffer of {}",
                values.len(),
                self.len
            )));
        }
        let upload = entry(self.device.testing.upload, "upload")?;
        // SAFETY: both sides hold size_of_val(values) bytes.
        self.device
            .check(unsafe { upload(self.memory, values.as_ptr().cast(), size_of_val(values)) })
    }

    /// A copy of the contents, after all kernels launched before.
    ///
    /// # Errors
    /// [`Error::Device`], also for an earlier kernel that failed.
    pub fn download(&self) -> Result<Vec<T>, Error> {
        let mut values = vec![T::default(); self.len];
        let download = entry(self.device.testing.download, "download")?;
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

    pub(crate) fn as_ptr(&self) -> *const c_void {
        self.memory
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut c_void {
        self.memory
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Some(release) = self.device.testing.release {
            // SAFETY: the memory came from this device's `allocate` and is released once. A failure here
            // was reported by an earlier call.
            unsafe { release(self.memory) };
        }
    }
}

/// Rows of a buffer: element (r, c) is at `offset + r * stride + c`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T: Element> {
    buffer: &'a Buffer<T>,
    layout: Layout,
}

/// The same, to be written.
#[derive(Debug)]
pub struct MatrixMut<'a, T: Element> {
    buffer: &'a mut Buffer<T>,
    layout: Layout,
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    rows: usize,
    columns: usize,
    stride: usize,
    offset: usize,
}

impl Layout {
    fn check(self, len: usize) -> Result<Self, Error> {
        let Layout {
            rows,
            columns,
            stride,
            offset,
        } = self;
        let end = if rows == 0 || columns == 0 {
            Some(offset)
        } else {
            (rows - 1)
                .checked_mul(stride)
                .and_then(|start| start.checked_add(columns))
                .and_then(|end| end.checked_add(offset))
        };
        if stride < columns
            || end.is_none_or(|end| end > len)
            || rows.max(stride) > i64::MAX as usize
        {
            return Err(Error::Shape(format!(
                "{rows} x {columns} with stride {stride} from element {offset} does not fit a buffer of {len}"
            )));
        }
        Ok(self)
    }
}

macro_rules! matrix_methods {
    () => {
        /// Rows.
        pub fn rows(&self) -> usize {
            self.layout.rows
        }

        /// Columns.
        pub fn columns(&self) -> usize {
            self.layout.columns
        }

        /// Elements from one row to the next.
        pub fn stride(&self) -> usize {
            self.layout.stride
        }
    };
}

impl<'a, T: Element> Matrix<'a, T> {
    /// Adjacent rows from the buffer's start.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit.
    pub fn new(buffer: &'a Buffer<T>, rows: usize, columns: usize) -> Result<Self, Error> {
        Self::strided(buffer, rows, columns, columns, 0)
    }

    /// Rows `stride` elements apart from element `offset` on.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit or overlap.
    pub fn strided(
        buffer: &'a Buffer<T>,
        rows: usize,
        columns: usize,
        stride: usize,
        offset: usize,
    ) -> Result<Self, Error> {
        let layout = Layout {
            rows,
            columns,
            stride,
            offset,
        }
        .check(buffer.len)?;
        Ok(Self { buffer, layout })
    }

    matrix_methods!();

    pub(crate) fn as_ptr(&self) -> *const T {
        self.buffer
            .as_ptr()
            .cast::<T>()
            .wrapping_add(self.layout.offset)
    }
}

impl<'a, T: Element> MatrixMut<'a, T> {
    /// Adjacent rows from the buffer's start.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit.
    pub fn new(buffer: &'a mut Buffer<T>, rows: usize, columns: usize) -> Result<Self, Error> {
        Self::strided(buffer, rows, columns, columns, 0)
    }

    /// Rows `stride` elements apart from element `offset` on.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit or overlap.
    pub fn strided(
        buffer: &'a mut Buffer<T>,
        rows: usize,
        columns: usize,
        stride: usize,
        offset: usize,
    ) -> Result<Self, Error> {
        let layout = Layout {
            rows,
            columns,
            stride,
            offset,
        }
        .check(buffer.len)?;
        Ok(Self { buffer, layout })
    }

    matrix_methods!();

    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.buffer
            .as_mut_ptr()
            .cast::<T>()
            .wrapping_add(self.layout.offset)
    }
}
