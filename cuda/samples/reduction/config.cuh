// Shapes and shared memory of the row sum.

#pragma once

#include "common/math.cuh"
#include "ptx/machine.h"
#include "windowkv_testing.h"

namespace windowkv::inline WKV_MACHINE::reduction {

inline constexpr int kThreads = 256;
inline constexpr int kWarps = kThreads / 32;

struct SharedStorage {
  float warp_sums[kWarps];
};

// Null, or what no machine could serve.
inline const char* check(const wkv_row_sum_params& params) {
  if (params.struct_size != sizeof(params))
    return "row_sum: struct_size is not that of this library";
  if (params.rows < 0 || params.columns < 0) return "row_sum: a size is negative";
  if (params.rows > 0x7fffffff) return "row_sum: more than 2^31 - 1 rows";
  if (params.input_stride < params.columns) return "row_sum: input_stride is less than columns";
  if (params.rows > 0 && params.output == nullptr) return "row_sum: output is null";
  if (params.rows > 0 && params.columns > 0 && params.input == nullptr) {
    return "row_sum: input is null";
  }
  return nullptr;
}

}  // namespace windowkv::inline WKV_MACHINE::reduction
