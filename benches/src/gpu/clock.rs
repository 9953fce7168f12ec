//! Seconds of launches, and the rates that no launch exceeds.

use std::time::{Duration, Instant};

use half::bf16;
use windowkv_kernels::matmul::{MatmulParams, matmul};
use windowkv_kernels::{Device, Error, Matrix, MatrixMut};

use super::Failure;
use super::launch::{Prepared, Random};

/// How long a GPU is kept busy before anything is timed: an idle one has clocks of a sixth.
const WARM_UP: Duration = Duration::from_millis(200);
/// Launches that are timed alone to see how long one takes.
const TRIALS: usize = 3;
/// Measurements of a ceiling; it is their median.
const CEILING_ROUNDS: usize = 5;
/// Copies or products in one.
const CEILING_REPEATS: usize = 10;
/// Rows and columns of the product whose rate is the ceiling: on a GPU, and on the emulated one.
const PRODUCT: usize = 8192;
const TINY_PRODUCT: usize = 64;
/// Bytes of the emulated GPU's copy.
const TINY_COPY: usize = 1 << 20;

/// A device with a clock.
pub enum Clock {
    /// The emulated GPU: the wall clock, which says nothing about a GPU.
    Emulated(Device),
    /// A GPU: CUDA events around a graph of launches.
    #[cfg(feature = "cuda")]
    Cuda(cuda::CudaClock),
}

impl Clock {
    /// GPU 0 of those that are visible.
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

    /// The GPU's name as the driver has it; `emulated`.
    pub fn name(&self) -> String {
        match self {
            Self::Emulated(_) => "emulated".to_owned(),
            #[cfg(feature = "cuda")]
            Self::Cuda(clock) => clock.name(),
        }
    }

    /// What `nvidia-smi -i` knows the GPU by, whichever are visible here; nothing for the emulated one.
    pub fn uuid(&self) -> Option<String> {
        match self {
            Self::Emulated(_) => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(clock) => clock.uuid(),
        }
    }

    /// Prepares launches of a job to be timed together: as many as take `seconds`, `most` at most, one at least.
    ///
    /// # Errors
    /// What a launch gives.
    pub fn batch(
        &self,
        prepared: &mut Prepared,
        seconds: f64,
        most: usize,
    ) -> Result<Batch, Failure> {
        let mut once = f64::INFINITY;
        for i in 0..TRIALS {
            once = once.min(self.seconds(|| prepared.launch(i))?);
        }
        let count = ((seconds / once.max(1e-7)) as usize).clamp(1, most);
        match self {
            Self::Emulated(_) => Ok(Batch::Calls(count)),
            #[cfg(feature = "cuda")]
            Self::Cuda(clock) => clock.capture(prepared, count, once),
        }
    }

    /// Seconds that `work` takes, by the device's clock.
    fn seconds<E: From<Error>>(&self, work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
        match self {
            Self::Emulated(_) => {
                let started = Instant::now();
                work()?;
                Ok(started.elapsed().as_secs_f64())
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(clock) => clock.seconds(work),
        }
    }

    /// Seconds of one launch of the batch, on average. On a GPU a batch that is short is started behind another one, so
    /// that the processor's time to start it is not in the way.
    ///
    /// # Errors
    /// What a launch gives.
    pub fn time(&self, prepared: &mut Prepared, batch: &Batch) -> Result<f64, Failure> {
        match (self, batch) {
            (_, Batch::Calls(launches)) => {
                let all = || (0..*launches).try_for_each(|i| prepared.launch(i));
                Ok(self.seconds(all)? / *launches as f64)
            }
            #[cfg(feature = "cuda")]
            (Self::Cuda(clock), Batch::Graph(graph)) => Ok(clock.time(graph)?),
            #[cfg(feature = "cuda")]
            (Self::Emulated(_), Batch::Graph(_)) => Err(Failure::Kernel(Error::Unsupported(
                "a graph runs on the GPU that it was captured on".into(),
            ))),
        }
    }

    /// Keeps a GPU busy with the batch while `busy` holds; does nothing on the emulated one.
    ///
    /// # Errors
    /// What a launch gives.
    pub fn run_while(
        &self,
        prepared: &mut Prepared,
        batch: &Batch,
        mut busy: impl FnMut() -> bool,
    ) -> Result<(), Failure> {
        while self.is_gpu() && busy() {
            self.time(prepared, batch)?;
        }
        Ok(())
    }

    /// Keeps a GPU busy until its clocks are those of work.
    ///
    /// # Errors
    /// What a launch gives.
    pub fn warm_up(&self, prepared: &mut Prepared, batch: &Batch) -> Result<(), Failure> {
        let started = Instant::now();
        self.run_while(prepared, batch, || started.elapsed() < WARM_UP)
    }

    /// Bytes a second, read plus written, of a large copy of random bytes.
    ///
    /// # Errors
    /// What the device gives.
    pub fn copy_rate(&self) -> Result<f64, Error> {
        match self {
            Self::Emulated(_) => {
                let (from, mut to) = (vec![1_u8; TINY_COPY], vec![0_u8; TINY_COPY]);
                self.rate(2.0 * TINY_COPY as f64, || {
                    to.copy_from_slice(std::hint::black_box(&from));
                    std::hint::black_box(&mut to);
                    Ok(())
                })
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(clock) => {
                // Where other programs have the memory, a smaller one; still several times the L2 cache.
                match self.cuda_copy_rate(clock, 1 << 30) {
                    Err(Error::OutOfMemory(_)) => self.cuda_copy_rate(clock, 256 << 20),
                    other => other,
                }
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_copy_rate(&self, clock: &cuda::CudaClock, bytes: usize) -> Result<f64, Error> {
        let mut copy = clock.copy_of(bytes)?;
        self.rate(2.0 * bytes as f64, || copy())
    }

    /// Operations a second of a bf16 product of random square matrices by the device's own library: 8,192 rows on a GPU.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without cuBLASLt, and what the device gives.
    pub fn product_rate(&self) -> Result<f64, Error> {
        let size = if self.is_gpu() { PRODUCT } else { TINY_PRODUCT };
        let device = self.device();
        let mut random = Random::default();
        let x = device.upload(&random.numbers(size * size))?;
        let weight = device.upload(&random.numbers(size * size))?;
        let mut y = device.poisoned::<bf16>(size * size)?;
        self.rate(2.0 * (size as f64).powi(3), || {
            let params = MatmulParams {
                x: Matrix::new(x.view(), size, size)?,
                weight: Matrix::new(weight.view(), size, size)?,
                bias: None,
                y: MatrixMut::new(y.view_mut(), size, size)?,
                accumulate: false,
            };
            matmul(device, params)
        })
    }

    /// How much of something is done in a second, `amount` by each call of `run`.
    fn rate(&self, amount: f64, mut run: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
        let mut measure = || self.seconds(|| (0..CEILING_REPEATS).try_for_each(|_| run()));
        let started = Instant::now();
        while self.is_gpu() && started.elapsed() < WARM_UP {
            measure()?;
        }
        let mut seconds = (0..CEILING_ROUNDS)
            .map(|_| measure())
            .collect::<Result<Vec<f64>, Error>>()?;
        seconds.sort_by(f64::total_cmp);
        Ok(amount * CEILING_REPEATS as f64 / seconds[CEILING_ROUNDS / 2])
    }
}

/// Launches that are timed together.
pub enum Batch {
    /// So many calls.
    Calls(usize),
    /// A graph of launches.
    #[cfg(feature = "cuda")]
    Graph(cuda::Launches),
}

impl Batch {
    /// How many.
    pub fn launches(&self) -> usize {
        match self {
            Self::Calls(launches) => *launches,
            #[cfg(feature = "cuda")]
            Self::Graph(graph) => graph.count,
        }
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::sync::Arc;

    use half::slice::HalfFloatSliceExt;
    use windowkv_kernels::cuda::cudarc::driver::{CudaEvent, CudaStream, DriverError, sys};
    use windowkv_kernels::cuda::{self, Graph, begin_capture};
    use windowkv_kernels::{Device, Error};

    use super::Batch;
    use crate::gpu::Failure;
    use crate::gpu::launch::{Prepared, pool};

    /// Seconds above which a batch needs no other one before it: the processor's time to start it is nothing beside.
    const LONG: f64 = 0.05;

    /// A GPU and a stream of its own.
    pub struct CudaClock {
        pub(super) device: Device,
        stream: Arc<CudaStream>,
    }

    /// A graph of `count` launches.
    pub struct Launches {
        graph: Graph,
        pub(super) count: usize,
        /// Whether another replay goes ahead of the one that is timed.
        led: bool,
    }

    fn driver(error: DriverError) -> Error {
        let message = format!("CUDA driver: {error}");
        if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            Error::OutOfMemory(message)
        } else {
            Error::Device(message)
        }
    }

    impl CudaClock {
        pub(super) fn new() -> Result<Self, Error> {
            let stream = cuda::stream(0)?;
            let device = Device::from_cudarc(&stream)?;
            Ok(Self { device, stream })
        }

        pub(super) fn name(&self) -> String {
            let name = self.stream.context().name();
            name.unwrap_or_else(|error| format!("an NVIDIA GPU ({error})"))
        }

        pub(super) fn uuid(&self) -> Option<String> {
            let uuid = self.stream.context().uuid().ok()?;
            let mut text = "GPU".to_owned();
            for (i, byte) in uuid.bytes.iter().enumerate() {
                if [0, 4, 6, 8, 10].contains(&i) {
                    text.push('-');
                }
                text += &format!("{:02x}", *byte as u8);
            }
            Some(text)
        }

        /// `count` launches in a graph, so that the processor's time for a launch is not in the way; `once`: seconds of
        /// one.
        pub(super) fn capture(
            &self,
            prepared: &mut Prepared,
            count: usize,
            once: f64,
        ) -> Result<Batch, Failure> {
            let capture = begin_capture(&self.device)?;
            (0..count).try_for_each(|i| prepared.launch(i))?;
            Ok(Batch::Graph(Launches {
                graph: capture.end()?,
                count,
                led: once * (count as f64) < LONG,
            }))
        }

        fn event(&self) -> Result<CudaEvent, Error> {
            let event = self
                .stream
                .context()
                .new_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
            event.map_err(driver)
        }

        /// Seconds between two events around what `work` puts on the stream.
        pub(super) fn seconds<E: From<Error>>(
            &self,
            work: impl FnOnce() -> Result<(), E>,
        ) -> Result<f64, E> {
            let (begin, end) = (self.event()?, self.event()?);
            begin.record(&self.stream).map_err(driver)?;
            work()?;
            end.record(&self.stream).map_err(driver)?;
            Ok(f64::from(begin.elapsed_ms(&end).map_err(driver)?) / 1e3)
        }

        pub(super) fn time(&self, launches: &Launches) -> Result<f64, Error> {
            // SAFETY: the clock is given what was captured together with its graph, so that it is still there, and nobody
            // looks at it meanwhile.
            let replay = || unsafe { launches.graph.replay() };
            if launches.led {
                replay()?;
            }
            Ok(self.seconds(replay)? / launches.count as f64)
        }

        /// Puts a copy of `bytes` random bytes on the stream, again and again.
        pub(super) fn copy_of(
            &self,
            bytes: usize,
        ) -> Result<impl FnMut() -> Result<(), Error> + use<>, Error> {
            let stream = self.stream.clone();
            let random = pool().reinterpret_cast();
            let numbers = bytes / size_of::<u16>();
            let mut from = stream.alloc_zeros::<u16>(numbers).map_err(driver)?;
            let mut to = stream.alloc_zeros::<u16>(numbers).map_err(driver)?;
            let mut start = 0;
            while start < numbers {
                let len = random.len().min(numbers - start);
                let mut part = from.slice_mut(start..start + len);
                stream
                    .memcpy_htod(&random[..len], &mut part)
                    .map_err(driver)?;
                start += len;
            }
            Ok(move || stream.memcpy_dtod(&from, &mut to).map_err(driver))
        }
    }
}
