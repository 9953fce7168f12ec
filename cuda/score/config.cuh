// Tiles, shared memory, grids and checks of the scores.

#pragma once

#include <cmath>

#include "common/check.h"
#include "common/math.cuh"
#include "ptx/machine.h"
#include "ptx/number.h"

namespace windowkv::inline WKV_MACHINE::score {

// --- columns.cuh: column sums ---

// Each of four warps has 32 columns, whose keys it holds in registers: two tiles of 16.
inline constexpr int kThreads = 128;
inline constexpr int kWarps = kThreads / 32;
inline constexpr int kWarpColumns = 32;
inline constexpr int kColumnTiles = kWarpColumns / 16;
inline constexpr int kTileColumns = kWarps * kWarpColumns;

// Query rows in shared memory: those of all heads of a group where they fit, else two stages. A
// chunk is summed by itself, so that no sum is a long chain.
inline constexpr int kRows = 128;
inline constexpr int kChunkRows = 64;
inline constexpr int kRowTile = 16;
static_assert(kRows == 2 * kChunkRows && kChunkRows % kRowTile == 0);

template <class T, int kHeadDim>
struct alignas(128) ColumnsStorage {
  T k[kWarps][kWarpColumns * kHeadDim];
  T q[kRows * kHeadDim];
  float lse[kRows];
};
static_assert(sizeof(ColumnsStorage<ptx::Half, 128>) <= 80 * 1024,
              "two blocks fit the 164 KB of an SM 80, three the 228 KB of an SM 90");

// Column tiles of one block. More of them save loads of q, fewer fill the GPU. The sums of a column
// do not depend on it.
inline constexpr int kMaxTilesOfBlock = 8;
// Blocks of these kernels that an SM runs at once, at least.
inline constexpr int kBlocksOfSm = 3;

// --- pool.cuh and windows.cuh ---

inline constexpr int kPoolThreads = 256;
// Of a pool, whose columns are read again for each score: far more than a score loses its place to.
inline constexpr int kMaxPoolingWidth = 4095;

inline constexpr int kWindowThreads = 256;
inline constexpr int kWindowWarps = kWindowThreads / 32;
// Values of a long window that a lane keeps in registers.
inline constexpr int kHeldValues = 4;
// Columns that one block's windows cover, at least: as many windows as fit 32 columns, and of the
// lengths up to 32, 17 leaves most of them idle.
inline constexpr int kMinColumnsOfBlock = 17;

struct WindowsStorage {
  float sums[kWindowWarps][32];
};

// --- Launches ---

// Rows of the workspace: of t[h, :] for all sequences.
inline int64_t workspace_columns(const wkv_score_params& params) {
  const wkv_sequences& kv = params.sequences_kv;
  return kv.cu_seqlens != nullptr ? kv.num_tokens : params.batch * kv.max_seqlen;
}

// Tiles of an output with room for `room`: one at least, whose block raises the flags.
inline int64_t output_tiles(int64_t tiles, int64_t room) {
  return max<int64_t>(min(tiles, room), 1);
}

inline int64_t pool_tiles(const wkv_score_params& params) {
  return output_tiles(ceil_div<int64_t>(params.sequences_kv.max_seqlen, kPoolThreads),
                      ceil_div<int64_t>(params.max_columns, kPoolThreads));
}

inline int64_t window_tiles(const wkv_score_params& params) {
  return output_tiles(ceil_div<int64_t>(params.sequences_kv.max_seqlen, kMinColumnsOfBlock),
                      params.max_windows);
}

// Spans into which the column tiles of a sequence and KV head are dealt, one block each. `blocks`:
// blocks that the GPU runs at once.
inline int num_spans(const wkv_score_params& params, int64_t blocks) {
  const int64_t tiles = ceil_div<int64_t>(params.sequences_kv.max_seqlen, kTileColumns);
  const int64_t all = tiles * params.batch * params.num_heads_kv;
  int64_t of_block = ceil_div<int64_t>(all, blocks);
  of_block = clamp(of_block, 1, kMaxTilesOfBlock);
  return static_cast<int>(ceil_div(tiles, of_block));
}

inline void check_sizes(Check& check, const wkv_score_params& p) {
  check.heads(p.batch, p.num_heads_q, p.num_heads_kv, p.head_dim);
  check.sequences("sequences_q", p.sequences_q);
  check.sequences("sequences_kv", p.sequences_kv);
  if (!check.ok()) return;
  constexpr int64_t kMaxFloats = int64_t{1} << 60;
  check.require(workspace_columns(p) <= kMaxFloats / p.num_heads_q,
                "the workspace of %d sequences of %lld tokens with %d heads is over 2^62 bytes",
                p.batch, static_cast<long long>(p.sequences_kv.max_seqlen), p.num_heads_q);
}

inline size_t workspace_bytes(const wkv_score_params& params) {
  return static_cast<size_t>(workspace_columns(params)) * static_cast<size_t>(params.num_heads_q) *
         sizeof(float);
}

inline wkv_status check_workspace_size(const wkv_score_params* params, const size_t* bytes) {
  Check check("score_workspace_size");
  if (check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params)) &&
      check.require(bytes != nullptr, "bytes is null")) {
    check_sizes(check, *params);
  }
  return check.status();
}

inline Counts counts_q(const wkv_score_params& p) {
  return counts_of(p.sequences_q, p.batch, p.num_heads_q);
}
inline Counts counts_kv(const wkv_score_params& p) {
  return counts_of(p.sequences_kv, p.batch, p.num_heads_kv);
}
inline Counts counts_columns(const wkv_score_params& p) {
  return {p.batch, p.max_columns, p.column_heads};
}
inline Counts counts_windows(const wkv_score_params& p) { return {p.batch, p.max_windows, 1}; }

// What a launch gets of params that were checked.
inline wkv_score_params prepared(wkv_score_params params) {
  params.q = used(params.q, counts_q(params));
  params.k = used(params.k, counts_kv(params));
  params.lse = used(params.lse, counts_q(params));
  params.column_scores = used(params.column_scores, counts_columns(params));
  params.window_scores = used(params.window_scores, counts_windows(params));
  return params;
}

inline wkv_status check(const wkv_score_params* params) {
  Check check("score");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params))) {
    return check.status();
  }
  const wkv_score_params& p = *params;
  check_sizes(check, p);
  if (!check.ok()) return check.status();
  const bool has_q = p.batch > 0 && p.sequences_q.max_seqlen > 0;
  const bool has_kv = p.batch > 0 && p.sequences_kv.max_seqlen > 0;
  check.half_precision(p.dtype);
  const Counts q = counts_q(p);
  check.tensor("q", p.q, q, has_q);
  check.tensor("k", p.k, counts_kv(p), has_kv);
  check.rows("lse", p.lse, q, has_q);
  check.pointer("observations", p.observations, 4, p.batch > 0);
  check.rows("column_scores", p.column_scores, counts_columns(p), false);
  check.rows("window_scores", p.window_scores, counts_windows(p), false);
  check.pointer("flags", p.flags, 4, false);
  check.require(p.column_scores.data != nullptr || p.window_scores.data != nullptr,
                "column_scores and window_scores are both null: one has to be asked for");
  check.require(p.max_columns >= 0 && p.max_windows >= 0, "max_columns is %d, max_windows %d",
                p.max_columns, p.max_windows);
  check.require(p.column_scores.data == nullptr || p.column_heads == p.num_heads_q ||
                    p.column_heads == p.num_heads_kv,
                "column_heads is %d, neither num_heads_q (%d) nor num_heads_kv (%d)",
                p.column_heads, p.num_heads_q, p.num_heads_kv);
  check.require(p.pooling_width >= 1 && p.pooling_width % 2 == 1,
                "pooling_width is %d, not odd: 1 is no pooling", p.pooling_width);
  check.require(p.pooling_width <= kMaxPoolingWidth, "pooling_width is %d, over %d",
                p.pooling_width, kMaxPoolingWidth);
  check.require(p.pooling == WKV_POOL_AVERAGE || p.pooling == WKV_POOL_MAX,
                "pooling is %d, not WKV_POOL_AVERAGE or WKV_POOL_MAX", static_cast<int>(p.pooling));
  check.softmax_scale(p.softmax_scale);
  check.workspace(p.workspace, p.workspace_bytes, workspace_bytes(p));
  // As many blocks as a grid can have in x; the launch with one block a tile is the largest.
  constexpr int64_t kMaxBlocks = 0x7fffffff;
  const int64_t tiles = ceil_div<int64_t>(p.sequences_kv.max_seqlen, kMinColumnsOfBlock) + 1;
  check.require(int64_t{p.batch} * p.num_heads_q <= kMaxBlocks / tiles,
                "%d sequences of %lld tokens with %d heads are more than one launch can do: "
                "split the batch",
                p.batch, static_cast<long long>(p.sequences_kv.max_seqlen), p.num_heads_q);
  if (!check.ok()) return check.status();
  const int64_t batch = p.batch;
  check.apart({tensor_of("column_scores", p.column_scores, counts_columns(p)),
               tensor_of("window_scores", p.window_scores, counts_windows(p)),
               bytes_of("workspace", p.workspace, static_cast<int64_t>(workspace_bytes(p))),
               list_of("flags", p.flags, 1)},
              {tensor_of("q", p.q, q, p.head_dim), tensor_of("k", p.k, counts_kv(p), p.head_dim),
               tensor_of("lse", p.lse, q), list_of("observations", p.observations, batch),
               list_of("cu_seqlens of q", p.sequences_q.cu_seqlens, batch + 1),
               list_of("seqlens of q", p.sequences_q.seqlens, batch),
               list_of("cu_seqlens of k", p.sequences_kv.cu_seqlens, batch + 1),
               list_of("seqlens of k", p.sequences_kv.seqlens, batch)});
  return check.status();
}

}  // namespace windowkv::inline WKV_MACHINE::score
