//! Named ranges for profilers.

/// A part of a run that NVIDIA Nsight shows by its name, until it is dropped. Nothing without the feature `nvtx`, or
/// where its library is absent.
#[must_use = "the range ends when this is dropped"]
pub struct Range {
    #[cfg(feature = "nvtx")]
    _range: Option<cudarc::nvtx::Range>,
}

/// Begins a range that is called what `name` returns; without the feature `nvtx` it is not asked.
pub fn range(name: impl FnOnce() -> String) -> Range {
    #[cfg(feature = "nvtx")]
    {
        // SAFETY: the function loads NVIDIA's library, whose initialisers are NVIDIA's.
        let there = unsafe { cudarc::nvtx::sys::is_culib_present() };
        Range {
            // A name with a NUL in it would end cudarc in a panic.
            _range: there.then(|| cudarc::nvtx::scoped_range(name().replace('\0', " "))),
        }
    }
    #[cfg(not(feature = "nvtx"))]
    {
        drop(name);
        Range {}
    }
}
