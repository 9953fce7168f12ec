// out[r, :] = table[ids[r], :], and zeros where there is no such row
//
// Shared memory: none.

#pragma once

#include "common/flags.cuh"
#include "layer/elementwise.cuh"

namespace windowkv::inline WKV_MACHINE::layer::embedding {

__global__ void __launch_bounds__(kThreads)
    embedding_kernel(const __grid_constant__ wkv_embedding_params params) {
  for_each_vector(params.hidden, [&](int64_t row, int64_t column) {
    const int32_t id = params.ids[row];
    const bool inside = id >= 0 && id < params.vocab;
    Vector vector = {};
    if (inside) {
      vector = load_vector(static_cast<const uint16_t*>(params.table) + id * params.table_stride +
                           column);
    }
    store_vector(static_cast<uint16_t*>(params.out) + row * params.out_stride + column, vector);
    if (!inside && column == 0) raise_flag(params.flags, WKV_FLAG_RANGE);
  });
}

}  // namespace windowkv::inline WKV_MACHINE::layer::embedding
