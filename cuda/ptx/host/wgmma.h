#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

// One wgmma as the emulated GPU takes it.
struct WgmmaArguments {
  bool bfloat16;
  int n;
  Major major_a, major_b;
  float* d;
  const uint32_t* a_registers;  // null: a is in shared memory
  uint64_t a, b;
  bool accumulate;
};
void wgmma_issue(const WgmmaArguments& arguments, Where where);
void wgmma_wait_groups(int pending_groups, Where where);
void wgmma_fence(Where where);
void wgmma_commit(Where where);

template <class T>
inline constexpr bool kIsBfloat16 = false;
template <>
inline constexpr bool kIsBfloat16<Bfloat16> = true;

template <class T, int N, Major kMajorA, Major kMajorB>
WKV_FN void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, Where where) {
  static_assert(N % 8 == 0 && N >= 8 && N <= 256);
  wgmma_issue({kIsBfloat16<T>, N, kMajorA, kMajorB, d, nullptr, a, b, accumulate}, where);
}
template <class T, int N, Major kMajorB>
WKV_FN void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate,
                  Where where) {
  static_assert(N % 8 == 0 && N >= 8 && N <= 256);
  wgmma_issue({kIsBfloat16<T>, N, Major::kK, kMajorB, d, a, 0, b, accumulate}, where);
}
template <int N>
WKV_FN void wgmma_wait(Where where) {
  wgmma_wait_groups(N, where);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
