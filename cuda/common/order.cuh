// The order of floats as the order of unsigned integers.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE {

// The keys of the least number, and of every NaN.
inline constexpr uint32_t kKeyOfMinusInfinity = 0x007fffff;
inline constexpr uint32_t kKeyOfNan = 0xffffffff;

// Ascends with the value; -0 equals 0, and NaN comes after +inf. Never 0.
WKV_FN uint32_t ordered_key(float value) {
  if (value != value) return kKeyOfNan;
  // -0 + 0 is +0.
  const auto bits = __builtin_bit_cast(uint32_t, value + 0.0f);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000;
}

// The value that has the key.
WKV_FN float value_of_key(uint32_t key) {
  return __builtin_bit_cast(float, key >> 31 != 0 ? key & 0x7fffffff : ~key);
}

}  // namespace windowkv::inline WKV_MACHINE
