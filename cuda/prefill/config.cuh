// Tiles, stages, shared memory, grid and checks of prefill.

#pragma once

#include <algorithm>

#include "common/check.h"
#include "common/head_tile.cuh"
#include "common/math.cuh"
#include "ptx/machine.h"
#include "ptx/number.h"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE::prefill {

// Packed query rows of a block, and keys of a step.
inline constexpr int kTileM = 128;
inline constexpr int kTileN = 64;

// Four warps of 32 rows: each fragment of k and v that a warp reads from shared memory feeds two
// products, without which shared memory would be as busy as the tensor cores of sm_80.
inline constexpr int kThreads = 128;
inline constexpr int kWarpM = 32;
static_assert(kThreads / 32 * kWarpM == kTileM);

// Tiles of k and v take turns in a ring; with three, a tile is loaded while the two before it are
// multiplied, and two blocks of head_dim 128 fit into the 164 KB of an sm_80 multiprocessor.
inline constexpr int kStages = 3;
inline constexpr int kMinBlocks = 2;

template <class T, int kHeadDim>
struct alignas(1024) SharedStorage {
  T q[kTileM * kHeadDim];  // then the tile of o
  T kv[kStages][kTileN * kHeadDim];
};
static_assert(kMinBlocks * (sizeof(SharedStorage<ptx::Half, 128>) + 1024) <= 164 * 1024);

// A tile of query rows of every KV head of every sequence, and one that looks at the lengths.
inline int64_t num_blocks(const wkv_prefill_params& params) {
  const int64_t group = params.num_heads_q / params.num_heads_kv;
  const int64_t tiles = ceil_div<int64_t>(params.sequences_q.max_seqlen * group, kTileM);
  const int64_t blocks = tiles * params.num_heads_kv * params.batch;
  return blocks == 0 ? 0 : blocks + 1;
}

inline Counts counts_q(const wkv_prefill_params& params) {
  return counts_of(params.sequences_q, params.batch, params.num_heads_q);
}
inline Counts counts_kv(const wkv_prefill_params& params) {
  return counts_of(params.sequences_kv, params.batch, params.num_heads_kv);
}

// What a launch gets of params that were checked.
inline wkv_prefill_params prepared(wkv_prefill_params params) {
  params.q = used(params.q, counts_q(params));
  params.k = used(params.k, counts_kv(params));
  params.v = used(params.v, counts_kv(params));
  params.o = used(params.o, counts_q(params));
  params.lse = used(params.lse, counts_q(params));
  return params;
}

inline wkv_status check(const wkv_prefill_params* params) {
  Check check("prefill");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params)) ||
      !check.half_precision(params->dtype) ||
      !check.heads(params->batch, params->num_heads_q, params->num_heads_kv, params->head_dim) ||
      !check.softmax_scale(params->softmax_scale) ||
      !check.sequences("sequences_q", params->sequences_q) ||
      !check.sequences("sequences_kv", params->sequences_kv)) {
    return check.status();
  }
  const Counts q = counts_q(*params);
  const Counts kv = counts_kv(*params);
  const bool rows = params->batch > 0 && params->sequences_q.max_seqlen > 0;
  const bool keys = rows && params->sequences_kv.max_seqlen > 0;
  check.tensor("q", params->q, q, rows);
  check.tensor("k", params->k, kv, keys);
  check.tensor("v", params->v, kv, keys);
  check.tensor("o", params->o, q, rows);
  check.rows("lse", params->lse, q, false);
  check.pointer("flags", params->flags, 4, false);
  const int64_t limit = int64_t{0x7ffffffe} / params->num_heads_kv / std::max(params->batch, 1);
  const int64_t group = params->num_heads_q / params->num_heads_kv;
  check.require(ceil_div<int64_t>(params->sequences_q.max_seqlen * group, kTileM) <= limit,
                "sequences_q.max_seqlen is %lld, too long for one grid with %d sequences of %d "
                "heads: split the batch",
                static_cast<long long>(params->sequences_q.max_seqlen), params->batch,
                params->num_heads_q);
  if (!check.ok()) return check.status();
  const wkv_sequences &of_q = params->sequences_q, &of_kv = params->sequences_kv;
  const int64_t batch = params->batch;
  check.apart({tensor_of("o", params->o, q, params->head_dim), tensor_of("lse", params->lse, q),
               list_of("flags", params->flags, 1)},
              {tensor_of("q", params->q, q, params->head_dim),
               tensor_of("k", params->k, kv, params->head_dim),
               tensor_of("v", params->v, kv, params->head_dim),
               list_of("cu_seqlens of q", of_q.cu_seqlens, batch + 1),
               list_of("seqlens of q", of_q.seqlens, batch),
               list_of("cu_seqlens of k", of_kv.cu_seqlens, batch + 1),
               list_of("seqlens of k", of_kv.seqlens, batch)});
  return check.status();
}

}  // namespace windowkv::inline WKV_MACHINE::prefill
