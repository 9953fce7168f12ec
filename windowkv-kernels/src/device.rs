//! Devices: where kernels run, and in which order.

use std::ffi::{CStr, c_int, c_void};
use std::fmt;

use crate::error::Error;
use crate::faults::Faults;
use crate::ffi;
use crate::trace::{SharedTrace, Trace};

/// A machine that runs the kernels, and the stream on which it runs them: the emulated GPU, or a GPU.
///
/// Kernels of one `Device` run in the order of the calls. On a GPU a call returns before its kernel has
/// run; [`Buffer::download`](crate::Buffer::download) waits for it.
#[derive(Clone)]
pub struct Device {
    kernels: &'static ffi::wkv_kernels,
    testing: &'static ffi::wkv_testing,
    place: Place,
    capability: u32,
    pub(crate) trace: SharedTrace,
    pub(crate) faults: Faults,
    #[cfg(feature = "cuda")]
    pub(crate) products: std::sync::Arc<std::sync::Mutex<Option<crate::matmul::Products>>>,
    #[cfg(feature = "cuda")]
    pub(crate) stream_owner: Option<std::sync::Arc<cudarc::driver::CudaStream>>,
}

/// Where memory lies and in which order it is used: a machine, the number of its GPU, and a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub(crate) machine: &'static str,
    pub(crate) ordinal: usize,
    /// A `cudaStream_t`; 0 is the default stream.
    pub(crate) stream: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.machine, self.ordinal)?;
        if self.stream == 0 {
            Ok(())
        } else {
            write!(f, " (stream {:#x})", self.stream)
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
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

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("place", &self.place)
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
            place: Place {
                machine: "emulated",
                ordinal: 0,
                stream: 0,
            },
            capability: 90,
            trace: SharedTrace::default(),
            faults: Faults::default(),
            #[cfg(feature = "cuda")]
            products: std::sync::Arc::default(),
            #[cfg(feature = "cuda")]
            stream_owner: None,
        }
    }

    /// GPU `ordinal`, on the default stream.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without a driver or such a GPU, with too old a driver, or when this build has no
    /// code for the GPU; [`Error::Device`] when CUDA fails. Each says what to do.
    #[cfg(feature = "cuda")]
    pub fn cuda(ordinal: usize) -> Result<Device, Error> {
        // SAFETY: as in `emulated`.
        let (kernels, testing) = unsafe { (&*ffi::wkv_cuda_kernels(), &*ffi::wkv_cuda_testing()) };
        let place = Place {
            machine: "cuda",
            ordinal,
            stream: 0,
        };
        // SAFETY: the tables are static and match the headers.
        unsafe { Device::from_tables(place, kernels, testing) }
    }

    /// A device from another library's tables, on its GPU 0. By its name its memory is told from other libraries': give
    /// each its own.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for `emulated` and `cuda`, which are this library's names, [`Error::Unsupported`] when
    /// the tables are those of another version, and what opening the device gives.
    ///
    /// # Safety
    /// The tables must be those of a library built from this version of `cuda/`, which stays loaded.
    pub unsafe fn from_library(
        name: &'static str,
        kernels: &'static ffi::wkv_kernels,
        testing: &'static ffi::wkv_testing,
    ) -> Result<Device, Error> {
        if ["emulated", "cuda"].contains(&name) {
            return Err(Error::InvalidArgument(format!(
                "{name:?} is a device of this library: give the other library's another name"
            )));
        }
        let place = Place {
            machine: name,
            ordinal: 0,
            stream: 0,
        };
        // SAFETY: as the caller promises.
        unsafe { Device::from_tables(place, kernels, testing) }
    }

    /// # Safety
    /// As [`Device::from_library`].
    unsafe fn from_tables(
        place: Place,
        kernels: &'static ffi::wkv_kernels,
        testing: &'static ffi::wkv_testing,
    ) -> Result<Device, Error> {
        if kernels.struct_size != size_of::<ffi::wkv_kernels>()
            || testing.struct_size != size_of::<ffi::wkv_testing>()
        {
            return Err(Error::Unsupported(format!(
                "the tables of {} are those of another version: build library and program from one checkout",
                place.machine
            )));
        }
        let mut device = Device {
            kernels,
            testing,
            place,
            capability: 0,
            trace: SharedTrace::default(),
            faults: Faults::default(),
            #[cfg(feature = "cuda")]
            products: std::sync::Arc::default(),
            #[cfg(feature = "cuda")]
            stream_owner: None,
        };
        let mut capability: c_int = 0;
        let open = entry(testing.open, "open")?;
        let ordinal = Error::int32("the GPU's number", place.ordinal)?;
        // SAFETY: `capability` lives across the call.
        device.check(unsafe { open(ordinal, &mut capability) })?;
        device.capability = capability as u32;
        Ok(device)
    }

    /// Every device at hand: the emulated GPU and, with the feature `cuda` and a GPU, GPU 0.
    pub fn all() -> Vec<Device> {
        #[cfg_attr(not(feature = "cuda"), allow(unused_mut))]
        let mut devices = vec![Device::emulated()];
        #[cfg(feature = "cuda")]
        devices.extend(Device::cuda(0));
        devices
    }

    /// `emulated` or `cuda`.
    pub fn name(&self) -> &'static str {
        self.place.machine
    }

    /// Where its kernels run.
    pub fn place(&self) -> Place {
        self.place
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

    /// What this device and its clones were asked for so far.
    pub fn trace(&self) -> Trace {
        self.trace.lock().clone()
    }

    /// From here on, the trace's peak is that of what is alive now and what comes.
    pub fn forget_peak(&self) {
        let mut trace = self.trace.lock();
        trace.peak_bytes = trace.live_bytes;
    }

    /// Bytes of memory that are free, where the device tells: a GPU, or an emulated one with [`Faults`].
    pub fn free_memory(&self) -> Option<u64> {
        if let Some(limit) = self.faults.memory_bytes {
            return Some(limit.saturating_sub(self.trace.lock().live_bytes));
        }
        #[cfg(feature = "cuda")]
        if let Some(stream) = &self.stream_owner {
            return Some(stream.context().mem_get_info().ok()?.0 as u64);
        }
        None
    }

    /// Notes a launch.
    pub(crate) fn launched(&self, name: &'static str) -> Result<(), Error> {
        self.trace.launched(name);
        self.faults.answer(&self.trace.lock())
    }

    /// A kernel of the table, about to be launched, with this device current for the calling thread.
    pub(crate) fn kernel<F>(
        &self,
        find: impl FnOnce(&'static ffi::wkv_kernels) -> Option<F>,
        name: &'static str,
    ) -> Result<F, Error> {
        let function = entry(find(self.kernels()?), name)?;
        self.launched(name)?;
        Ok(function)
    }

    /// The stream as the C ABI takes it.
    pub(crate) fn stream(&self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.place.stream)
    }

    /// The table of kernels, with this device current for the calling thread.
    pub(crate) fn kernels(&self) -> Result<&'static ffi::wkv_kernels, Error> {
        self.faults.answer(&self.trace.lock())?;
        self.bind()?;
        Ok(self.kernels)
    }

    pub(crate) fn testing(&self) -> Result<&'static ffi::wkv_testing, Error> {
        self.faults.answer(&self.trace.lock())?;
        self.bind()?;
        Ok(self.testing)
    }

    /// Gives memory of `bytes` bytes back, also where the device answers nothing else any more.
    ///
    /// # Safety
    /// The memory must come from this device's `allocate` and be released once.
    pub(crate) unsafe fn release(&self, memory: *mut c_void, bytes: usize) {
        if let (Ok(()), Some(release)) = (self.bind(), self.testing.release) {
            // SAFETY: as the caller promises. On a GPU the call waits for the kernels that still use the memory. A
            // failure here was reported by an earlier call.
            unsafe { release(memory) };
            self.trace.released(bytes);
        }
    }

    fn bind(&self) -> Result<(), Error> {
        let bind = entry(self.testing.bind, "bind")?;
        let ordinal = Error::int32("the GPU's number", self.place.ordinal)?;
        // SAFETY: the function takes any number.
        self.check(unsafe { bind(ordinal) })
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn on_stream(mut self, stream: std::sync::Arc<cudarc::driver::CudaStream>) -> Self {
        self.place.stream = stream.cu_stream().addr();
        self.stream_owner = Some(stream);
        self
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
