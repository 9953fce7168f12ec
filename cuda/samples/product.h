// The checks that both products share.

#pragma once

#include <cstdint>

#include "windowkv_testing.h"

namespace windowkv::samples {

// Null, or what no machine could serve. tile_m: rows of c that one block computes.
inline const char* check_product(const wkv_product_params& params, int tile_m) {
  if (params.struct_size != sizeof(params))
    return "product: struct_size is not that of this library";
  if (params.m < 0 || params.n < 0 || params.k < 0) return "product: a size is negative";
  if (params.m > int64_t{65535} * tile_m || params.n > 0x7fffffff || params.k > 0x7fffffff) {
    return "product: a size is too large for the grid or for 32-bit coordinates";
  }
  if (params.dtype != WKV_F16 && params.dtype != WKV_BF16)
    return "product: dtype is not f16 or bf16";
  if (params.k % 8 != 0) return "product: k is not a multiple of 8";
  if (params.a_stride < params.k || params.b_stride < params.k || params.c_stride < params.n) {
    return "product: a stride is less than the row";
  }
  if (params.a_stride % 8 != 0 || params.b_stride % 8 != 0) {
    return "product: a_stride or b_stride is not a multiple of 8";
  }
  if (params.m == 0 || params.n == 0) return nullptr;
  if (params.c == nullptr) return "product: c is null";
  if (params.k > 0 && (params.a == nullptr || params.b == nullptr))
    return "product: a or b is null";
  if (reinterpret_cast<uintptr_t>(params.a) % 16 != 0 ||
      reinterpret_cast<uintptr_t>(params.b) % 16 != 0) {
    return "product: a or b is not 16-byte aligned";
  }
  return nullptr;
}

}  // namespace windowkv::samples
