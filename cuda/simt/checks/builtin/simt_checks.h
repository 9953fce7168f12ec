// The emulator's own checks: kernels report every plain access to the shadow of shared memory.
// See simt/README.md for what every flavour of the checks has to provide.

#pragma once

#include <cstddef>

namespace windowkv::simt::checks {

inline constexpr bool kShadow = true;

struct FiberTag {};
inline void fiber_create(FiberTag&, void*, std::size_t) {}
inline void fiber_destroy(FiberTag&) {}
inline void fiber_reset(FiberTag&) {}
inline void fiber_adopt(FiberTag&) {}
inline void fiber_leave(FiberTag&, FiberTag&, bool) {}
inline void fiber_arrive(FiberTag&) {}

// Every access that an instruction of the emulated GPU makes on a thread's behalf.
inline void annotate_read(const void*, std::size_t) {}
inline void annotate_write(const void*, std::size_t) {}

// A synchronisation: everything before release(token) happens before what follows acquire(token).
inline void annotate_release(void*) {}
inline void annotate_acquire(void*) {}

// The destination of an asynchronous copy between its issue and its landing.
inline void annotate_in_flight(const void*, std::size_t) {}
inline void annotate_landed(const void*, std::size_t) {}

// Runs `body` as the asynchronous unit of the GPU, a thread apart from all CUDA threads.
template <class Body>
void as_async_unit(void*, void*, const Body& body) {
  body();
}

}  // namespace windowkv::simt::checks
