// o = softmax(q k^T softmax_scale) v, causal; lse = log(sum(exp(q k^T softmax_scale)))
//
//   for each sequence, KV head h and tile of rows, a row being a token and one of h's query heads:
//   s = q[rows, d] @ k[kv_start : kv_start + 64, h, d]^T    masked to the keys that the row sees
//   p = exp(s - max),  o[rows, d] += p @ v[kv_start : kv_start + 64, h, d]
//
// FlashAttention-2 (arXiv 2307.08691). The query heads that share a KV head are packed into the
// rows of a tile, so a short chunk of a prompt fills it too. A block has 128 rows, a warp 32 of
// them: it keeps its s, its p and its o in registers and meets the other warps only to share the
// tiles of k and v. Those come by cp.async in the order k[0], v[0], k[1], v[1] ... into a ring of
// three: while one is multiplied, the next two are under way.
//
// A row goes through the keys in steps of 64 from key 0 on, whatever rows share its tile, and a
// step of which it sees nothing leaves its numbers as they are: its bits do not depend on the
// batch, nor on how a prompt is cut into chunks.
//
// Shared memory: 128 rows of q (of o at the end), three tiles of 64 keys or values, swizzled: 20,
// 40, 60, 80 KB for head_dim 32, 64, 96, 128.

#pragma once

#include <cmath>

#include "common/attention.cuh"
#include "common/flags.cuh"
#include "common/head_tile.cuh"
#include "common/math.cuh"
#include "common/sequences.cuh"
#include "common/vector.cuh"
#include "prefill/config.cuh"
#include "ptx/barrier.h"
#include "ptx/cp_async.h"
#include "ptx/shuffle.h"
#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::prefill {

// The packed rows of a block. Packed row r of a KV head is query head r % group of its group, at
// token r / group.
struct RowTile {
  int64_t first_token;  // of row 0 of the tile
  int first_head;       // of row 0 of the tile, in the group
  int group;            // query heads of a KV head
  int num_rows;         // of this tile

  WKV_FN int64_t token(int row) const { return first_token + (first_head + row) / group; }
  WKV_FN int head(int row) const { return (first_head + row) % group; }
};

// What a block does.
struct Work {
  int batch_idx;
  int head_kv;
  Sequence sequence_q;
  RowTile tile;
};

// All heads of a tile side by side; the last tiles, which see most keys, first. The last block of
// the grid has none.
WKV_FN Work work_of(const wkv_prefill_params& params) {
  const unsigned num_pairs = params.batch * params.num_heads_kv;
  const unsigned pair = blockIdx.x % num_pairs;
  const int64_t first_row = int64_t{(gridDim.x - 2 - blockIdx.x) / num_pairs} * kTileM;
  const int group = params.num_heads_q / params.num_heads_kv;
  Work work;
  work.batch_idx = pair / params.num_heads_kv;
  work.head_kv = pair % params.num_heads_kv;
  work.sequence_q = sequence_of(params.sequences_q, work.batch_idx);
  work.tile = {first_row / group, static_cast<int>(first_row % group), group,
               static_cast<int>(clamp(work.sequence_q.seqlen * group - first_row, 0, kTileM))};
  return work;
}

// Tells of lengths that had to be clamped. A block of its own does it: the loop of the others has
// no registers to spare.
WKV_FN void flag_ranges(const wkv_prefill_params& params) {
  for (int batch_idx = threadIdx.x; batch_idx < params.batch; batch_idx += kThreads) {
    const auto clamped = [&](const wkv_sequences& sequences) {
      return sequence_clamped(sequences, sequence_of(sequences, batch_idx), batch_idx);
    };
    if (clamped(params.sequences_q) || clamped(params.sequences_kv)) {
      raise_flag(params.flags, WKV_FLAG_RANGE);
    }
  }
}

template <class T, int kHeadDim>
WKV_FN void load_rows(T* q_smem, const T* q_gmem, const wkv_strides& strides, const RowTile& tile) {
  using Loader = RowLoader<kHeadDim, kThreads>;
  const unsigned first_piece = threadIdx.x % Loader::kLanes;
  for (unsigned row = threadIdx.x / Loader::kLanes; row < kTileM; row += Loader::kRows) {
    const bool inside = static_cast<int>(row) < tile.num_rows;
    const T* row_gmem = q_gmem + tile.token(row) * strides.token + tile.head(row) * strides.head;
#pragma unroll
    for (int piece = 0; piece < Loader::kPieces; piece += Loader::kLanes) {
      ptx::cp_async<16>(q_smem + piece_index<kHeadDim>(row, first_piece + piece),
                        row_gmem + (first_piece + piece) * kPiece, inside ? 16 : 0);
    }
  }
}

// tile_smem = x_gmem[kv_start : kv_start + 64]; zeros past `rows`, where 0 x NaN would be NaN.
template <class T, int kHeadDim>
WKV_FN void load_tile(T* tile_smem, const T* x_gmem, int64_t token_stride, int kv_start, int rows) {
  using Loader = RowLoader<kHeadDim, kThreads>;
  const unsigned first_row = threadIdx.x / Loader::kLanes;
  const unsigned first_piece = threadIdx.x % Loader::kLanes;
  const int rows_left = rows - kv_start - static_cast<int>(first_row);
  const T* row_gmem = x_gmem + (kv_start + first_row) * token_stride + first_piece * kPiece;
#pragma unroll
  for (int row = 0; row < kTileN; row += Loader::kRows) {
    const bool inside = row < rows_left;
#pragma unroll
    for (int piece = 0; piece < Loader::kPieces; piece += Loader::kLanes) {
      ptx::cp_async<16>(tile_smem + piece_index<kHeadDim>(first_row + row, first_piece + piece),
                        row_gmem + piece * kPiece, inside ? 16 : 0);
    }
    row_gmem += Loader::kRows * token_stride;
  }
}

// o_gmem[rows, d] = o / sum, by way of the warp's 32 rows of o_smem, and lse.
template <class T, int kHeadDim>
WKV_FN void store(const wkv_prefill_params& params, T* o_smem, const float (&o)[2][kHeadDim / 8][4],
                  const RowState<2>& state, const Work& work, int warp_row, unsigned lane_idx) {
  const auto [batch_idx, head_kv, sequence_q, tile] = work;
  const int64_t first_head = int64_t{head_kv} * tile.group;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float sum = state.row_sum(i, h);
      const float scale = sum == 0 ? 0 : 1 / sum;
      const unsigned smem_row = i * 16 + h * 8 + lane_idx / 4;
#pragma unroll
      for (int j = 0; j < kRowPieces<kHeadDim>; ++j) {
        // Adding 0 takes the sign off a zero, which a step without keys would also do.
        const uint32_t pair =
            ptx::pack<T>((o[i][j][2 * h] + 0.0f) * scale, (o[i][j][2 * h + 1] + 0.0f) * scale);
        auto* words = reinterpret_cast<uint32_t*>(o_smem + piece_index<kHeadDim>(smem_row, j));
        words[lane_idx % 4] = pair;
      }
      const int row = warp_row + static_cast<int>(smem_row);
      if (params.lse.data != nullptr && lane_idx % 4 == 0 && row < tile.num_rows) {
        float* lse_gmem = params.lse.data +
                          sequence_offset(params.sequences_q, sequence_q, params.lse, batch_idx);
        lse_gmem[(first_head + tile.head(row)) * params.lse.head_stride + tile.token(row)] =
            sum == 0 ? -kInfinity : fmaf(state.max[i][h], kLn2, logf(sum));
      }
    }
  }
  ptx::sync_warp();

  using Loader = RowLoader<kHeadDim, 32>;
  const wkv_strides& strides = params.o.strides;
  T* o_gmem = static_cast<T*>(params.o.data) +
              sequence_offset(params.sequences_q, sequence_q, strides, batch_idx) +
              first_head * strides.head;
  const unsigned first_piece = lane_idx % Loader::kLanes;
  for (unsigned smem_row = lane_idx / Loader::kLanes; smem_row < kWarpM;
       smem_row += Loader::kRows) {
    const int row = warp_row + static_cast<int>(smem_row);
    if (row >= tile.num_rows) break;
    T* row_gmem = o_gmem + tile.token(row) * strides.token + tile.head(row) * strides.head;
#pragma unroll
    for (int i = 0; i < Loader::kPieces; i += Loader::kLanes) {
      const unsigned piece = first_piece + i;
      store_vector(row_gmem + piece * kPiece,
                   load_vector(o_smem + piece_index<kHeadDim>(smem_row, piece)));
    }
  }
}

template <class T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, kMinBlocks)
    prefill_kernel(const __grid_constant__ wkv_prefill_params params) {
  auto& smem = ptx::shared_memory<SharedStorage<T, kHeadDim>>();
  const unsigned lane_idx = ptx::lane_idx();
  const int warp_row = ptx::warp_idx() * kWarpM;

  if (blockIdx.x == gridDim.x - 1) {
    flag_ranges(params);
    return;
  }
  const Work work = work_of(params);
  const int batch_idx = work.batch_idx;
  const int head_kv = work.head_kv;
  const Sequence& sequence_q = work.sequence_q;
  const RowTile& tile = work.tile;
  if (tile.num_rows == 0) return;
  const int group = tile.group;
  const Sequence sequence_kv = sequence_of(params.sequences_kv, batch_idx);

  // Row 0 of the tile sees so many keys, or would, and the others one more for each token on.
  const int num_keys = static_cast<int>(sequence_kv.seqlen);
  const int first_visible =
      static_cast<int>(clamp(tile.first_token + 1 + sequence_kv.seqlen - sequence_q.seqlen,
                             -2 * kTileM, sequence_kv.seqlen));
  const auto visible = [&](int row) {
    return max(first_visible + (tile.first_head + row) / group, 0);
  };
  const int num_steps = ceil_div(visible(tile.num_rows - 1), kTileN);
  // What the first and the last of the warp's rows see.
  const int warp_first_visible = visible(warp_row);
  const int warp_last_visible =
      warp_row < tile.num_rows ? visible(min(warp_row + kWarpM, tile.num_rows) - 1) : 0;

  const wkv_strides& q_strides = params.q.strides;
  const T* q_gmem = static_cast<const T*>(params.q.data) +
                    sequence_offset(params.sequences_q, sequence_q, q_strides, batch_idx) +
                    static_cast<int64_t>(head_kv) * group * q_strides.head;
  const auto kv_gmem = [&](const wkv_tensor& x) {
    return static_cast<const T*>(x.data) +
           sequence_offset(params.sequences_kv, sequence_kv, x.strides, batch_idx) +
           head_kv * x.strides.head;
  };
  const T* k_gmem = kv_gmem(params.k);
  const T* v_gmem = kv_gmem(params.v);

  // k or v of a step, tile 2 step or 2 step + 1 of those that take turns in the ring. Past the last
  // one an empty group keeps the count.
  const auto load_kv = [&](int step, bool is_v) {
    if (step < num_steps) {
      load_tile<T, kHeadDim>(smem.kv[(2 * step + is_v) % kStages], is_v ? v_gmem : k_gmem,
                             is_v ? params.v.strides.token : params.k.strides.token, step * kTileN,
                             num_keys);
    }
    ptx::cp_async_commit();
  };

  load_rows<T, kHeadDim>(smem.q, q_gmem, q_strides, tile);
  load_kv(0, false);
  load_kv(0, true);

  float o[2][kHeadDim / 8][4] = {};
  RowState<2> state;
  const float softmax_scale_log2 = params.softmax_scale * kLog2E;

  for (int step = 0; step < num_steps; ++step) {
    const int kv_start = step * kTileN;
    const bool active = kv_start < warp_last_visible;
    uint32_t p[2][kTileN / 16][4];

    // k has landed for all threads, and all are done with the v before, whose place comes next.
    ptx::cp_async_wait<1>();
    ptx::sync_threads();
    load_kv(step + 1, false);
    if (active) {
      float s[2][kTileN / 8][4] = {};
      multiply_qk<T, kHeadDim>(s, smem.q + warp_row * kHeadDim, smem.kv[2 * step % kStages],
                               lane_idx);
      // Only the steps on the diagonal have keys that a row does not see; the last row sees all
      // that there are.
      if (warp_first_visible - kv_start < kTileN) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            const int row = warp_row + i * 16 + h * 8 + static_cast<int>(lane_idx / 4);
            mask_row(s[i], h, visible(row) - kv_start, lane_idx);
          }
        }
      }
      softmax<T>(p, o, state, s, softmax_scale_log2);
    }

    // v has landed for all threads, and all are done with k.
    ptx::cp_async_wait<1>();
    ptx::sync_threads();
    load_kv(step + 1, true);
    if (active) multiply_pv<T>(o, p, smem.kv[(2 * step + 1) % kStages], lane_idx);
  }

  // q's place takes o: nothing is in flight, and each warp has only read its own rows.
  ptx::cp_async_wait<0>();
  ptx::sync_threads();
  store<T, kHeadDim>(params, smem.q + warp_row * kHeadDim, o, state, work, warp_row, lane_idx);
}

}  // namespace windowkv::inline WKV_MACHINE::prefill
