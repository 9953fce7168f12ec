// column_scores[c, j] = pool(mean over the query heads h of c of t[h, j])
//
// One thread a number. Neighbours are read again by each of them, from the cache.

#pragma once

#include "common/flags.cuh"
#include "score/config.cuh"
#include "score/observed.cuh"

namespace windowkv::inline WKV_MACHINE::score {

// The pool around a column, stride 1: the average counts zeros outside [0, columns), the maximum
// does not look there. NaN stays NaN. `value(j)` is the number of column j.
template <class Value>
WKV_FN float pooled(const wkv_score_params& params, int columns, int column, const Value& value) {
  const int half = params.pooling_width / 2;
  const int first = column < half ? 0 : column - half;
  const int last = columns - 1 - column < half ? columns - 1 : column + half;
  if (params.pooling == WKV_POOL_AVERAGE) {
    float sum = 0;
    for (int j = first; j <= last; ++j) sum += value(j);
    return sum / static_cast<float>(params.pooling_width);
  }
  float largest = value(first);
  for (int j = first + 1; j <= last; ++j) {
    const float other = value(j);
    if (other > largest || other != other) largest = other;
  }
  return largest;
}

__global__ void __launch_bounds__(kPoolThreads)
    score_pool_kernel(const __grid_constant__ wkv_score_params params) {
  const int head = static_cast<int>(blockIdx.x) % params.column_heads;
  const int batch_idx = static_cast<int>(blockIdx.x) / params.column_heads % params.batch;
  const int tile = static_cast<int>(blockIdx.x) / params.column_heads / params.batch;
  const Observed observed = observe(params, batch_idx);
  if (tile == 0 && head == 0 && threadIdx.x == 0) {
    if (!observed.in_range) raise_flag(params.flags, WKV_FLAG_RANGE);
    if (observed.columns > params.max_columns) raise_flag(params.flags, WKV_FLAG_CAPACITY);
  }
  const int column = tile * kPoolThreads + static_cast<int>(threadIdx.x);
  if (column >= observed.columns || column >= params.max_columns) return;

  const int group = params.num_heads_q / params.column_heads;
  const float* t_gmem = column_sums(params, observed, batch_idx, head * group);
  const float* next_t_gmem = column_sums(params, observed, batch_idx, head * group + 1);
  const int64_t head_stride = next_t_gmem - t_gmem;
  const float score = pooled(params, observed.columns, column, [&](int j) {
    float sum = 0;
    for (int h = 0; h < group; ++h) sum += t_gmem[h * head_stride + j];
    return sum / static_cast<float>(group);
  });
  params.column_scores.data[batch_idx * params.column_scores.batch_stride +
                            head * params.column_scores.head_stride + column] = score;
}

}  // namespace windowkv::inline WKV_MACHINE::score
