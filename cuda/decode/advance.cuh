// values[i] += amount where values[i] >= 0: cache lengths, positions, steps. A thread a value.

#pragma once

#include "common/check.h"
#include "common/math.cuh"
#include "ptx/thread.h"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE::decode {

inline constexpr int kAdvanceThreads = 128;

inline wkv_status check(const wkv_advance_params* params) {
  Check check("advance");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params)) ||
      !check.require(params->count >= 0, "count is %d", params->count)) {
    return check.status();
  }
  check.pointer("values", params->values, 4, params->count > 0);
  return check.status();
}

__global__ void __launch_bounds__(kAdvanceThreads)
    advance_kernel(const __grid_constant__ wkv_advance_params params) {
  const int64_t i = int64_t{blockIdx.x} * kAdvanceThreads + threadIdx.x;
  if (i >= params.count || params.values[i] < 0) return;
  // A sum outside 32 bits stays at their end.
  const int64_t sum = int64_t{params.values[i]} + params.amount;
  params.values[i] = static_cast<int32_t>(min<int64_t>(sum, 0x7fffffff));
}

}  // namespace windowkv::inline WKV_MACHINE::decode
