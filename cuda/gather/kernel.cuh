// cache[b, p, h, :] = source[b, position(b, h, p), h, :] for p in [0, kept_lens[b]), of K and V of
// each layer, where position(b, h, p) is
//
//   indices[p / window_len] * window_len + p % window_len   in the chosen windows, ascending
//   review_len + p - (tokens of the chosen windows)         in the suffix
//
// A block moves rows of one layer, of K or V, of one sequence and one KV head, or a slice of these
// rows: every thread has kInFlight pieces of 16 bytes in flight. Out of place, `num_chunks` blocks
// share the tokens. In place, one block walks them in ascending order. A token never moves up, so a
// step overwrites nothing that a later step reads; what the step itself reads is read by all
// threads before any of them writes.
//
// Nothing is rounded: the copies are exact. Shared memory: none.

#pragma once

#include "common/cache.cuh"
#include "common/flags.cuh"
#include "common/sequences.cuh"
#include "gather/config.cuh"
#include "ptx/barrier.h"
#include "ptx/thread.h"
#include "ptx/vote.h"

namespace windowkv::inline WKV_MACHINE::gather {

// What one list of windows keeps of one sequence. Tokens are counted in 32 bits: a sequence has
// fewer than 2^31.
struct Selection {
  const int32_t* indices;
  uint32_t num_windows;
  uint32_t window_len;
  uint32_t num_kept;    // windows
  uint32_t num_chosen;  // tokens of these windows
  uint32_t review_len;
  uint32_t seqlen;
};

// Ascending lists have indices[slot] >= slot; others are bent into that shape, so that no token
// moves up and none is read outside the sequence.
WKV_FN uint32_t window_at(const Selection& selection, uint32_t slot) {
  return static_cast<uint32_t>(
      clamp(selection.indices[slot], slot, int64_t{selection.num_windows} - 1));
}

WKV_FN uint32_t source_token(const Selection& selection, uint32_t p) {
  if (p >= selection.num_chosen) return selection.review_len + (p - selection.num_chosen);
  const uint32_t slot = p / selection.window_len;
  const uint32_t inside = p - slot * selection.window_len;
  const uint32_t token = window_at(selection, slot) * selection.window_len + inside;
  return min(token, selection.seqlen - 1);
}

// What list `list` keeps of sequence `batch_idx`; *out_of_range: whether its numbers had to be
// clamped.
WKV_FN Selection select_tokens(const wkv_gather_params& params, int batch_idx, int list,
                               int64_t seqlen, bool* out_of_range) {
  const wkv_observation& observation = params.observations[batch_idx];
  // Loaded together with the rest, before anything waits for it.
  const int64_t wanted =
      params.max_keep == 0 ? 0 : params.num_kept[int64_t{batch_idx} * params.index_heads + list];
  Selection selection = {};
  selection.seqlen = static_cast<uint32_t>(seqlen);
  *out_of_range = observation.window_len < 0 || observation.suffix_len < 0;
  // Everything is a suffix.
  if (observation.window_len <= 0) return selection;

  selection.window_len = static_cast<uint32_t>(observation.window_len);
  selection.review_len = static_cast<uint32_t>(seqlen - clamp(observation.suffix_len, 0, seqlen));
  selection.num_windows =
      static_cast<uint32_t>(ceil_div<int64_t>(selection.review_len, selection.window_len));
  selection.num_kept =
      static_cast<uint32_t>(clamp(clamp(wanted, 0, params.max_keep), 0, selection.num_windows));
  *out_of_range |= selection.num_kept != wanted;
  selection.indices =
      params.indices + batch_idx * params.index_batch_stride + list * params.index_head_stride;
  if (selection.num_kept == 0) return selection;

  // Only the last window of a sequence may be short, and it can only be the last of the list.
  const uint32_t last = window_at(selection, selection.num_kept - 1);
  const uint32_t left = selection.review_len - last * selection.window_len;
  selection.num_chosen =
      (selection.num_kept - 1) * selection.window_len + min(left, selection.window_len);
  return selection;
}

WKV_FN int64_t kept_tokens(const Selection& selection) {
  return int64_t{selection.num_chosen} + (selection.seqlen - selection.review_len);
}

// The tokens that every head's list keeps; lists that keep different numbers are a fault of the
// caller. All lanes of a warp share the work and get the result.
WKV_FN int64_t common_kept_tokens(const wkv_gather_params& params, int batch_idx, int64_t seqlen,
                                  bool* out_of_range) {
  int32_t least = 0x7fffffff, most = 0;
  bool bad = false;
  for (int list = ptx::lane_idx(); list < params.index_heads; list += 32) {
    bool bad_list;
    const auto kept = static_cast<int32_t>(
        kept_tokens(select_tokens(params, batch_idx, list, seqlen, &bad_list)));
    bad |= bad_list;
    least = min(least, kept);
    most = max(most, kept);
  }
  least = ptx::reduce_min(least);
  most = ptx::reduce_max(most);
  *out_of_range = ptx::vote_any(bad) || least != most;
  return least;
}

// Whether the list is one of ascending windows of the sequence; the block's threads share it.
WKV_FN bool ascending(const Selection& selection) {
  bool right = true;
  for (uint32_t slot = threadIdx.x; slot < selection.num_kept; slot += kThreads) {
    const int32_t window = selection.indices[slot];
    right &= window > (slot == 0 ? -1 : selection.indices[slot - 1]) &&
             window < int64_t{selection.num_windows};
  }
  return right;
}

template <int kInFlight>
__global__ void __launch_bounds__(kThreads, blocks_per_multiprocessor(kInFlight))
    gather_kernel(const __grid_constant__ Launch launch) {
  const wkv_gather_params& params = launch.params;
  const Division& division = launch.division;

  // [layer, K or V, batch_idx, head, slice, chunk], the last one fastest.
  unsigned rest = blockIdx.x;
  const int chunk = rest % division.num_chunks;
  rest /= division.num_chunks;
  const int slice = rest % division.num_slices;
  rest /= division.num_slices;
  const int head = rest % params.num_heads_kv;
  rest /= params.num_heads_kv;
  const int batch_idx = rest % params.batch;
  rest /= params.batch;
  const bool is_value = rest % 2 != 0;
  const wkv_gather_layer& layer = launch.layers[rest / 2];
  const auto* source = static_cast<const uint16_t*>(is_value ? layer.v_source : layer.k_source);
  auto* cache = static_cast<uint16_t*>(is_value ? layer.v_cache : layer.k_cache);

  const Sequence sequence = sequence_of(params.sequences_kv, batch_idx);
  const int list = params.index_heads == 1 ? 0 : head;
  bool out_of_range;
  const Selection selection =
      select_tokens(params, batch_idx, list, sequence.seqlen, &out_of_range);
  int64_t kept_len = kept_tokens(selection);
  if (params.index_heads > 1) {
    kept_len = common_kept_tokens(params, batch_idx, sequence.seqlen, &out_of_range);
  }
  const bool fits = kept_len <= params.cache.capacity;
  if (!fits) kept_len = params.cache.capacity;

  // One block of each sequence and head tells what it found, the first of a sequence the length.
  if (launch.first && rest == 0 && slice == 0 && chunk == 0) {
    if (head < params.index_heads && !ascending(selection)) {
      raise_flag(params.flags, WKV_FLAG_RANGE);
    }
    if (head == 0 && threadIdx.x == 0) {
      params.kept_lens[batch_idx] = static_cast<int32_t>(kept_len);
      if (!fits) raise_flag(params.flags, WKV_FLAG_CAPACITY);
      if (out_of_range || sequence_clamped(params.sequences_kv, sequence, batch_idx)) {
        raise_flag(params.flags, WKV_FLAG_RANGE);
      }
    }
  }

  const int row = threadIdx.x / division.pieces;
  const int rows = kThreads / division.pieces;
  const int column = (slice * division.pieces + threadIdx.x % division.pieces) * kVectorLength;
  source += sequence_offset(params.sequences_kv, sequence, params.source_strides, batch_idx) +
            head * params.source_strides.head + column;
  cache += head * params.cache.strides.head + column;

  const int64_t step = int64_t{rows} * kInFlight;
  for (int64_t first = chunk * step; first < kept_len; first += division.num_chunks * step) {
    // source[position(first : first + step), head, slice] -> cache[first : first + step, head,
    // slice]
    Vector moved[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int64_t p = first + i * rows + row;
      if (p < kept_len) {
        const int64_t token = source_token(selection, static_cast<uint32_t>(p));
        moved[i] = load_vector(source + token * params.source_strides.token);
      }
    }
    if (division.in_place) ptx::sync_threads();
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int64_t p = first + i * rows + row;
      if (p < kept_len) {
        const int64_t offset = cache_offset(params.cache, batch_idx, p);
        if (offset == kNoPage) {
          raise_flag(params.flags, WKV_FLAG_RANGE);
        } else {
          store_vector(cache + offset, moved[i]);
        }
      }
    }
  }
}

}  // namespace windowkv::inline WKV_MACHINE::gather
