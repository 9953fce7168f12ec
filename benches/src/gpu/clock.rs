//! Seconds of launches.

use windowkv_kernels::{Device, Error};

use super::launch::Prepared;

/// A device with a clock.
pub enum Clock {
    /// The emulated GPU: the wall clock, which says nothing about a GPU.
    Emulated(Device),
    /// A GPU: CUDA events around a graph of launches.
    #[cfg(feature = "cuda")]
    Cuda(cuda::CudaClock),
}

impl Clock {
    /// GPU 0.
    ///
    /// # Errors
    /// Why there is none: no driver, no GPU, or a build without CUDA.
    pub fn cuda() -> Result<Self, Error> {
        #[cfg(feature = "cuda")]
        return Ok(Self::Cuda(cuda::CudaClock::new()?));
        #[cfg(not(feature = "cuda"))]
        Err(Error::Unsupported(
            "this program was built without CUDA: build it with --features cuda".into(),
        ))
    }

    /// Where kernels run.
    pub fn device(&self) -> &Device {
        match self {
            Self::Emulated(device) => device,
            #[cfg(feature = "cuda")]
            Self::Cuda(clock) => &clock.device,
        }
    }

    /// Whether times mean something.
    pub fn is_gpu(&self) -> bool {
        !matches!(self, Self::Emulated(_))
    }

    /// Prepares `launches` launches of a job to be timed together, after one that warms up.
    ///
    /// # Errors
    /// What a launch gives.
    pub fn batch(&self, prepared: &mut Prepared, launches: usize) -> Result<Batch, Error> {
        (prepared.launch)(0)?;
        match self {
            Self::Emulated(_) => Ok(Batch::Calls(launches)),
            #[cfg(feature = "cuda")]
            Self::Cuda(clock) => clock.capture(prepared, launches),
        }
    }

    /// Seconds of one launch of the batch, on average.
    ///
    /// # Errors
    /// What a launch gives.
    pub fn time(&self, prepared: &mut Prepared, batch: &Batch) -> Result<f64, Error> {
        match (self, batch) {
            (_, Batch::Calls(launches)) => {
                let started = std::time::Instant::now();
                for i in 0..*launches {
                    (prepared.launch)(i)?;
                }
                Ok(started.elapsed().as_secs_f64() / *launches as f64)
            }
            #[cfg(feature = "cuda")]
            (Self::Cuda(clock), Batch::Graph(graph, launches)) => clock.replay(graph, *launches),
            #[cfg(feature = "cuda")]
            (Self::Emulated(_), Batch::Graph(..)) => Err(Error::Unsupported(
                "a graph runs on the GPU that it was captured on".into(),
            )),
        }
    }

    /// Bytes a second, read plus written, of a large copy; nothing on the emulated GPU.
    ///
    /// # Errors
    /// What the device gives.
    pub fn copy_rate(&self) -> Result<Option<f64>, Error> {
        match self {
            Self::Emulated(_) => Ok(None),
            #[cfg(feature = "cuda")]
            Self::Cuda(clock) => clock.copy_rate().map(Some),
        }
    }
}

/// Launches that are timed together.
pub enum Batch {
    /// So many calls.
    Calls(usize),
    /// A graph of so many launches.
    #[cfg(feature = "cuda")]
    Graph(windowkv_kernels::cuda::Graph, usize),
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::sync::Arc;

    use windowkv_kernels::cuda::cudarc::driver::{CudaStream, DriverError, sys};
    use windowkv_kernels::cuda::{self, Graph, begin_capture};
    use windowkv_kernels::{Device, Error};

    use super::Batch;
    use crate::gpu::launch::Prepared;

    /// Bytes of the copy that the bandwidth is measured with.
    const COPY_BYTES: usize = 1 << 30;
    /// Copies in a measurement of the bandwidth, and measurements.
    const COPIES: usize = 10;
    const COPY_ROUNDS: usize = 5;

    /// A GPU and a stream of its own.
    pub struct CudaClock {
        pub(super) device: Device,
        stream: Arc<CudaStream>,
    }

    fn driver(error: DriverError) -> Error {
        Error::Device(format!("CUDA driver: {error}"))
    }

    impl CudaClock {
        pub(super) fn new() -> Result<Self, Error> {
            let stream = cuda::stream(0)?;
            let device = Device::from_cudarc(&stream)?;
            Ok(Self { device, stream })
        }

        /// Launches in a graph, so that the processor's time for a launch is not in the way.
        pub(super) fn capture(
            &self,
            prepared: &mut Prepared,
            launches: usize,
        ) -> Result<Batch, Error> {
            let capture = begin_capture(&self.device)?;
            (0..launches).try_for_each(|i| (prepared.launch)(i))?;
            Ok(Batch::Graph(capture.end()?, launches))
        }

        /// Seconds between two events around what `work` puts on the stream.
        fn seconds(&self, work: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
            let event = || {
                self.stream
                    .context()
                    .new_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))
                    .map_err(driver)
            };
            let (begin, end) = (event()?, event()?);
            begin.record(&self.stream).map_err(driver)?;
            work()?;
            end.record(&self.stream).map_err(driver)?;
            Ok(f64::from(begin.elapsed_ms(&end).map_err(driver)?) / 1e3)
        }

        pub(super) fn replay(&self, graph: &Graph, launches: usize) -> Result<f64, Error> {
            Ok(self.seconds(|| graph.replay())? / launches as f64)
        }

        pub(super) fn copy_rate(&self) -> Result<f64, Error> {
            let from = self.stream.alloc_zeros::<u8>(COPY_BYTES).map_err(driver)?;
            let mut to = self.stream.alloc_zeros::<u8>(COPY_BYTES).map_err(driver)?;
            let mut rates = Vec::new();
            for _ in 0..=COPY_ROUNDS {
                let seconds = self.seconds(|| {
                    (0..COPIES)
                        .try_for_each(|_| self.stream.memcpy_dtod(&from, &mut to))
                        .map_err(driver)
                })?;
                rates.push(2.0 * (COPIES * COPY_BYTES) as f64 / seconds);
            }
            // The first one warms up.
            let mut rates = rates.split_off(1);
            rates.sort_by(f64::total_cmp);
            Ok(rates[rates.len() / 2])
        }
    }
}
