// Threads, kernel parameters and launch shape of the gather, and the checks that both launchers
// share.

#pragma once

#include <algorithm>

#include "common/check.h"
#include "common/math.cuh"
#include "common/vector.cuh"
#include "ptx/machine.h"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE::gather {

// Divisible by every number of 16-byte pieces that a block's rows may have: 2, 4, 6, 8, 12, 16.
inline constexpr int kThreads = 192;
// Loads in flight of a thread. Out of place five blocks share a multiprocessor, which has 60 KB on
// the way; in place there may be one or two, and 24 KB each.
inline constexpr int kUnroll = 4;
inline constexpr int kUnrollInPlace = 8;
WKV_BOTH int blocks_per_multiprocessor(int in_flight) { return in_flight == kUnroll ? 5 : 2; }

// Layers of one launch. They are kernel parameters, of which there are at most 4 KB.
inline constexpr int kMaxLayers = 32;

// In place a block walks the tokens alone, so that parallel work comes from narrower slices of
// head_dim. Two blocks for each multiprocessor of the largest GPU so far are enough.
inline constexpr int64_t kWantedBlocks = 264;
// A slice is at least 32 bytes wide: a sector of the L2 cache.
inline constexpr int kMinPieces = 2;

// How the work of one layer falls into blocks.
struct Division {
  int32_t pieces;      // 16-byte pieces of a row that a block moves
  int32_t num_slices;  // of a row
  int32_t num_chunks;  // blocks that share the tokens of a slice; 1 in place
  bool in_place;
};

struct Launch {
  wkv_gather_params params;  // num_layers: of this launch; params.layers is host memory
  Division division;
  bool first;  // the launch that writes kept_lens and checks the indices
  wkv_gather_layer layers[kMaxLayers];
};
static_assert(sizeof(Launch) <= 4096);

// First and last byte offsets of a tensor from its data pointer: `counts` are batch (or pages),
// tokens and heads.
struct Extent {
  __int128 low, high;
};
inline Extent extent_of(const wkv_strides& strides, const int64_t (&counts)[3], int head_dim) {
  const int64_t steps[3] = {strides.batch, strides.token, strides.head};
  Extent extent = {0, head_dim};
  for (int i = 0; i < 3; ++i) {
    if (counts[i] == 0) return {0, 0};
    const __int128 reach = static_cast<__int128>(counts[i] - 1) * steps[i];
    (reach < 0 ? extent.low : extent.high) += reach;
  }
  return {extent.low * 2, extent.high * 2};
}

inline bool overlap(const void* a, const Extent& a_extent, const void* b, const Extent& b_extent) {
  const __int128 a_data = reinterpret_cast<uintptr_t>(a);
  const __int128 b_data = reinterpret_cast<uintptr_t>(b);
  return a_data + a_extent.low < b_data + b_extent.high &&
         b_data + b_extent.low < a_data + a_extent.high;
}

inline Extent source_extent(const wkv_gather_params& params) {
  const wkv_sequences& sequences = params.sequences_kv;
  const bool ragged = sequences.cu_seqlens != nullptr;
  return extent_of(params.source_strides,
                   {ragged ? 1 : params.batch, ragged ? sequences.num_tokens : sequences.max_seqlen,
                    params.num_heads_kv},
                   params.head_dim);
}

inline Extent cache_extent(const wkv_gather_params& params) {
  const wkv_cache_layout& cache = params.cache;
  const bool paged = cache.page_table != nullptr;
  return extent_of(cache.strides,
                   {paged ? cache.num_pages : params.batch, paged ? cache.page_len : cache.capacity,
                    params.num_heads_kv},
                   params.head_dim);
}

inline bool same_layout(const wkv_gather_params& params) {
  const wkv_strides &from = params.source_strides, &to = params.cache.strides;
  return params.cache.page_table == nullptr && params.sequences_kv.cu_seqlens == nullptr &&
         from.token == to.token && from.head == to.head && from.batch == to.batch;
}

// One of a layer's two tensors: apart from its source, or the source itself.
inline bool check_pair(Check& check, const wkv_gather_params& params, int layer, const char* name,
                       const void* source, const void* cache) {
  if (!check.pointer(name, source, 16, true) || !check.pointer(name, cache, 16, true)) return false;
  if (source == cache) {
    return check.require(same_layout(params),
                         "layer %d: %s is compacted in place, but its strides differ from the "
                         "source's, or one of them has pages or cu_seqlens: gather into another "
                         "buffer",
                         layer, name);
  }
  return check.require(!overlap(source, source_extent(params), cache, cache_extent(params)),
                       "layer %d: %s overlaps its source in part: gather into the source itself or "
                       "into memory apart from it",
                       layer, name);
}

inline wkv_status check(const wkv_gather_params* params) {
  Check check("gather");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params)) ||
      !check.half_precision(params->dtype) ||
      !check.heads(params->batch, params->num_heads_kv, params->num_heads_kv, params->head_dim) ||
      !check.sequences("sequences_kv", params->sequences_kv) ||
      !check.strides("source", params->source_strides,
                     counts_of(params->sequences_kv, params->batch, params->num_heads_kv)) ||
      !check.cache(params->cache, params->batch, params->num_heads_kv) ||
      !check.stride("index_batch_stride", params->index_batch_stride, params->batch, 1) ||
      !check.stride("index_head_stride", params->index_head_stride, params->index_heads, 1) ||
      !check.require(params->num_layers >= 1, "num_layers is %d: give at least one",
                     params->num_layers) ||
      !check.require(params->layers != nullptr, "layers is null") ||
      !check.require(params->index_heads == 1 || params->index_heads == params->num_heads_kv,
                     "index_heads is %d, neither 1 nor num_heads_kv (%d)", params->index_heads,
                     params->num_heads_kv) ||
      !check.require(params->max_keep >= 0, "max_keep is %d", params->max_keep)) {
    return check.status();
  }
  const bool some = params->batch > 0;
  const bool windows = some && params->max_keep > 0;
  check.pointer("observations", params->observations, 4, some);
  check.pointer("indices", params->indices, 4, windows);
  check.pointer("num_kept", params->num_kept, 4, windows);
  check.pointer("kept_lens", params->kept_lens, 4, some);
  check.pointer("flags", params->flags, 4, false);
  check.require(params->kept_lens == nullptr || params->kept_lens != params->sequences_kv.seqlens,
                "kept_lens is sequences_kv.seqlens, which is read while it is written: give it "
                "memory of its own");
  for (int i = 0; check.ok() && some && i < params->num_layers; ++i) {
    const wkv_gather_layer& layer = params->layers[i];
    check.require(layer.k_cache != layer.v_cache, "layer %d: k_cache and v_cache are the same", i);
    check_pair(check, *params, i, "k_cache", layer.k_source, layer.k_cache);
    check_pair(check, *params, i, "v_cache", layer.v_source, layer.v_cache);
  }
  return check.status();
}

inline Division divide(const wkv_gather_params& params, bool in_place) {
  Division division = {params.head_dim / kVectorLength, 1, 1, in_place};
  const int64_t slices = int64_t{2} * params.num_layers * params.batch * params.num_heads_kv;
  if (in_place) {
    while (slices * division.num_slices < kWantedBlocks && division.pieces % 2 == 0 &&
           division.pieces / 2 >= kMinPieces) {
      division.pieces /= 2;
      division.num_slices *= 2;
    }
  } else {
    const int64_t tokens = std::min(params.sequences_kv.max_seqlen, params.cache.capacity);
    const int64_t chunks = ceil_div<int64_t>(tokens, kThreads / division.pieces * kUnroll);
    division.num_chunks = static_cast<int32_t>(std::clamp<int64_t>(
        chunks, 1, std::max<int64_t>(1, 0x7fffffff / std::max<int64_t>(1, slices))));
  }
  return division;
}

// Calls run(launch, number of blocks), which returns a status, for each kMaxLayers of the layers.
template <class Run>
int for_each_launch(const wkv_gather_params& params, const Run& run) {
  if (params.batch == 0) return WKV_OK;
  bool in_place = false;
  for (int i = 0; i < params.num_layers; ++i) {
    const wkv_gather_layer& layer = params.layers[i];
    in_place |= layer.k_source == layer.k_cache || layer.v_source == layer.v_cache;
  }
  for (int first = 0; first < params.num_layers; first += kMaxLayers) {
    Launch launch = {};
    launch.params = params;
    launch.params.num_layers = std::min(params.num_layers - first, kMaxLayers);
    launch.division = divide(launch.params, in_place);
    launch.first = first == 0;
    std::copy_n(params.layers + first, launch.params.num_layers, launch.layers);
    const Division& division = launch.division;
    const __int128 blocks = static_cast<__int128>(params.batch) * params.num_heads_kv * 2 *
                            launch.params.num_layers * division.num_slices * division.num_chunks;
    if (blocks > 0x7fffffff) {
      return set_error(
          WKV_INVALID_ARGUMENT,
          "gather: batch x heads x layers need more than 2^31 - 1 blocks: gather fewer "
          "sequences or layers at a time");
    }
    const int status = run(launch, static_cast<unsigned>(blocks));
    if (status != WKV_OK) return status;
  }
  return WKV_OK;
}

}  // namespace windowkv::inline WKV_MACHINE::gather
