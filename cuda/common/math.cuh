// Small arithmetic of kernels and launchers.

#pragma once

#include <limits>

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
// exp(x) = exp2(x * kLog2E), log(x) = log2(x) * kLn2
inline constexpr float kLog2E = 1.44269504088896340736f;
inline constexpr float kLn2 = 0.69314718055994530942f;

template <class T>
WKV_BOTH T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
WKV_BOTH T max(T a, T b) {
  return a < b ? b : a;
}

// The quotient, rounded up; a is not negative, b is positive.
template <class T>
WKV_BOTH T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

// How many bits are set: popc.b32 on a GPU.
WKV_FN int count_bits(uint32_t word) { return __builtin_popcount(word); }

}  // namespace windowkv::inline WKV_MACHINE
