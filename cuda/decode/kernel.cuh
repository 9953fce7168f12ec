// o[b] = softmax(q[b] K^T softmax_scale) V, one token a sequence; K and V: its cache and k_new,
// v_new
//
//   for each sequence, KV head h, tile of up to 16 query heads of h, and split of the keys:
//   s = q[heads, d] @ k[tokens, h, d]^T,  p = exp(s - max),  o[heads, d] += p @ v[tokens, h, d]
//
// Flash-decoding with the query heads of a group as the rows of a tile. A block has one split. Its
// four warps take turns with 16 keys each, every warp for itself: it copies its tiles by cp.async
// into a ring of its own, two ahead, and keeps its s, p and o in registers. At the end the block
// adds up its warps, and the last block of a tile to be done adds up the splits, in their order.
//
//   block of a split                        the last of them
//   o, max, sum -> workspace; barrier
//   thread 0: fence; count + 1          -->  count was splits - 1: count = 0; fence; barrier;
//                                           o = sum over splits
//
// The block with the last key also writes k_new and v_new to the cache; no block reads them there.
// How the keys are split depends on the number of keys alone, and so do the result's bits.
//
// Shared memory: 16 rows of q, for each warp 2 x 16 rows of k and of v, swizzled (then its o, in
// float), and maxima and sums: 18, 35, 52, 69 KB for head_dim 32, 64, 96, 128.

#pragma once

#include <cmath>

#include "common/attention.cuh"
#include "common/cache.cuh"
#include "common/flags.cuh"
#include "common/head_tile.cuh"
#include "common/math.cuh"
#include "common/sequences.cuh"
#include "common/vector.cuh"
#include "decode/config.cuh"
#include "ptx/atomics.h"
#include "ptx/barrier.h"
#include "ptx/cp_async.h"
#include "ptx/fence.h"
#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::decode {

// What a block does.
struct Work {
  int split_idx;
  int64_t tile_idx;  // of all tiles
  int batch_idx;
  int head_kv;
  int first_head;    // query head of row 0
  int num_heads;     // rows that are there
  int64_t cached;    // keys in the cache
  int64_t num_keys;  // and the one that comes
  bool appends;      // one comes
};

WKV_FN Work work_of(const wkv_decode_params& params, const Shape& shape) {
  Work work;
  work.split_idx = blockIdx.x % shape.max_splits;
  work.tile_idx = blockIdx.x / shape.max_splits;
  const int head_tile = static_cast<int>(work.tile_idx % shape.head_tiles);
  const int pair = static_cast<int>(work.tile_idx / shape.head_tiles);
  work.head_kv = pair % params.num_heads_kv;
  work.batch_idx = pair / params.num_heads_kv;
  work.first_head = work.head_kv * shape.group + head_tile * kTileM;
  work.num_heads = min(shape.group - head_tile * kTileM, kTileM);
  const int cache_len = params.cache_lens[work.batch_idx];
  work.cached = clamp(cache_len, 0, params.cache.capacity);
  work.appends = cache_len >= 0 && params.k_new.data != nullptr;
  work.num_keys = work.cached + (work.appends ? 1 : 0);
  return work;
}

// Eight numbers of o, as one thread finishes them.
struct Eight {
  float x[kPiece];
};

struct alignas(16) Four {
  float x[4];
};
WKV_FN Eight load_eight(const float* x) {
  const Four low = *reinterpret_cast<const Four*>(x), high = *reinterpret_cast<const Four*>(x + 4);
  return {low.x[0], low.x[1], low.x[2], low.x[3], high.x[0], high.x[1], high.x[2], high.x[3]};
}
WKV_FN void store_eight(float* x, const Eight& eight) {
  *reinterpret_cast<Four*>(x) = {eight.x[0], eight.x[1], eight.x[2], eight.x[3]};
  *reinterpret_cast<Four*>(x + 4) = {eight.x[4], eight.x[5], eight.x[6], eight.x[7]};
}

// The workspace. Row r of a block's partial result is row blockIdx.x * shape.rows() + r of all.
struct Partials {
  uint32_t* counters;   // [kMaxTiles]: splits of a tile that are done
  PartialStats* stats;  // [rows]
  float* o;             // [rows, head_dim]
};
WKV_FN Partials partials_of(const wkv_decode_params& params, const Shape& shape) {
  Partials partials;
  partials.counters = static_cast<uint32_t*>(params.workspace);
  partials.stats = reinterpret_cast<PartialStats*>(partials.counters + kMaxTiles);
  partials.o = reinterpret_cast<float*>(partials.stats + partial_stats(shape));
  return partials;
}

// The weighted sum of partial results, each of which has an o that is relative to its own maximum.
struct Combination {
  float max = -kInfinity;
  float sum = 0;
  Eight o = {};

  // All maxima first,
  WKV_FN void see(float partial_max) { max = fmaxf(max, partial_max); }
  // then the parts. One without keys has maximum -inf and weighs nothing.
  WKV_FN void add(float partial_max, float partial_sum, const float* partial_o) {
    if (partial_max == -kInfinity && partial_sum == 0) return;
    const float weight = partial_max == max ? 1 : ptx::exp2_approx(partial_max - max);
    sum = fmaf(partial_sum, weight, sum);
    const Eight part = load_eight(partial_o);
#pragma unroll
    for (int i = 0; i < kPiece; ++i) o.x[i] = fmaf(part.x[i], weight, o.x[i]);
  }
};

// o_gmem[head, piece] and, from piece 0, lse.
template <class T>
WKV_FN void store_result(const wkv_decode_params& params, const Work& work, int row, int piece,
                         const Combination& result) {
  const int head = work.first_head + row;
  const float scale = result.sum == 0 ? 0 : 1 / result.sum;
  Vector result_vector;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    result_vector.words[i] = ptx::pack<T>(result.o.x[2 * i] * scale, result.o.x[2 * i + 1] * scale);
  }
  T* o_gmem = static_cast<T*>(params.o.data) + work.batch_idx * params.o.strides.batch +
              head * params.o.strides.head + piece * kPiece;
  store_vector(o_gmem, result_vector);
  if (params.lse != nullptr && piece == 0) {
    params.lse[int64_t{work.batch_idx} * params.num_heads_q + head] =
        result.sum == 0 ? -kInfinity : fmaf(result.max, kLn2, logf(result.sum));
  }
}

// o, lse = NaN, and a flag: the result cannot be known.
template <class T, int kHeadDim>
WKV_FN void refuse(const wkv_decode_params& params, const Work& work) {
  constexpr int kPieces = kRowPieces<kHeadDim>;
  Combination result;
  result.max = result.sum = kNan;
  for (float& x : result.o.x) x = result.sum;
  for (int i = threadIdx.x; i < work.num_heads * kPieces; i += kThreads) {
    store_result<T>(params, work, i / kPieces, i % kPieces, result);
  }
  if (threadIdx.x == 0) raise_flag(params.flags, WKV_FLAG_RANGE);
}

// cache[cached] = k_new, v_new by one warp, and what is wrong with the cache's length.
template <class T, int kHeadDim>
WKV_FN void append(const wkv_decode_params& params, const Work& work, unsigned lane_idx) {
  if (params.cache_lens[work.batch_idx] > params.cache.capacity && lane_idx == 0) {
    raise_flag(params.flags, WKV_FLAG_RANGE);
  }
  if (!work.appends) return;
  const bool fits = work.cached < params.cache.capacity;
  const int64_t offset = fits ? cache_offset(params.cache, work.batch_idx, work.cached) : kNoPage;
  if (offset == kNoPage) {
    if (lane_idx == 0) raise_flag(params.flags, fits ? WKV_FLAG_RANGE : WKV_FLAG_CAPACITY);
    return;
  }
  constexpr unsigned kPieces = kRowPieces<kHeadDim>;
  static_assert(2 * kPieces <= 32);
  if (lane_idx >= 2 * kPieces) return;
  const bool is_v = lane_idx >= kPieces;
  const wkv_tensor& source = is_v ? params.v_new : params.k_new;
  const unsigned column = lane_idx % kPieces * kPiece;
  const T* from = static_cast<const T*>(source.data) + work.batch_idx * source.strides.batch +
                  work.head_kv * source.strides.head + column;
  T* to = static_cast<T*>(is_v ? params.v_cache : params.k_cache) + offset +
          work.head_kv * params.cache.strides.head + column;
  store_vector(to, load_vector(from));
}

// k_smem, v_smem = the 16 keys and values from token `first` on; zeros past the last one, where 0 x
// NaN would be NaN, and for a page that is not there. Two groups.
template <class T, int kHeadDim>
WKV_FN void load_tile(const wkv_decode_params& params, const Work& work, T* k_smem, T* v_smem,
                      int64_t first, unsigned lane_idx) {
  using Loader = RowLoader<kHeadDim, 32>;
  constexpr int kPasses = kTileN / Loader::kRows;
  const unsigned first_row = lane_idx / Loader::kLanes;
  const unsigned first_piece = lane_idx % Loader::kLanes;
  const auto new_row = [&](const wkv_tensor& x) {
    return static_cast<const T*>(x.data) + work.batch_idx * x.strides.batch +
           work.head_kv * x.strides.head;
  };
  int64_t offsets[kPasses];
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const int64_t token = first + first_row + pass * Loader::kRows;
    offsets[pass] = kNoPage;
    if (token < work.cached) {
      offsets[pass] = cache_offset(params.cache, work.batch_idx, token);
      if (offsets[pass] == kNoPage) raise_flag(params.flags, WKV_FLAG_RANGE);
    }
  }
#pragma unroll
  for (int is_v = 0; is_v < 2; ++is_v) {
    const T* cache_gmem = static_cast<const T*>(is_v ? params.v_cache : params.k_cache) +
                          work.head_kv * params.cache.strides.head;
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const unsigned row = first_row + pass * Loader::kRows;
      const bool is_new = work.appends && first + row == work.cached;
      const bool inside = is_new || offsets[pass] != kNoPage;
      // The address of nothing has to be a multiple of 16 bytes too.
      const T* row_gmem = is_new ? new_row(is_v ? params.v_new : params.k_new)
                                 : cache_gmem + (inside ? offsets[pass] : 0);
#pragma unroll
      for (int piece = 0; piece < Loader::kPieces; piece += Loader::kLanes) {
        ptx::cp_async<16>(
            (is_v ? v_smem : k_smem) + piece_index<kHeadDim>(row, first_piece + piece),
            row_gmem + (first_piece + piece) * kPiece, inside ? 16 : 0);
      }
    }
    ptx::cp_async_commit();
  }
}

template <class T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    decode_kernel(const __grid_constant__ wkv_decode_params params) {
  auto& smem = ptx::shared_memory<SharedStorage<T, kHeadDim>>();
  const unsigned lane_idx = ptx::lane_idx();
  const int warp_idx = ptx::warp_idx();
  const Shape shape = shape_of(params);
  const Work work = work_of(params, shape);
  constexpr int kPieces = kRowPieces<kHeadDim>;

  // Without a key there is one split, of none.
  const int64_t keys_of_split = split_len(work.num_keys);
  const int num_splits = max(static_cast<int>(ceil_div<int64_t>(work.num_keys, keys_of_split)), 1);
  if (work.split_idx >= num_splits) return;
  const int64_t split_start = work.split_idx * keys_of_split;
  const int num_keys = static_cast<int>(min<int64_t>(work.num_keys - split_start, keys_of_split));

  const T* q_gmem = static_cast<const T*>(params.q.data) + work.batch_idx * params.q.strides.batch +
                    work.first_head * params.q.strides.head;
  for (int i = threadIdx.x; i < kTileM * kPieces; i += kThreads) {
    const int row = i / kPieces;
    ptx::cp_async<16>(smem.q + piece_index<kHeadDim>(row, i % kPieces),
                      q_gmem + row * params.q.strides.head + i % kPieces * kPiece,
                      row < work.num_heads ? 16 : 0);
  }
  ptx::cp_async_commit();

  // Step i of a warp is the keys from warp_start + i * kBlockN on. Past the last one, empty groups
  // keep the count.
  auto& tiles = smem.tiles[warp_idx];
  const int warp_start = warp_idx * kTileN;
  const auto load_step = [&](int step) {
    const int start = warp_start + step * kBlockN;
    if (start < num_keys) {
      auto& stage = tiles.stages[step % kStages];
      load_tile<T, kHeadDim>(params, work, stage.k, stage.v, split_start + start, lane_idx);
    } else {
      ptx::cp_async_commit();
      ptx::cp_async_commit();
    }
  };
#pragma unroll
  for (int step = 0; step < kStages; ++step) load_step(step);

  const bool is_first_tile = work.first_head == work.head_kv * shape.group;
  if (warp_idx == 0 && is_first_tile && work.split_idx == num_splits - 1) {
    append<T, kHeadDim>(params, work, lane_idx);
  }

  // q has landed, for all warps.
  ptx::cp_async_wait<2 * kStages>();
  ptx::sync_threads();

  float o[1][kHeadDim / 8][4] = {};
  RowState<1> state;
  const float softmax_scale_log2 = params.softmax_scale * kLog2E;
  for (int step = 0; warp_start + step * kBlockN < num_keys; ++step) {
    auto& stage = tiles.stages[step % kStages];
    // k has landed for the whole warp, then v.
    ptx::cp_async_wait<2 * kStages - 1>();
    ptx::sync_warp();
    float s[1][kTileN / 8][4] = {};
    multiply_qk<T, kHeadDim>(s, smem.q, stage.k, lane_idx);
    const int seen = num_keys - (warp_start + step * kBlockN);
    if (seen < kTileN) {
      mask_row(s[0], 0, seen, lane_idx);
      mask_row(s[0], 1, seen, lane_idx);
    }
    uint32_t p[1][kTileN / 16][4];
    softmax<T>(p, o, state, s, softmax_scale_log2);
    ptx::cp_async_wait<2 * kStages - 2>();
    ptx::sync_warp();
    multiply_pv<T>(o, p, stage.v, lane_idx);
    // The warp has read the stage.
    ptx::sync_warp();
    load_step(step + kStages);
  }

  // The place of the warp's tiles, which it has all read, takes its o.
  ptx::cp_async_wait<0>();
  ptx::sync_warp();
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = static_cast<int>(lane_idx / 4) + h * 8;
    const float sum = state.row_sum(0, h);
    if (lane_idx % 4 == 0) {
      smem.max[warp_idx][row] = state.max[0][h];
      smem.sum[warp_idx][row] = sum;
    }
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      float* pair = tiles.o + row * kPartialStride<kHeadDim> + j * 8 + lane_idx % 4 * 2;
      pair[0] = o[0][j][2 * h];
      pair[1] = o[0][j][2 * h + 1];
    }
  }
  ptx::sync_threads();

  const Partials partials = num_splits == 1 ? Partials{} : partials_of(params, shape);
  for (int i = threadIdx.x; i < work.num_heads * kPieces; i += kThreads) {
    const int row = i / kPieces, piece = i % kPieces;
    Combination block;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) block.see(smem.max[w][row]);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      block.add(smem.max[w][row], smem.sum[w][row],
                smem.tiles[w].o + row * kPartialStride<kHeadDim> + piece * kPiece);
    }
    if (num_splits == 1) {
      store_result<T>(params, work, row, piece, block);
    } else {
      const int64_t partial = int64_t{blockIdx.x} * shape.rows() + row;
      store_eight(partials.o + partial * kHeadDim + piece * kPiece, block.o);
      if (piece == 0) partials.stats[partial] = {block.max, block.sum};
    }
  }
  if (num_splits == 1) return;

  // The block's results come before its count for every block of the GPU, and the last one sees
  // those of all.
  ptx::sync_threads();
  if (threadIdx.x == 0) {
    ptx::fence_gpu();
    uint32_t* counter = partials.counters + work.tile_idx;
    const uint32_t before = ptx::atomic_add(counter, kCountStep) * kCountInverse;
    smem.num_done = static_cast<int>(min<uint32_t>(before, num_splits));
    if (smem.num_done == num_splits - 1) {
      ptx::atomic_exchange(counter, 0);
      ptx::fence_gpu();
    }
  }
  ptx::sync_threads();
  // Nobody knows who is last: the counter was not zero at first.
  if (smem.num_done == num_splits && work.split_idx == 0) refuse<T, kHeadDim>(params, work);
  if (smem.num_done != num_splits - 1) return;
  const int64_t first_partial = work.tile_idx * shape.max_splits * shape.rows();
  for (int i = threadIdx.x; i < work.num_heads * kPieces; i += kThreads) {
    const int row = i / kPieces, piece = i % kPieces;
    const auto partial_of = [&](int split) { return first_partial + split * shape.rows() + row; };
    Combination result;
#pragma unroll 4
    for (int split = 0; split < num_splits; ++split) {
      result.see(partials.stats[partial_of(split)].max);
    }
#pragma unroll 4
    for (int split = 0; split < num_splits; ++split) {
      const PartialStats stats = partials.stats[partial_of(split)];
      result.add(stats.max, stats.sum, partials.o + partial_of(split) * kHeadDim + piece * kPiece);
    }
    store_result<T>(params, work, row, piece, result);
  }
}

}  // namespace windowkv::inline WKV_MACHINE::decode
