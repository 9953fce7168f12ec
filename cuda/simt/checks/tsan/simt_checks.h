// ThreadSanitizer: fibers, barriers and asynchronous copies are told to its run-time library.
// See simt/README.md for what every flavour of the checks has to provide.

#pragma once

#include <sanitizer/tsan_interface.h>

#include <cstddef>

extern "C" void __tsan_read_range(void* address, unsigned long bytes);
extern "C" void __tsan_write_range(void* address, unsigned long bytes);

namespace windowkv::simt::checks {

inline constexpr bool kShadow = false;

struct FiberTag {
  void* fiber = nullptr;
  bool owned = false;
};

inline void fiber_destroy(FiberTag& tag) {
  if (tag.owned) __tsan_destroy_fiber(tag.fiber);
  tag = {};
}
inline void fiber_create(FiberTag&, void*, std::size_t) {}
inline void fiber_reset(FiberTag& tag) {
  fiber_destroy(tag);
  tag = {__tsan_create_fiber(0), true};
}
inline void fiber_adopt(FiberTag& tag) { tag = {__tsan_get_current_fiber(), false}; }
inline void fiber_leave(FiberTag&, FiberTag& to, bool synchronises) {
  __tsan_switch_to_fiber(to.fiber, synchronises ? 0 : __tsan_switch_to_fiber_no_sync);
}
inline void fiber_arrive(FiberTag&) {}

inline void annotate_read(const void* p, std::size_t n) {
  __tsan_read_range(const_cast<void*>(p), n);
}
inline void annotate_write(const void* p, std::size_t n) {
  __tsan_write_range(const_cast<void*>(p), n);
}
inline void annotate_release(void* token) { __tsan_release(token); }
inline void annotate_acquire(void* token) { __tsan_acquire(token); }
inline void annotate_in_flight(const void*, std::size_t) {}
inline void annotate_landed(const void*, std::size_t) {}

// `issued` is released by the thread that issues the operation, `done` acquired by those that wait.
template <class Body>
void as_async_unit(void* issued, void* done, const Body& body) {
  void* caller = __tsan_get_current_fiber();
  void* unit = __tsan_create_fiber(0);
  __tsan_switch_to_fiber(unit, __tsan_switch_to_fiber_no_sync);
  if (issued != nullptr) __tsan_acquire(issued);
  body();
  if (done != nullptr) __tsan_release(done);
  __tsan_switch_to_fiber(caller, __tsan_switch_to_fiber_no_sync);
  __tsan_destroy_fiber(unit);
}

}  // namespace windowkv::simt::checks
