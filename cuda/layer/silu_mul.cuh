// out[r, c] = gate / (1 + exp(-gate)) * up
//
// exp(-|gate|) is at most 1, so nothing overflows on the way: for a negative gate both sides of the
// fraction are multiplied by exp(gate).
//
// Shared memory: none.

#pragma once

#include "layer/elementwise.cuh"
#include "ptx/number.h"

namespace windowkv::inline WKV_MACHINE::layer::silu_mul {

WKV_FN float silu(float x) {
  const float decay = ptx::exp2_approx(-fabsf(x) * kLog2E);
  return x * (x >= 0 ? 1 : decay) / (1 + decay);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    silu_mul_kernel(const __grid_constant__ wkv_silu_mul_params params) {
  for_each_vector(params.columns, [&](int64_t row, int64_t column) {
    const T* gate = static_cast<const T*>(params.gate) + row * params.gate_stride + column;
    const T* up = static_cast<const T*>(params.up) + row * params.up_stride + column;
    T* out = static_cast<T*>(params.out) + row * params.out_stride + column;
    float x[kVectorLength], y[kVectorLength];
    unpack<T>(load_vector(gate), x);
    unpack<T>(load_vector(up), y);
#pragma unroll
    for (int i = 0; i < kVectorLength; ++i) x[i] = silu(x[i]) * y[i];
    store_vector(out, pack_vector<T>(x));
  });
}

}  // namespace windowkv::inline WKV_MACHINE::layer::silu_mul
