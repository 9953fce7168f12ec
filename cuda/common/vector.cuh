// 16 bytes, the most that a thread loads or stores at once, and the eight half-precision numbers in
// them.

#pragma once

#include "ptx/machine.h"
#include "ptx/number.h"

namespace windowkv::inline WKV_MACHINE {

struct alignas(16) Vector {
  uint32_t words[4];
};

// Half-precision numbers of a vector.
inline constexpr int kVectorLength = 8;

template <class T>
WKV_FN void unpack(const Vector& vector, float (&values)[kVectorLength]) {
#pragma unroll
  for (int i = 0; i < kVectorLength; ++i) {
    values[i] = ptx::to_float(T{static_cast<uint16_t>(vector.words[i / 2] >> i % 2 * 16)});
  }
}

template <class T>
WKV_FN Vector pack_vector(const float (&values)[kVectorLength]) {
  Vector vector;
#pragma unroll
  for (int i = 0; i < 4; ++i) vector.words[i] = ptx::pack<T>(values[2 * i], values[2 * i + 1]);
  return vector;
}

// The 16 bytes that start at an element; they are 16-byte aligned.
template <class T>
WKV_FN Vector load_vector(const T* elements) {
  return *reinterpret_cast<const Vector*>(elements);
}

template <class T>
WKV_FN void store_vector(T* elements, const Vector& vector) {
  *reinterpret_cast<Vector*>(elements) = vector;
}

}  // namespace windowkv::inline WKV_MACHINE
