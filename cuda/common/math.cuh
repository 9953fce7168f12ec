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

}  // namespace windowkv::inline WKV_MACHINE
