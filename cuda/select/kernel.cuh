// indices[r, :] = the num_keep largest of scores[r, 0 : num_windows], ascending; ties to the lower
// index
//
// One block a row. Scores become integers of the same order, of which each warp takes a run of
// adjacent ones. A radix select finds the least key that is kept, a digit of 8 bits at a time from
// the top: all warps count the keys that share the digits found so far by their next digit, meet
// once, and then each finds the digit by itself in which the last kept key lies. It ends early when
// all keys of a digit are kept. Counts of the runs then tell each warp where its kept indices go:
// index i comes after the kept ones below it, which are those above the threshold, and the first of
// those equal to it. Counts are integers, so the result does not depend on any order.
//
// Shared memory: a histogram of 256 bins a digit (4 KB), two counts a warp.

#pragma once

#include "common/flags.cuh"
#include "common/math.cuh"
#include "common/order.cuh"
#include "common/sequences.cuh"
#include "ptx/atomics.h"
#include "ptx/barrier.h"
#include "ptx/shuffle.h"
#include "ptx/thread.h"
#include "ptx/vote.h"
#include "select/config.cuh"

namespace windowkv::inline WKV_MACHINE::select {

// NaN counts as -inf.
WKV_FN uint32_t key_of(float score) {
  return score == score ? ordered_key(score) : kKeyOfMinusInfinity;
}

// The run of scores that a warp takes, 32 at a time. The keys of the first kHeldKeys steps stay in
// registers. Past the end of the row lie keys of 0, which are less than any score's.
struct Run {
  const float* scores;  // scores_gmem[r, 0]
  int num_windows;
  int first;  // index of this lane's score in step 0
  int steps;
  uint32_t held[kHeldKeys];

  WKV_FN uint32_t read(int step) const {
    const int index = first + step * 32;
    return index < num_windows ? key_of(scores[index]) : 0;
  }

  // Loads the held keys; true when this lane has met a NaN anywhere in its run.
  WKV_FN bool load() {
    // All loads first, so that they are in flight together.
#pragma unroll
    for (int step = 0; step < kHeldKeys; ++step) {
      if (step >= steps) break;
      const int index = first + step * 32;
      held[step] = index < num_windows ? __builtin_bit_cast(uint32_t, scores[index]) : 0;
    }
    bool nan = false;
#pragma unroll
    for (int step = 0; step < kHeldKeys; ++step) {
      if (step >= steps) break;
      const auto score = __builtin_bit_cast(float, held[step]);
      const bool inside = first + step * 32 < num_windows;
      nan |= inside && score != score;
      held[step] = inside ? key_of(score) : 0;
    }
    for (int step = kHeldKeys; step < steps; ++step) {
      const int index = first + step * 32;
      nan |= index < num_windows && scores[index] != scores[index];
    }
    return nan;
  }

  // Calls visit(step, key) in ascending order.
  template <class Visit>
  WKV_FN void for_each(const Visit& visit) const {
#pragma unroll
    for (int step = 0; step < kHeldKeys; ++step) {
      if (step >= steps) break;
      visit(step, held[step]);
    }
    for (int step = kHeldKeys; step < steps; ++step) visit(step, read(step));
  }
};

// What is kept: the keys above `key`, and the first `equal` of those equal to it.
struct Threshold {
  uint32_t key;
  uint32_t equal;
};

// The digit in which the key lies that has `rank` keys above it.
struct Digit {
  uint32_t digit;
  uint32_t count;  // keys with this digit
  uint32_t rank;   // keys with this digit that are above
};

// Called by all lanes of a warp, each of which gets the result. Lane 0 has the highest digits.
WKV_FN Digit find_digit(const uint32_t (&histogram)[kBins], uint32_t rank) {
  constexpr int kLaneBins = kBins / 32;
  const int lane_idx = ptx::lane_idx();
  const int highest = kBins - 1 - lane_idx * kLaneBins;
  uint32_t counts[kLaneBins];
  uint32_t sum = 0;
#pragma unroll
  for (int i = 0; i < kLaneBins; ++i) {
    counts[i] = histogram[highest - i];
    sum += counts[i];
  }
  uint32_t through = sum;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint32_t before = ptx::shuffle_up(through, distance);
    if (lane_idx >= distance) through += before;
  }
  // The first lane whose bins reach past the rank.
  const int lane = 32 - count_bits(ptx::ballot(through > rank));
  Digit found = {0, 0, 0};
  uint32_t above = through - sum;
#pragma unroll
  for (int i = 0; i < kLaneBins; ++i) {
    if (above <= rank && rank < above + counts[i]) {
      found = {static_cast<uint32_t>(highest - i), counts[i], rank - above};
    }
    above += counts[i];
  }
  return {ptx::shuffle(found.digit, lane), ptx::shuffle(found.count, lane),
          ptx::shuffle(found.rank, lane)};
}

// The threshold of the num_keep largest of all keys, in [1, keys]. Called by all threads, whose
// histograms are clear.
WKV_FN Threshold find_threshold(SharedStorage& smem, const Run& run, int num_keep) {
  uint32_t digits = 0;
  uint32_t rank = num_keep - 1;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const int shift = 32 - (pass + 1) * kDigitBits;
    run.for_each([&](int, uint32_t key) {
      const bool shares = pass == 0 || key >> shift >> kDigitBits == digits;
      if (shares && key != 0) {
        ptx::atomic_add(&smem.histograms[pass][key >> shift & (kBins - 1)], 1u);
      }
    });
    ptx::sync_threads();

    const Digit found = find_digit(smem.histograms[pass], rank);
    digits = digits << kDigitBits | found.digit;
    rank = found.rank;
    if (rank + 1 == found.count) {
      // All keys that begin with these digits are kept.
      const uint32_t least = digits << shift;
      return {least == 0 ? 0 : least - 1, 0};
    }
  }
  return {digits, rank + 1};
}

// indices_gmem[0 : num_keep] = the indices of the kept keys, ascending
WKV_FN void write_kept(SharedStorage& smem, const Run& run, const Threshold& threshold,
                       int32_t* indices) {
  const int warp_idx = ptx::warp_idx();
  const int lane_idx = ptx::lane_idx();
  uint32_t above = 0;
  uint32_t equal = 0;
  run.for_each([&](int, uint32_t key) {
    above += key > threshold.key;
    equal += key == threshold.key;
  });
  above = ptx::reduce_add(above);
  equal = ptx::reduce_add(equal);
  if (lane_idx == 0) {
    smem.above[warp_idx] = above;
    smem.equal[warp_idx] = equal;
  }
  ptx::sync_threads();

  // Keys of the runs before this one.
  above = 0;
  equal = 0;
  for (int warp = 0; warp < warp_idx; ++warp) {
    above += smem.above[warp];
    equal += smem.equal[warp];
  }
  const uint32_t lanes_before = (1u << lane_idx) - 1;
  run.for_each([&](int step, uint32_t key) {
    const uint32_t lanes_above = ptx::ballot(key > threshold.key);
    const uint32_t lanes_equal = ptx::ballot(key == threshold.key);
    const uint32_t above_before = above + count_bits(lanes_above & lanes_before);
    const uint32_t equal_before = equal + count_bits(lanes_equal & lanes_before);
    if (key > threshold.key || (key == threshold.key && equal_before < threshold.equal)) {
      const uint32_t equal_kept = min(equal_before, threshold.equal);
      indices[above_before + equal_kept] = run.first + step * 32;
    }
    above += count_bits(lanes_above);
    equal += count_bits(lanes_equal);
  });
}

__global__ void __launch_bounds__(kThreads)
    select_kernel(const __grid_constant__ wkv_select_params params) {
  auto& smem = ptx::shared_memory<SharedStorage>();
  const int64_t row = blockIdx.x;
  const int sequence = static_cast<int>(row) / params.rows_per_sequence;
  const int windows_given = params.num_windows[sequence];
  const int keep_given = params.num_keep[sequence];
  const auto num_windows = static_cast<int>(clamp(windows_given, 0, params.max_windows));
  const auto wanted = static_cast<int>(clamp(keep_given, 0, num_windows));
  const int num_keep = min(wanted, params.max_keep);
  int32_t* indices = params.indices + row * params.indices_stride;

  if (threadIdx.x == 0) {
    params.num_kept[row] = num_keep;
    if (windows_given != num_windows || keep_given < 0) raise_flag(params.flags, WKV_FLAG_RANGE);
    if (wanted != num_keep) raise_flag(params.flags, WKV_FLAG_CAPACITY);
  }
  if (wanted == num_windows) {
    // A row that is kept whole may have no scores.
    for (int i = threadIdx.x; i < num_keep; i += kThreads) indices[i] = i;
    return;
  }
  if (num_keep == 0) return;

#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) smem.histograms[pass][threadIdx.x] = 0;

  Run run;
  run.scores = params.scores + row * params.scores_stride;
  run.num_windows = num_windows;
  run.steps = ceil_div(num_windows, kThreads);
  run.first = ptx::warp_idx() * run.steps * 32 + ptx::lane_idx();
  if (ptx::vote_any(run.load()) && ptx::lane_idx() == 0) raise_flag(params.flags, WKV_FLAG_NAN);
  ptx::sync_threads();

  const Threshold threshold = find_threshold(smem, run, num_keep);
  write_kept(smem, run, threshold, indices);
}

}  // namespace windowkv::inline WKV_MACHINE::select
