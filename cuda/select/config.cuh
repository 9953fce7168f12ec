// Sizes, shared memory and checks of the selection.

#pragma once

#include "common/check.h"
#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::select {

inline constexpr int kThreads = 256;
inline constexpr int kWarps = kThreads / 32;

// A key is four digits of 8 bits.
inline constexpr int kDigitBits = 8;
inline constexpr int kBins = 1 << kDigitBits;
inline constexpr int kPasses = 32 / kDigitBits;
static_assert(kThreads == kBins, "a thread clears one bin of each histogram");
static_assert(kBins % 32 == 0, "a lane scans a run of bins");

// Keys that a thread holds in registers: a row of up to 16,384 scores is read from memory once, a
// longer one again in each pass from there on.
inline constexpr int kHeldKeys = 64;
inline constexpr int kMaxWindows = 131072;

struct SharedStorage {
  uint32_t histograms[kPasses][kBins];
  // Keys of each warp above the threshold, and equal to it.
  uint32_t above[kWarps];
  uint32_t equal[kWarps];
};
static_assert(sizeof(SharedStorage) <= 8 * 1024);

inline wkv_status check(const wkv_select_params* params) {
  Check check("select");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params))) {
    return check.status();
  }
  const wkv_select_params& p = *params;
  const auto scores_stride = static_cast<long long>(p.scores_stride);
  const auto indices_stride = static_cast<long long>(p.indices_stride);
  check.require(p.rows >= 0, "rows is %d", p.rows);
  check.require(p.rows_per_sequence >= 1, "rows_per_sequence is %d, not at least 1",
                p.rows_per_sequence);
  check.require(p.rows_per_sequence < 1 || p.rows % p.rows_per_sequence == 0,
                "rows (%d) is not a multiple of rows_per_sequence (%d)", p.rows,
                p.rows_per_sequence);
  check.require(p.max_windows >= 0 && p.max_windows <= kMaxWindows,
                "max_windows is %d, not in [0, %d]: use longer windows", p.max_windows,
                kMaxWindows);
  check.require(p.max_keep >= 0, "max_keep is %d", p.max_keep);
  check.require(p.scores_stride >= p.max_windows || p.rows <= 1,
                "scores_stride is %lld, less than max_windows (%d): rows overlap", scores_stride,
                p.max_windows);
  check.require(p.indices_stride >= p.max_keep || p.rows <= 1,
                "indices_stride is %lld, less than max_keep (%d): rows overlap", indices_stride,
                p.max_keep);
  check.stride("scores", "_stride", p.scores_stride, p.rows, 1);
  check.stride("indices", "_stride", p.indices_stride, p.rows, 1);
  check.pointer("scores", p.scores, 4, p.rows > 0 && p.max_windows > 0);
  check.pointer("num_windows", p.num_windows, 4, p.rows > 0);
  check.pointer("num_keep", p.num_keep, 4, p.rows > 0);
  check.pointer("indices", p.indices, 4, p.rows > 0 && p.max_keep > 0);
  check.pointer("num_kept", p.num_kept, 4, p.rows > 0);
  check.pointer("flags", p.flags, 4, false);
  if (!check.ok()) return check.status();
  const int64_t sequences = p.rows / p.rows_per_sequence;
  check.apart({rows_of("indices", p.indices, p.rows, p.indices_stride, p.max_keep, sizeof(int32_t)),
               list_of("num_kept", p.num_kept, p.rows), list_of("flags", p.flags, 1)},
              {rows_of("scores", p.scores, p.rows, p.scores_stride, p.max_windows, sizeof(float)),
               list_of("num_windows", p.num_windows, sequences),
               list_of("num_keep", p.num_keep, sequences)});
  return check.status();
}

}  // namespace windowkv::inline WKV_MACHINE::select
