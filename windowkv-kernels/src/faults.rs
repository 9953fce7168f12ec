//! An emulated GPU that fails, to test what programs do then.

use crate::device::Device;
use crate::error::Error;
use crate::trace::Trace;

/// When an emulated GPU fails as real ones do. The default never does.
///
/// ```
/// use windowkv_kernels::{Device, Error, Faults};
///
/// let device = Device::emulated_with(Faults { memory_bytes: Some(1000), ..Faults::default() });
/// let _half = device.zeroed::<u8>(600)?;
/// assert!(matches!(device.zeroed::<u8>(600), Err(Error::OutOfMemory(_))));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Bytes that its [`Buffer`](crate::Buffer)s may take together; more than that is [`Error::OutOfMemory`].
    pub memory_bytes: Option<u64>,
    /// Launches after which every call fails with [`Error::Device`], as calls do after a kernel that a GPU had to stop.
    pub launches: Option<u64>,
}

impl Device {
    /// The emulated GPU, with faults.
    pub fn emulated_with(faults: Faults) -> Device {
        let mut device = Device::emulated();
        device.faults = faults;
        device
    }
}

impl Faults {
    /// Whether `bytes` more are to be had.
    pub(crate) fn allocate(self, trace: &Trace, bytes: usize) -> Result<(), Error> {
        match self.memory_bytes {
            Some(limit) if trace.live_bytes.saturating_add(bytes as u64) > limit => {
                Err(Error::OutOfMemory(format!(
                    "{bytes} bytes were asked for, {} of the device's {limit} are free",
                    limit.saturating_sub(trace.live_bytes)
                )))
            }
            _ => Ok(()),
        }
    }

    /// Whether the device still answers.
    pub(crate) fn answer(self, trace: &Trace) -> Result<(), Error> {
        match self.launches {
            Some(limit) if trace.total_launches() > limit => Err(Error::Device(format!(
                "launch {} failed, and the device answers no more, as it was asked to",
                limit + 1
            ))),
            _ => Ok(()),
        }
    }
}
