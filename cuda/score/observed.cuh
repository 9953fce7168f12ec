// What of a sequence is scored, from lengths in device memory: clamped to what is there.

#pragma once

#include "common/sequences.cuh"
#include "ptx/machine.h"
#include "score/config.cuh"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE::score {

struct Observed {
  Sequence q, kv;
  int rows;         // query rows that observe, the last of q
  int columns;      // review tokens
  int window_len;   // at least 1 where there are columns
  int top_tokens;   // in [1, window_len]
  int num_windows;  // the last may be shorter
  bool in_range;    // nothing was clamped that means something else now
};

WKV_FN Observed observe(const wkv_score_params& params, int batch_idx) {
  const wkv_observation given = params.observations[batch_idx];
  Observed observed = {};
  observed.q = sequence_of(params.sequences_q, batch_idx);
  observed.kv = sequence_of(params.sequences_kv, batch_idx);
  // A suffix may be longer than its sequence, but not than the rows of q where there are more keys.
  const bool rows_missing = given.window_len > 0 && given.query_len > observed.q.seqlen &&
                            observed.q.seqlen < observed.kv.seqlen;
  observed.in_range = !rows_missing && given.query_len >= 0 && given.suffix_len >= 0 &&
                      given.window_len >= 0 && (given.top_tokens >= 1 || given.window_len == 0) &&
                      !sequence_clamped(params.sequences_q, observed.q, batch_idx) &&
                      !sequence_clamped(params.sequences_kv, observed.kv, batch_idx);
  if (given.window_len <= 0) return observed;

  const int64_t suffix_len = clamp(given.suffix_len, 0, observed.kv.seqlen);
  observed.rows = static_cast<int>(clamp(given.query_len, 0, observed.q.seqlen));
  observed.columns = static_cast<int>(observed.kv.seqlen - suffix_len);
  // Not to a length of the batch, on which no order of a sum may depend.
  observed.window_len = static_cast<int>(clamp(given.window_len, 1, kMaxSeqlen));
  observed.top_tokens = static_cast<int>(clamp(given.top_tokens, 1, observed.window_len));
  observed.num_windows = (observed.columns + observed.window_len - 1) / observed.window_len;
  return observed;
}

// t[h, 0] of a sequence, in the workspace: [batch, num_heads_q, max_seqlen], or [num_heads_q, kv
// tokens] with cu_seqlens.
WKV_FN float* column_sums(const wkv_score_params& params, const Observed& observed, int batch_idx,
                          int head) {
  auto* sums = static_cast<float*>(params.workspace);
  const wkv_sequences& kv = params.sequences_kv;
  if (kv.cu_seqlens != nullptr) return sums + head * kv.num_tokens + observed.kv.first;
  return sums + (int64_t{batch_idx} * params.num_heads_q + head) * kv.max_seqlen;
}

}  // namespace windowkv::inline WKV_MACHINE::score
