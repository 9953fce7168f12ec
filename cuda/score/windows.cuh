// window_scores[w] = mean over heads h of the mean of the top_tokens largest pool(t[h, j]), j in w
//
// One block takes the windows that begin in some 32 columns, or one longer window; its eight warps
// share the heads. Of windows up to 32 tokens, a warp takes several at once, a lane a column: each
// lane counts the columns of its window that come before its own in descending order (ties: the
// lower index first), and the window's sum is over those with a low rank. In a longer window a warp
// finds the least of the largest by halving: it fixes its key bit by bit from the top, counting how
// many are at least so large. Both are exact.
//
// Order of a sum: over a short window in the order of columns; over a long one by lanes, then
// over lanes in pairs; over the heads of a warp, then over warps. It depends on the window and the
// number of heads alone.
//
// Shared memory: a sum for each warp and window.

#pragma once

#include "common/order.cuh"
#include "ptx/barrier.h"
#include "ptx/shuffle.h"
#include "ptx/thread.h"
#include "ptx/vote.h"
#include "score/pool.cuh"

namespace windowkv::inline WKV_MACHINE::score {

// The sum over the lanes of the warp, in every lane.
WKV_FN float sum_over_warp(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += ptx::shuffle_xor(value, distance);
  return value;
}

// Means of windows of up to 32 columns that lie side by side in the lanes, in every lane of each.
// `tokens`: columns of this lane's window; `inside`: this lane has one of them.
WKV_FN float mean_of_lanes(float value, bool inside, int window_len, int top_tokens, int tokens) {
  const int lane_idx = ptx::lane_idx();
  const int first_lane = lane_idx / window_len * window_len;
  bool counts = inside;
  if (top_tokens < window_len) {
    // A lane without a column has the least key.
    const uint32_t key = inside ? ordered_key(value) : 0;
    int rank = 0;
    for (int i = 0; i < window_len; ++i) {
      const uint32_t other = ptx::shuffle(key, first_lane + i);
      rank += other > key || (other == key && first_lane + i < lane_idx);
    }
    counts = inside && rank < top_tokens;
  }
  // Left out, not multiplied by 0: it may be infinite.
  const float part = counts ? value : 0;
  float sum = 0;
  for (int i = 0; i < window_len; ++i) sum += ptx::shuffle(part, first_lane + i);
  return sum / static_cast<float>(min(top_tokens, tokens));
}

// The mean of the largest `count` of value(0) .. value(tokens - 1), in every lane.
template <class Value>
WKV_FN float mean_of_largest(int tokens, int count, const Value& value) {
  const int lane_idx = ptx::lane_idx();
  const int steps = ceil_div(tokens, 32);
  float held[kHeldValues];
#pragma unroll
  for (int i = 0; i < kHeldValues; ++i) {
    held[i] = i * 32 + lane_idx < tokens ? value(i * 32 + lane_idx) : 0;
  }
  // Calls visit(number) for this lane's numbers.
  const auto for_each = [&](const auto& visit) {
#pragma unroll
    for (int i = 0; i < kHeldValues; ++i) {
      if (i * 32 + lane_idx < tokens) visit(held[i]);
    }
    for (int i = kHeldValues; i < steps; ++i) {
      if (i * 32 + lane_idx < tokens) visit(value(i * 32 + lane_idx));
    }
  };

  // The largest key that at least `count` numbers reach; every number reaches 0.
  uint32_t least = 0;
  if (count < tokens) {
    for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
      uint32_t reached = 0;
      for_each([&](float number) { reached += ordered_key(number) >= (least | bit); });
      reached = ptx::reduce_add(reached);
      if (reached >= static_cast<uint32_t>(count)) least |= bit;
      if (reached == static_cast<uint32_t>(count)) break;
    }
  }
  uint32_t above = 0;
  uint32_t equal = 0;
  float sum = 0;
  for_each([&](float number) {
    const uint32_t key = ordered_key(number);
    if (key > least) sum += number;
    above += key > least;
    equal += key == least;
  });
  above = ptx::reduce_add(above);
  equal = ptx::reduce_add(equal);
  sum = sum_over_warp(sum);
  // Of those equal to the least, as many as are wanted: they are all the same.
  const uint32_t missing = static_cast<uint32_t>(count) - above;
  const uint32_t taken = min(missing, equal);
  if (taken > 0) sum += static_cast<float>(taken) * value_of_key(least);
  return sum / static_cast<float>(count);
}

__global__ void __launch_bounds__(kWindowThreads)
    score_windows_kernel(const __grid_constant__ wkv_score_params params) {
  auto& smem = ptx::shared_memory<WindowsStorage>();
  const int warp_idx = ptx::warp_idx();
  const int lane_idx = ptx::lane_idx();
  const int batch_idx = static_cast<int>(blockIdx.x) % params.batch;
  const int tile = static_cast<int>(blockIdx.x) / params.batch;
  const Observed observed = observe(params, batch_idx);
  if (tile == 0 && threadIdx.x == 0) {
    if (!observed.in_range) raise_flag(params.flags, WKV_FLAG_RANGE);
    if (observed.num_windows > params.max_windows) raise_flag(params.flags, WKV_FLAG_CAPACITY);
  }
  const int windows = min(observed.num_windows, params.max_windows);
  const int window_len = observed.window_len;
  const bool is_short = window_len <= 32;
  const int of_block = is_short && window_len > 0 ? 32 / window_len : 1;
  if (tile >= ceil_div(windows, of_block)) return;

  // This lane's window, and its column there.
  const int in_block = is_short ? lane_idx / window_len : 0;
  const int window = tile * of_block + in_block;
  const int first_column = window * window_len;
  const int left = observed.columns - first_column;
  const int tokens = min(left, window_len);
  const int token = lane_idx - in_block * window_len;
  const bool inside = in_block < of_block && window < windows && token < tokens;

  float sum = 0;
  for (int head = warp_idx; head < params.num_heads_q; head += kWindowWarps) {
    const float* t_gmem = column_sums(params, observed, batch_idx, head);
    const auto pooled_at = [&](int column) {
      return pooled(params, observed.columns, column, [&](int j) { return t_gmem[j]; });
    };
    if (is_short) {
      const float value = inside ? pooled_at(first_column + token) : 0;
      sum += mean_of_lanes(value, inside, window_len, observed.top_tokens, tokens);
    } else {
      const int count = observed.top_tokens < tokens ? observed.top_tokens : tokens;
      sum += mean_of_largest(tokens, count, [&](int i) { return pooled_at(first_column + i); });
    }
  }
  // One lane of each window.
  if (token == 0) smem.sums[warp_idx][in_block] = sum;
  ptx::sync_threads();

  if (warp_idx == 0 && token == 0 && inside) {
    float total = 0;
    for (int warp = 0; warp < kWindowWarps && warp < params.num_heads_q; ++warp) {
      total += smem.sums[warp][in_block];
    }
    params.window_scores.data[batch_idx * params.window_scores.batch_stride + window] =
        total / static_cast<float>(params.num_heads_q);
  }
}

}  // namespace windowkv::inline WKV_MACHINE::score
