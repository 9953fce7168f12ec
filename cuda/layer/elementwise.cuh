// How elementwise kernels share the vectors of a matrix: a block has kElementwiseVectors vectors of
// one row, and a thread kElementwiseUnroll of them.

#pragma once

#include "layer/config.cuh"
#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::layer {

// Calls visit(row, column) for each vector of the calling thread.
template <class Visit>
WKV_FN void for_each_vector(int columns, const Visit& visit) {
  const unsigned blocks = blocks_of_row(columns);
  const int64_t row = blockIdx.x / blocks;
  const unsigned first = blockIdx.x % blocks * kElementwiseVectors + threadIdx.x;
#pragma unroll
  for (int i = 0; i < kElementwiseUnroll; ++i) {
    const unsigned column = (first + i * kThreads) * kVectorLength;
    if (column < static_cast<unsigned>(columns)) visit(row, column);
  }
}

}  // namespace windowkv::inline WKV_MACHINE::layer
