//! Launches recorded once and replayed.

use std::sync::Arc;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaStream};

use super::driver_error;
use crate::device::Device;
use crate::error::Error;

/// Starts recording: what is launched on the device until [`Capture::end`] goes into a graph and does not run.
///
/// # Errors
/// [`Error::InvalidArgument`] for a device without a stream of cudarc's, [`Error::Device`] when CUDA fails.
pub fn begin_capture(device: &Device) -> Result<Capture, Error> {
    let stream = device.cudarc_stream()?.clone();
    stream
        .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .map_err(driver_error)?;
    Ok(Capture {
        stream,
        device: device.clone(),
        ended: false,
    })
}

/// A recording. Dropped, it ends and is thrown away, so that the stream can be used again.
pub struct Capture {
    stream: Arc<CudaStream>,
    device: Device,
    ended: bool,
}

impl Capture {
    /// What was recorded.
    ///
    /// # Errors
    /// [`Error::Device`] when nothing was recorded, when something was called that a graph cannot hold, or when CUDA
    /// fails.
    pub fn end(mut self) -> Result<Graph, Error> {
        self.ended = true;
        let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let graph = self.stream.end_capture(flags).map_err(driver_error)?;
        let graph =
            graph.ok_or_else(|| Error::Device("nothing was recorded for a graph".into()))?;
        Ok(Graph {
            graph,
            device: self.device.clone(),
        })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.ended {
            let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
            // The launch that failed has been reported.
            let _ = self.stream.end_capture(flags);
        }
    }
}

/// Recorded launches with the addresses of their memory.
pub struct Graph {
    graph: CudaGraph,
    device: Device,
}

impl Graph {
    /// Runs all that was recorded, in order, behind what was launched before.
    ///
    /// # Errors
    /// [`Error::Device`] when CUDA fails.
    ///
    /// # Safety
    /// All memory that was recorded must still be there, and nobody may hold a view of what is written.
    pub unsafe fn replay(&self) -> Result<(), Error> {
        self.device.launched("graph")?;
        self.graph.launch().map_err(driver_error)
    }
}
