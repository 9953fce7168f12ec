// A tensor map: how TMA sees a tensor in global memory, and the box that one instruction copies.
//
// CUDA driver: cuTensorMapEncodeTiled; PTX: "Tensors". SM: 90. Made by a launcher on the host and
// passed to the kernel by value, as a __grid_constant__ parameter.

#pragma once

#include "ptx/machine.h"
#include "ptx/swizzle.h"

namespace windowkv::inline WKV_MACHINE::ptx {

struct alignas(64) TensorMap {
  uint64_t opaque[16];
};

enum class Element { kHalf, kBfloat16, kFloat, kUint8 };
// What TMA writes for elements outside the tensor: zero, or a NaN (floating-point elements only).
enum class Fill { kZero, kNan };

inline constexpr int kMaxTensorRank = 4;

// Dimension 0 is the innermost, whose elements are adjacent.
struct TensorMapSpec {
  Element element;
  int rank;                               // 2 to 4
  const void* base;                       // 16-byte aligned
  uint64_t size[kMaxTensorRank];          // in elements, in [1, 2^32]
  uint64_t stride_bytes[kMaxTensorRank];  // of dimension 1 and up; multiples of 16, below 2^40
  uint32_t box[kMaxTensorRank];           // in elements, in [1, 256]
  Swizzle swizzle;                        // box[0] fills exactly one row of it, unless kNone
  Fill fill;
};

// Null on success, else what is wrong with the specification (or with the driver).
inline const char* encode_tensor_map(TensorMap& map, const TensorMapSpec& spec);

WKV_BOTH int element_bytes(Element element) {
  return element == Element::kFloat ? 4 : element == Element::kUint8 ? 1 : 2;
}

// The rules that both machines share; null when the specification keeps them.
inline const char* check_tensor_map(const TensorMapSpec& spec) {
  if (spec.rank < 2 || spec.rank > kMaxTensorRank) return "tensor map: the rank is not 2, 3 or 4";
  if (reinterpret_cast<uintptr_t>(spec.base) % 16 != 0) {
    return "tensor map: the base is not a multiple of 16 bytes";
  }
  const uint64_t inner_bytes =
      uint64_t{spec.box[0]} * static_cast<uint64_t>(element_bytes(spec.element));
  for (int i = 0; i < spec.rank; ++i) {
    if (spec.size[i] < 1 || spec.size[i] > uint64_t{1} << 32) {
      return "tensor map: a size is not in [1, 2^32]";
    }
    if (spec.box[i] < 1 || spec.box[i] > 256) return "tensor map: a box side is not in [1, 256]";
    if (i > 0 && (spec.stride_bytes[i] % 16 != 0 || spec.stride_bytes[i] >= uint64_t{1} << 40)) {
      return "tensor map: a stride is not a multiple of 16 bytes below 2^40";
    }
  }
  if (inner_bytes % 16 != 0) return "tensor map: a row of the box is not a multiple of 16 bytes";
  if (spec.swizzle != Swizzle::kNone &&
      inner_bytes != static_cast<uint64_t>(swizzle_bytes(spec.swizzle))) {
    return "tensor map: a row of the box is not one row of the swizzle";
  }
  if (spec.fill == Fill::kNan && spec.element == Element::kUint8) {
    return "tensor map: bytes have no NaN to fill with";
  }
  return nullptr;
}

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(tensor_map)
