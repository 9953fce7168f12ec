// Tiles, splits, shared memory, workspace and checks of decode.

#pragma once

#include "common/check.h"
#include "common/head_tile.cuh"
#include "common/math.cuh"
#include "ptx/machine.h"
#include "ptx/number.h"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE::decode {

// Query heads of a block: the rows of an mma.
inline constexpr int kTileM = 16;
// Keys of a warp's step; the four warps of a block take turns.
inline constexpr int kTileN = 16;
inline constexpr int kWarps = 4;
inline constexpr int kThreads = kWarps * 32;
inline constexpr int kBlockN = kTileN * kWarps;

// Tiles of k and v that a warp has under way. Two hold the whole of a shortest split; two blocks of
// head_dim 128 fit into the 164 KB of an sm_80 multiprocessor, three into the 228 KB of an sm_90.
inline constexpr int kStages = 2;
inline constexpr int kMinBlocks = 3;

// A split is so many keys that a sequence has at most kMaxSplits, and no fewer than keep the
// combination of splits cheap. It depends on the sequence alone, so its bits do not depend on the
// batch. 8 KV heads and a cache of 2,048 tokens make 128 blocks, about one a multiprocessor.
inline constexpr int kMinSplitLen = 2 * kBlockN;
inline constexpr int kMaxSplits = 32;

// Keys of a split of a sequence of num_keys.
WKV_BOTH int64_t split_len(int64_t num_keys) {
  const int64_t even = ceil_div<int64_t>(ceil_div<int64_t>(num_keys, kMaxSplits), kBlockN);
  return max<int64_t>(even * kBlockN, kMinSplitLen);
}

// A warp's o, in float: rows as far apart as spreads a fragment's rows over the banks.
template <int kHeadDim>
inline constexpr int kPartialStride = kHeadDim + 8;

template <class T, int kHeadDim>
struct alignas(1024) SharedStorage {
  T q[kTileM * kHeadDim];
  union WarpTiles {
    struct {
      T k[kTileN * kHeadDim];
      T v[kTileN * kHeadDim];
    } stages[kStages];
    float o[kTileM * kPartialStride<kHeadDim>];  // after the last step
  } tiles[kWarps];
  float max[kWarps][kTileM];
  float sum[kWarps][kTileM];
  int num_done;  // splits of the tile before this one
};
static_assert(2 * (sizeof(SharedStorage<ptx::Half, 128>) + 1024) <= 164 * 1024);
static_assert(kMinBlocks * (sizeof(SharedStorage<ptx::Half, 128>) + 1024) <= 228 * 1024);

// How the work is cut into blocks.
struct Shape {
  int group;          // query heads of a KV head
  int head_tiles;     // tiles of 16 of them
  int max_splits;     // of the longest sequence that the cache has room for
  int64_t num_tiles;  // batch * num_heads_kv * head_tiles

  WKV_BOTH int64_t num_blocks() const { return num_tiles * max_splits; }
  // Heads of which a block leaves partial results, at most.
  WKV_BOTH int rows() const { return min(group, kTileM); }
};

WKV_BOTH Shape shape_of(const wkv_decode_params& params) {
  Shape shape = {};
  shape.group = params.num_heads_q / params.num_heads_kv;
  shape.head_tiles = ceil_div(shape.group, kTileM);
  shape.max_splits = static_cast<int>(
      min<int64_t>(kMaxSplits, ceil_div<int64_t>(params.cache.capacity + 1, kMinSplitLen)));
  shape.num_tiles = int64_t{params.batch} * params.num_heads_kv * shape.head_tiles;
  return shape;
}

// The workspace: a counter for each of kMaxTiles tiles, whatever the call's sizes, so that calls of
// all sizes can share it; then of each row of each block its maximum and sum; then its o.
inline constexpr int64_t kMaxTiles = 65536;

// A counter goes up by this odd number, so that few of all words are the count of some blocks: a
// workspace that was not zeroed is seen.
inline constexpr uint32_t kCountStep = 0x9e3779b1;
// kCountStep * kCountInverse = 1 modulo 2^32
inline constexpr uint32_t kCountInverse = 0x0e8b2f51;
static_assert(kCountStep * kCountInverse == 1);

struct alignas(8) PartialStats {
  float max, sum;
};

WKV_BOTH int64_t partial_rows(const Shape& shape) { return shape.num_blocks() * shape.rows(); }
// An even number of them, which keeps o at a multiple of 16 bytes.
WKV_BOTH int64_t partial_stats(const Shape& shape) {
  return ceil_div<int64_t>(partial_rows(shape), 2) * 2;
}

// Splits of a tile meet in the workspace; a tile of one split writes its result at once.
inline size_t workspace_bytes(const wkv_decode_params& params) {
  const Shape shape = shape_of(params);
  if (shape.max_splits == 1 || shape.num_tiles == 0) return 0;
  return kMaxTiles * sizeof(uint32_t) + partial_stats(shape) * sizeof(PartialStats) +
         partial_rows(shape) * params.head_dim * sizeof(float);
}

inline wkv_status check_sizes(const wkv_decode_params* params) {
  Check check("decode");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params)) ||
      !check.half_precision(params->dtype) ||
      !check.heads(params->batch, params->num_heads_q, params->num_heads_kv, params->head_dim) ||
      !check.cache(params->cache, params->batch, params->num_heads_kv)) {
    return check.status();
  }
  check.require(shape_of(*params).num_tiles <= kMaxTiles,
                "%d sequences of %d heads are %lld tiles, more than %lld: split the batch",
                params->batch, params->num_heads_q,
                static_cast<long long>(shape_of(*params).num_tiles),
                static_cast<long long>(kMaxTiles));
  return check.status();
}

inline wkv_status check_workspace_size(const wkv_decode_params* params, const size_t* bytes) {
  if (const wkv_status status = check_sizes(params); status != WKV_OK) return status;
  Check check("decode_workspace_size");
  check.pointer("bytes", bytes, alignof(size_t), true);
  return check.status();
}

inline Counts counts_token(const wkv_decode_params& params, int heads) {
  return {params.batch, 1, heads};
}

// What a launch gets of params that were checked.
inline wkv_decode_params prepared(wkv_decode_params params) {
  const Counts q = counts_token(params, params.num_heads_q);
  const Counts kv = counts_token(params, params.num_heads_kv);
  params.q = used(params.q, q);
  params.k_new = used(params.k_new, kv);
  params.v_new = used(params.v_new, kv);
  params.o = used(params.o, q);
  params.cache.strides =
      used(params.cache.strides, counts_of(params.cache, params.batch, params.num_heads_kv));
  return params;
}

inline wkv_status check(const wkv_decode_params* params) {
  if (const wkv_status status = check_sizes(params); status != WKV_OK) return status;
  Check check("decode");
  check.softmax_scale(params->softmax_scale);
  const bool rows = params->batch > 0;
  const bool keys = rows && params->cache.capacity > 0;
  const Counts q = counts_token(*params, params->num_heads_q);
  const Counts kv = counts_token(*params, params->num_heads_kv);
  check.tensor("q", params->q, q, rows);
  check.tensor("k_new", params->k_new, kv, false);
  check.tensor("v_new", params->v_new, kv, params->k_new.data != nullptr && rows);
  check.require(params->k_new.data != nullptr || params->v_new.data == nullptr,
                "v_new is given without k_new");
  check.tensor("o", params->o, q, rows);
  check.pointer("lse", params->lse, 4, false);
  check.pointer("k_cache", params->k_cache, 16, keys);
  check.pointer("v_cache", params->v_cache, 16, keys);
  check.pointer("cache_lens", params->cache_lens, 4, rows);
  check.pointer("flags", params->flags, 4, false);
  check.workspace(params->workspace, params->workspace_bytes, workspace_bytes(*params));
  if (!check.ok()) return check.status();

  const int head_dim = params->head_dim;
  const int64_t batch = params->batch;
  const wkv_cache_layout& cache = params->cache;
  const Counts cached = counts_of(cache, params->batch, params->num_heads_kv);
  const int64_t pages = cache.page_table == nullptr ? 0 : cache.capacity / cache.page_len;
  // Without a new token the cache is only read: keys may be values, and sequences may share them.
  const bool appends = params->k_new.data != nullptr;
  const auto cache_of = [&](const char* name, const void* data, bool of_this_kind) {
    return tensor_of(name, of_this_kind ? data : nullptr, cache.strides, cached, head_dim);
  };
  check.apart(
      {tensor_of("o", params->o, q, head_dim),
       list_of("lse", params->lse, batch * params->num_heads_q),
       bytes_of("workspace", params->workspace, static_cast<int64_t>(workspace_bytes(*params))),
       cache_of("k_cache", params->k_cache, appends), cache_of("v_cache", params->v_cache, appends),
       list_of("flags", params->flags, 1)},
      {tensor_of("q", params->q, q, head_dim), tensor_of("k_new", params->k_new, kv, head_dim),
       tensor_of("v_new", params->v_new, kv, head_dim),
       cache_of("k_cache", params->k_cache, !appends),
       cache_of("v_cache", params->v_cache, !appends),
       list_of("cache_lens", params->cache_lens, batch),
       rows_of("cache.page_table", cache.page_table, batch, cache.page_table_stride, pages,
               sizeof(*cache.page_table))});
  return check.status();
}

}  // namespace windowkv::inline WKV_MACHINE::decode
