//! Times between launches.

use std::time::{Duration, Instant};

use crate::device::Device;
use crate::error::Error;

/// A point in the order of a device's work: on a GPU an event of its stream, on the emulated GPU, where a launch has run
/// when it returns, a time.
#[derive(Debug)]
pub struct Mark {
    time: Instant,
    #[cfg(feature = "cuda")]
    event: Option<cudarc::driver::CudaEvent>,
}

impl Device {
    /// A mark behind all that was launched. Nothing is waited for.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] on a GPU without a stream of cudarc's, [`Error::Device`].
    pub fn mark(&self) -> Result<Mark, Error> {
        #[cfg(feature = "cuda")]
        let event = match self.name() {
            "cuda" => {
                let flags = cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT;
                let event = self.cudarc_stream()?.record_event(Some(flags));
                Some(event.map_err(crate::cuda::driver_error)?)
            }
            _ => None,
        };
        Ok(Mark {
            time: Instant::now(),
            #[cfg(feature = "cuda")]
            event,
        })
    }
}

impl Mark {
    /// The time that the device took from this mark to `later`, a mark of the same device. Waits until both have passed.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn until(&self, later: &Self) -> Result<Duration, Error> {
        #[cfg(feature = "cuda")]
        if let (Some(event), Some(later)) = (&self.event, &later.event) {
            let milliseconds = event.elapsed_ms(later).map_err(crate::cuda::driver_error)?;
            return Ok(Duration::from_secs_f64(
                f64::from(milliseconds.max(0.0)) / 1e3,
            ));
        }
        Ok(later.time.saturating_duration_since(self.time))
    }
}
