//! What a device was asked for: launches, copies, allocations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a [`Device`](crate::Device) and its clones were asked for so far. Memory is that of
/// [`Buffer`](crate::Buffer)s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Calls by kernel, and of `matmul`. Each is one launch, but for `score`: one for the columns, one for each output.
    pub launches: BTreeMap<&'static str, u64>,
    /// Bytes copied to the device.
    pub uploaded_bytes: u64,
    /// Bytes copied to the host.
    pub downloaded_bytes: u64,
    /// Times that the host waited for the device, or would on a GPU: copies in either direction, and memory freed.
    pub synchronisations: u64,
    /// Buffers made.
    pub allocations: u64,
    /// Bytes of buffers that are alive.
    pub live_bytes: u64,
    /// The most bytes that were alive at one time.
    pub peak_bytes: u64,
}

impl Trace {
    /// Calls of all kernels.
    pub fn total_launches(&self) -> u64 {
        self.launches.values().sum()
    }

    /// What was asked for since `earlier`; live and peak bytes are as they are now.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut launches = self.launches.clone();
        for (name, before) in &earlier.launches {
            if let Some(count) = launches.get_mut(name) {
                *count -= before;
            }
        }
        launches.retain(|_, count| *count > 0);
        Self {
            launches,
            uploaded_bytes: self.uploaded_bytes - earlier.uploaded_bytes,
            downloaded_bytes: self.downloaded_bytes - earlier.downloaded_bytes,
            synchronisations: self.synchronisations - earlier.synchronisations,
            allocations: self.allocations - earlier.allocations,
            ..*self
        }
    }
}

/// A trace that clones of a device share.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedTrace(Arc<Mutex<Trace>>);

impl SharedTrace {
    /// The trace; it is whole between any two updates, also where another thread panicked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Trace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn launched(&self, name: &'static str) {
        *self.lock().launches.entry(name).or_default() += 1;
    }

    pub(crate) fn uploaded(&self, bytes: usize) {
        let mut trace = self.lock();
        trace.uploaded_bytes += bytes as u64;
        trace.synchronisations += 1;
    }

    pub(crate) fn downloaded(&self, bytes: usize) {
        let mut trace = self.lock();
        trace.downloaded_bytes += bytes as u64;
        trace.synchronisations += 1;
    }

    pub(crate) fn allocated(&self, bytes: usize) {
        let mut trace = self.lock();
        trace.allocations += 1;
        trace.live_bytes += bytes as u64;
        trace.peak_bytes = trace.peak_bytes.max(trace.live_bytes);
    }

    pub(crate) fn released(&self, bytes: usize) {
        let mut trace = self.lock();
        trace.live_bytes -= bytes as u64;
        trace.synchronisations += 1;
    }
}
