// Small arithmetic of kernels and launchers.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE {

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
