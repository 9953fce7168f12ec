#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

template <class T>
WKV_FN T atomic_add(T* address, T value) {
  return atomicAdd(address, value);
}
template <>
WKV_FN uint64_t atomic_add<uint64_t>(uint64_t* address, uint64_t value) {
  return atomicAdd(reinterpret_cast<unsigned long long*>(address),
                   static_cast<unsigned long long>(value));
}
template <class T>
WKV_FN T atomic_min(T* address, T value) {
  return atomicMin(address, value);
}
template <class T>
WKV_FN T atomic_max(T* address, T value) {
  return atomicMax(address, value);
}
WKV_FN uint32_t atomic_exchange(uint32_t* address, uint32_t value) {
  return atomicExch(address, value);
}
WKV_FN uint32_t atomic_compare_exchange(uint32_t* address, uint32_t expected, uint32_t value) {
  return atomicCAS(address, expected, value);
}
WKV_FN uint32_t load_acquire(const uint32_t* address, Where) {
  uint32_t value;
  asm volatile("ld.acquire.gpu.b32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}
WKV_FN void store_release(uint32_t* address, uint32_t value) {
  asm volatile("st.release.gpu.b32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
