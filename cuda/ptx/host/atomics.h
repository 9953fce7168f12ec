#pragma once

#include <bit>

#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// These are compiled with the kernel, so that ThreadSanitizer and the emulator's checks see them as
// the atomic accesses that they are.

template <class T>
WKV_FN T atomic_add(T* address, T value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <>
WKV_FN float atomic_add<float>(float* address, float value) {
  auto* bits = reinterpret_cast<uint32_t*>(address);
  uint32_t before = __atomic_load_n(bits, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(bits, &before,
                                      std::bit_cast<uint32_t>(std::bit_cast<float>(before) + value),
                                      false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return std::bit_cast<float>(before);
}

template <class T>
WKV_FN T atomic_min(T* address, T value) {
  T before = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (value < before && !__atomic_compare_exchange_n(address, &before, value, false,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return before;
}
template <class T>
WKV_FN T atomic_max(T* address, T value) {
  T before = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (value > before && !__atomic_compare_exchange_n(address, &before, value, false,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return before;
}
WKV_FN uint32_t atomic_exchange(uint32_t* address, uint32_t value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
WKV_FN uint32_t atomic_compare_exchange(uint32_t* address, uint32_t expected, uint32_t value) {
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
WKV_FN uint32_t load_acquire(const uint32_t* address, Where where) {
  simt::yield_thread("ld.acquire", where);
  return __atomic_load_n(address, __ATOMIC_ACQUIRE);
}
WKV_FN void store_release(uint32_t* address, uint32_t value) {
  __atomic_store_n(address, value, __ATOMIC_RELEASE);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
