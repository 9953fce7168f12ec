//! One setting of the C library's allocator, so that memory can be predicted.

/// Keeps blocks above 128 KiB apart from the heap, to be returned when they are freed.
///
/// glibc raises this limit by itself after the first such block was freed. Buffers of later layers then
/// land in the holes of the heap, and the peak was up to 13 % above the plan.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(super) fn return_large_blocks() {
    const MMAP_THRESHOLD: libc::c_int = 128 << 10;
    // SAFETY: mallopt takes two integers and sets one of the allocator; no other thread runs yet. When it
    // refuses, only the prediction suffers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
}

/// Other C libraries do not move their limit.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn return_large_blocks() {}
