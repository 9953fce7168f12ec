// The functions that a kernel compiled with -fsanitize=thread calls at each plain access. Here they
// do not come from ThreadSanitizer: they feed the shadow of shared memory. Linked with the
// emulator's own checks only (simt/checks/builtin); with the real sanitizer its run-time library
// defines them.

#include <cstdint>
#include <cstring>

#include "simt/runtime.h"
#include "simt/wgmma_state.h"

namespace windowkv::simt {
namespace {

// Registers are not memory, except that a product in flight owns its accumulators.
inline void check_accumulators(const void* p, const char* verb, void* pc) {
  const unsigned warpgroup = self().number / 128;
  const auto& wgmma = self().block->wgmma;
  if (wgmma[warpgroup] == nullptr || !wgmma_owns(*wgmma[warpgroup], self(), p)) return;
  fail(Site(pc), format("%s an accumulator of a wgmma that is in flight", verb));
}

inline void read(const void* p, std::size_t n, void* pc) {
  if (current_thread == nullptr) return;
  Gang& gang = *self().gang;
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(p) - gang.shared);
  if (offset >= gang.blocks.size() * kSharedStride) return check_accumulators(p, "reads", pc);
  require_shared(p, n, 1, "a load", Site(pc), false);
  gang.shadow.read(self().clock, offset, n, Site(pc));
}

inline void write(const void* p, std::size_t n, void* pc) {
  if (current_thread == nullptr) return;
  Gang& gang = *self().gang;
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(p) - gang.shared);
  if (offset >= gang.blocks.size() * kSharedStride) return check_accumulators(p, "writes", pc);
  require_shared(p, n, 1, "a store", Site(pc), false);
  gang.shadow.write(self().clock, offset, n, Site(pc));
}

inline void atomic(const volatile void* p, std::size_t n, void* pc) {
  if (current_thread != nullptr) access_atomic(self(), const_cast<const void*>(p), n, Site(pc));
}

}  // namespace
}  // namespace windowkv::simt

#define WKV_PC __builtin_return_address(0)
#define WKV_HOOK_SIZE(size)                                                                     \
  void __tsan_read##size(void* p) { windowkv::simt::read(p, size, WKV_PC); }                    \
  void __tsan_write##size(void* p) { windowkv::simt::write(p, size, WKV_PC); }                  \
  void __tsan_unaligned_read##size(void* p) { windowkv::simt::read(p, size, WKV_PC); }          \
  void __tsan_unaligned_write##size(void* p) { windowkv::simt::write(p, size, WKV_PC); }        \
  void __tsan_volatile_read##size(void* p) { windowkv::simt::read(p, size, WKV_PC); }           \
  void __tsan_volatile_write##size(void* p) { windowkv::simt::write(p, size, WKV_PC); }         \
  void __tsan_unaligned_volatile_read##size(void* p) { windowkv::simt::read(p, size, WKV_PC); } \
  void __tsan_unaligned_volatile_write##size(void* p) { windowkv::simt::write(p, size, WKV_PC); }

#define WKV_HOOK_FETCH(bits, name)                                                                \
  uint##bits##_t __tsan_atomic##bits##_fetch_##name(volatile uint##bits##_t* p, uint##bits##_t v, \
                                                    int) {                                        \
    windowkv::simt::atomic(p, bits / 8, WKV_PC);                                                  \
    return __atomic_fetch_##name(p, v, __ATOMIC_SEQ_CST);                                         \
  }
#define WKV_HOOK_ATOMIC(bits)                                                                      \
  uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* p, int) {               \
    windowkv::simt::atomic(p, bits / 8, WKV_PC);                                                   \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile uint##bits##_t* p, uint##bits##_t v, int) {            \
    windowkv::simt::atomic(p, bits / 8, WKV_PC);                                                   \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                \
  uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t* p, uint##bits##_t v,      \
                                                int) {                                             \
    windowkv::simt::atomic(p, bits / 8, WKV_PC);                                                   \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                            \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_strong(                                               \
      volatile uint##bits##_t* p, uint##bits##_t* expected, uint##bits##_t v, int, int) {          \
    windowkv::simt::atomic(p, bits / 8, WKV_PC);                                                   \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_weak(                                                 \
      volatile uint##bits##_t* p, uint##bits##_t* expected, uint##bits##_t v, int, int) {          \
    windowkv::simt::atomic(p, bits / 8, WKV_PC);                                                   \
    return __atomic_compare_exchange_n(p, expected, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
  }                                                                                                \
  /* clang's, for both of the above. */                                                            \
  uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                       \
      volatile uint##bits##_t* p, uint##bits##_t expected, uint##bits##_t v, int, int) {           \
    windowkv::simt::atomic(p, bits / 8, WKV_PC);                                                   \
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);       \
    return expected;                                                                               \
  }                                                                                                \
  WKV_HOOK_FETCH(bits, add)                                                                        \
  WKV_HOOK_FETCH(bits, sub)                                                                        \
  WKV_HOOK_FETCH(bits, and)                                                                        \
  WKV_HOOK_FETCH(bits, or)                                                                         \
  WKV_HOOK_FETCH(bits, xor)

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}
void __tsan_read_range(void* p, unsigned long n) { windowkv::simt::read(p, n, WKV_PC); }
void __tsan_write_range(void* p, unsigned long n) { windowkv::simt::write(p, n, WKV_PC); }
void* __tsan_memcpy(void* to, const void* from, unsigned long n) {
  windowkv::simt::read(from, n, WKV_PC);
  windowkv::simt::write(to, n, WKV_PC);
  return std::memcpy(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, unsigned long n) {
  windowkv::simt::read(from, n, WKV_PC);
  windowkv::simt::write(to, n, WKV_PC);
  return std::memmove(to, from, n);
}
void* __tsan_memset(void* to, int value, unsigned long n) {
  windowkv::simt::write(to, n, WKV_PC);
  return std::memset(to, value, n);
}
WKV_HOOK_SIZE(1)
WKV_HOOK_SIZE(2)
WKV_HOOK_SIZE(4)
WKV_HOOK_SIZE(8)
WKV_HOOK_SIZE(16)
WKV_HOOK_ATOMIC(8)
WKV_HOOK_ATOMIC(16)
WKV_HOOK_ATOMIC(32)
WKV_HOOK_ATOMIC(64)
}
