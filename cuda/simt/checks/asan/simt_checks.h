// AddressSanitizer: fibers have stacks of their own, bytes in flight may not be touched.
// See simt/README.md for what every flavour of the checks has to provide.

#pragma once

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#include <cstddef>

namespace windowkv::simt::checks {

inline constexpr bool kShadow = false;

struct FiberTag {
  void* bottom = nullptr;
  std::size_t bytes = 0;
  void* fake_stack = nullptr;
};

inline void fiber_create(FiberTag& tag, void* bottom, std::size_t bytes) {
  tag = {bottom, bytes, nullptr};
}
inline void fiber_destroy(FiberTag& tag) {
  if (tag.bytes != 0) __asan_unpoison_memory_region(tag.bottom, tag.bytes);
}
inline void fiber_reset(FiberTag& tag) { fiber_destroy(tag); }
inline void fiber_adopt(FiberTag&) {}
inline void fiber_leave(FiberTag& from, FiberTag& to, bool) {
  __sanitizer_start_switch_fiber(&from.fake_stack, to.bottom, to.bytes);
}
inline void fiber_arrive(FiberTag& tag) {
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(tag.fake_stack, &bottom, &bytes);
}

// A poisoned byte under an instruction's access is reported by the load itself: the memory of this
// process is read with an instrumented one-byte access where the first poisoned byte lies.
inline void annotate_read(const void* p, std::size_t n) {
  const void* bad = __asan_region_is_poisoned(const_cast<void*>(p), n);
  if (bad != nullptr) (void)*static_cast<const volatile char*>(bad);
}
inline void annotate_write(const void* p, std::size_t n) { annotate_read(p, n); }
inline void annotate_release(void*) {}
inline void annotate_acquire(void*) {}
inline void annotate_in_flight(const void* p, std::size_t n) { __asan_poison_memory_region(p, n); }
inline void annotate_landed(const void* p, std::size_t n) { __asan_unpoison_memory_region(p, n); }

template <class Body>
void as_async_unit(void*, void*, const Body& body) {
  body();
}

}  // namespace windowkv::simt::checks
