// output[r] = sum_c input[r, c]
//
// One block a row. Every thread adds its columns, every warp its threads' sums with shuffles, and
// the first warp the sums of the warps, which travel through shared memory. The order of the
// additions depends on nothing but the number of columns, so the same input gives the same bits.

#pragma once

#include "ptx/barrier.h"
#include "ptx/shuffle.h"
#include "ptx/thread.h"
#include "samples/reduction/config.cuh"

namespace windowkv::inline WKV_MACHINE::reduction {

// The sum over the lanes of the warp, in every lane.
WKV_FN float warp_sum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) value += ptx::shuffle_xor(value, distance);
  return value;
}

__global__ void __launch_bounds__(kThreads) row_sum_kernel(wkv_row_sum_params params) {
  auto& smem = ptx::shared_memory<SharedStorage>();
  const int warp_idx = ptx::warp_idx();
  const int lane_idx = ptx::lane_idx();
  const float* row = params.input + blockIdx.x * params.input_stride;

  float sum = 0;
  for (int64_t c = threadIdx.x; c < params.columns; c += kThreads) sum += row[c];

  sum = warp_sum(sum);
  if (lane_idx == 0) smem.warp_sums[warp_idx] = sum;
  ptx::sync_threads();

  if (warp_idx == 0) {
    sum = warp_sum(lane_idx < kWarps ? smem.warp_sums[lane_idx] : 0);
    if (lane_idx == 0) params.output[blockIdx.x] = sum;
  }
}

}  // namespace windowkv::inline WKV_MACHINE::reduction
