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

inline Counts counts_source(const wkv_gather_params& params) {
  return counts_of(params.sequences_kv, params.batch, params.num_heads_kv);
}
inline Counts counts_cache(const wkv_gather_params& params) {
  return counts_of(params.cache, params.batch, params.num_heads_kv);
}

// What a launch gets of params that were checked.
inline wkv_gather_params prepared(wkv_gather_params params) {
  params.source_strides = used(params.source_strides, counts_source(params));
  params.cache.strides = used(params.cache.strides, counts_cache(params));
  return params;
}

inline bool same_layout(const wkv_gather_params& checked) {
  const wkv_gather_params params = prepared(checked);
  const wkv_strides &from = params.source_strides, &to = params.cache.strides;
  return params.cache.page_table == nullptr && params.sequences_kv.cu_seqlens == nullptr &&
         from.token == to.token && from.head == to.head && from.batch == to.batch;
}

// One of a layer's two tensors: in the source's place with its layout, or apart from it.
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
  const Region of_source =
      tensor_of("", source, params.source_strides, counts_source(params), params.head_dim);
  const Region of_cache =
      tensor_of("", cache, params.cache.strides, counts_cache(params), params.head_dim);
  return check.require(!of_cache.overlaps(of_source),
                       "layer %d: %s overlaps its source in part: gather into the source itself or "
                       "into memory apart from it",
                       layer, name);
}

// No layer's cache is another one, or another one's source, or what else the call reads or writes.
// Most memory is far from each other: ranges of addresses come first.
inline void check_apart(Check& check, const wkv_gather_params& params) {
  const Counts of_source = counts_source(params), of_cache = counts_cache(params);
  const auto source_at = [&](const char* name, const void* data) {
    return tensor_of(name, data, params.source_strides, of_source, params.head_dim);
  };
  const auto cache_at = [&](const char* name, const void* data) {
    return tensor_of(name, data, params.cache.strides, of_cache, params.head_dim);
  };
  const wkv_gather_layer* layers = params.layers;
  if (!check.exclusive(cache_at("k_cache and v_cache", layers[0].k_cache))) return;

  const int64_t batch = params.batch;
  const wkv_sequences& sequences = params.sequences_kv;
  const wkv_cache_layout& cache = params.cache;
  const bool windows = params.max_keep > 0;
  const Region kept_lens = list_of("kept_lens", params.kept_lens, batch);
  const Region flags = list_of("flags", params.flags, 1);
  const Region lists[] = {
      list_of("cu_seqlens", sequences.cu_seqlens, batch + 1),
      list_of("seqlens", sequences.seqlens, batch),
      list_of("observations", params.observations, batch),
      list_of("num_kept", windows ? params.num_kept : nullptr, batch * params.index_heads),
      rows_of("indices", params.indices, params.index_batch_stride, params.index_head_stride,
              {batch, params.max_keep, params.index_heads}, sizeof(*params.indices)),
      rows_of("cache.page_table", cache.page_table, batch, cache.page_table_stride,
              cache.page_table == nullptr ? 0 : cache.capacity / cache.page_len,
              sizeof(*cache.page_table))};
  check.apart(kept_lens, flags);
  for (const Region& list : lists) check.apart(kept_lens, list), check.apart(flags, list);

  const int64_t first = address(layers[0].k_cache), first_source = address(layers[0].k_source);
  const Region::Range cache_range = cache_at("", layers[0].k_cache).range();
  const Region::Range source_range = source_at("", layers[0].k_source).range();
  const auto shifted = [](const Region::Range& range, int64_t by) {
    return Region::Range{range.low + by, range.high + by};
  };
  struct Named {
    const char* name;
    const void* data;
  };
  for (int i = 0; i < 2 * params.num_layers; ++i) {
    const auto cache_of = [&](int k) {
      return k % 2 == 0 ? Named{"k_cache", layers[k / 2].k_cache}
                        : Named{"v_cache", layers[k / 2].v_cache};
    };
    const auto source_of = [&](int k) {
      return k % 2 == 0 ? Named{"k_source", layers[k / 2].k_source}
                        : Named{"v_source", layers[k / 2].v_source};
    };
    const auto [name, data] = cache_of(i);
    const Region region = cache_at(name, data);
    const Region::Range range = shifted(cache_range, address(data) - first);
    const auto tell = [&](const Region& other, int k) {
      check.require(!region.overlaps(other),
                    "%s of layer %d overlaps %s of layer %d: give it memory of its own", name,
                    i / 2, other.name, k / 2);
    };
    for (int k = 0; k < 2 * params.num_layers; ++k) {
      const Named source = source_of(k), other = cache_of(k);
      // Its own source has been looked at.
      if (k != i && range.meets(shifted(source_range, address(source.data) - first_source))) {
        tell(source_at(source.name, source.data), k);
      }
      if (k > i && range.meets(shifted(cache_range, address(other.data) - first))) {
        tell(cache_at(other.name, other.data), k);
      }
    }
    check.apart(region, kept_lens);
    check.apart(region, flags);
    for (const Region& list : lists) check.apart(region, list);
    if (!check.ok()) return;
  }
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
      !check.stride("index_batch_stride", "", params->index_batch_stride, params->batch, 1) ||
      !check.stride("index_head_stride", "", params->index_head_stride, params->index_heads, 1) ||
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
  for (int i = 0; check.ok() && some && i < params->num_layers; ++i) {
    const wkv_gather_layer& layer = params->layers[i];
    check_pair(check, *params, i, "k_cache", layer.k_source, layer.k_cache);
    check_pair(check, *params, i, "v_cache", layer.v_source, layer.v_cache);
  }
  if (check.ok() && some) check_apart(check, *params);
  return check.status();
}

inline Division divide(const wkv_gather_params& params, bool in_place) {
  Division division = {params.head_dim / kVectorLength, 1, 1, in_place};
  // More blocks than a grid can have are refused later.
  const int64_t slices = std::min<int64_t>(int64_t{params.batch} * params.num_heads_kv, 1 << 30) *
                         2 * params.num_layers;
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
    launch.params = prepared(params);
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
