// Small arithmetic of kernels and launchers.

#pragma once

#include <cstdint>
#include <limits>

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
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

WKV_BOTH int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

// The quotient, rounded up; a is not negative, b is positive.
template <class T>
WKV_BOTH T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

// How many bits are set: popc.b32 on a GPU.
WKV_FN int count_bits(uint32_t word) { return __builtin_popcount(word); }

// The upper half of a product: floor(a * b / 2^64).
WKV_FN uint64_t multiply_high(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}

}  // namespace windowkv::inline WKV_MACHINE
