// y[r, :] = round(x[r, :] + residual[r, :]),  out[r, :] = y / sqrt(mean(y^2) + eps) * weight
//
// One block a row. Every thread holds the vectors of the row that it takes in registers while the
// block adds up the squares, in an order that depends on `hidden` alone: threads, then the lanes of
// a warp by shuffles, then the warps through shared memory. Of a longer row it reads the rest
// again, from `sum` where there is one: it alone reads and writes these places, so that outputs may
// be inputs.
//
// Shared memory: a float a warp.

#pragma once

#include "layer/config.cuh"
#include "ptx/barrier.h"
#include "ptx/shuffle.h"
#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::layer::rms_norm {

template <class T>
struct Row {
  const T* x;
  const T* residual;
  T* sum;

  WKV_FN explicit Row(const wkv_rms_norm_params& params) {
    const int64_t row = blockIdx.x;
    x = static_cast<const T*>(params.x) + row * params.x_stride;
    residual = static_cast<const T*>(params.residual);
    if (residual != nullptr) residual += row * params.residual_stride;
    sum = static_cast<T*>(params.sum);
    if (sum != nullptr) sum += row * params.sum_stride;
  }

  // y[column : column + 8]
  WKV_FN Vector add(int column) const {
    Vector y = load_vector(x + column);
    if (residual != nullptr) {
      float left[kVectorLength], right[kVectorLength];
      unpack<T>(y, left);
      unpack<T>(load_vector(residual + column), right);
#pragma unroll
      for (int i = 0; i < kVectorLength; ++i) left[i] += right[i];
      y = pack_vector<T>(left);
    }
    return y;
  }

  WKV_FN Vector add_and_store(int column) const {
    const Vector y = add(column);
    if (sum != nullptr) store_vector(sum + column, y);
    return y;
  }

  WKV_FN Vector read_again(int column) const {
    return sum != nullptr ? load_vector(sum + column) : add(column);
  }
};

template <class T>
WKV_FN float squares(const Vector& y) {
  float values[kVectorLength];
  unpack<T>(y, values);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kVectorLength; ++i) sum += values[i] * values[i];
  return sum;
}

// The sum over the block's threads, in every thread.
WKV_FN float block_sum(SharedStorage& smem, float value) {
  for (int distance = 16; distance > 0; distance /= 2) value += ptx::shuffle_xor(value, distance);
  if (ptx::lane_idx() == 0) smem.warp_sums[ptx::warp_idx()] = value;
  ptx::sync_threads();
  float sum = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) sum += smem.warp_sums[warp];
  return sum;
}

template <class T>
WKV_FN void store_normed(T* out, const T* weight, float factor, const Vector& y, int column) {
  float values[kVectorLength], weights[kVectorLength];
  unpack<T>(y, values);
  unpack<T>(load_vector(weight + column), weights);
#pragma unroll
  for (int i = 0; i < kVectorLength; ++i) values[i] = values[i] * factor * weights[i];
  store_vector(out + column, pack_vector<T>(values));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    rms_norm_kernel(const __grid_constant__ wkv_rms_norm_params params) {
  auto& smem = ptx::shared_memory<SharedStorage>();
  const Row<T> row(params);
  constexpr int kStep = kThreads * kVectorLength;
  const int first = threadIdx.x * kVectorLength;

  Vector held[kHeld];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int column = first + i * kStep;
    if (column < params.hidden) {
      held[i] = row.add_and_store(column);
      sum += squares<T>(held[i]);
    }
  }
  for (int64_t column = first + kHeld * kStep; column < params.hidden; column += kStep) {
    sum += squares<T>(row.add_and_store(column));
  }
  sum = block_sum(smem, sum);
  const float factor = 1 / sqrtf(sum / static_cast<float>(params.hidden) + params.eps);

  T* out = static_cast<T*>(params.out) + blockIdx.x * params.out_stride;
  const T* weight = static_cast<const T*>(params.weight);
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const int column = first + i * kStep;
    if (column < params.hidden) store_normed(out, weight, factor, held[i], column);
  }
  for (int64_t column = first + kHeld * kStep; column < params.hidden; column += kStep) {
    store_normed(out, weight, factor, row.read_again(column), column);
  }
}

}  // namespace windowkv::inline WKV_MACHINE::layer::rms_norm
