// t[h, j] = sum_i exp(q[i, h] k[j, h / group] scale - lse[h, i]), i the observing rows that see j
//
// Flash Attention's log-sum-exp makes a probability of each score at once, so k is read once and
// the attention matrix lives in registers alone.
//
// One block takes a sequence, a KV head, and every num_spans-th tile of 128 columns: so the tiles
// with many rows (all rows observe in H2O) and those with few are spread evenly. Each of its four
// warps works on 32 columns by itself, in products of their keys with 16 query rows,
//   // [j:j+32, d] @ [i:i+16, d] -> [32, 16]
// whose left side, the keys, stays in registers for all rows of all heads of the group. While they
// are used the keys of the next tile arrive in shared memory. The query rows of the group stay in
// shared memory where they fit, as those of a suffix do; otherwise they come in chunks of 64, one
// ahead, again for each tile. Rows before a tile's first column see nothing of it and are left out.
//
// Order of a sum: over the rows of a chunk that are 2t, 2t + 1 mod 8, for the four t of a quad;
// then over the chunks; then over the quad. It depends on the sequence alone.
//
// Shared memory: keys, 4 warps x 32 rows; 128 query rows; their log-sum-exp. Rows of 16-byte pieces
// that trade places so that the eight rows of an 8 x 8 matrix fall into different banks.

#pragma once

#include "common/head_tile.cuh"
#include "common/math.cuh"
#include "ptx/barrier.h"
#include "ptx/cp_async.h"
#include "ptx/ldmatrix.h"
#include "ptx/mma.h"
#include "ptx/shuffle.h"
#include "ptx/thread.h"
#include "score/config.cuh"
#include "score/observed.cuh"

namespace windowkv::inline WKV_MACHINE::score {

// Element `d`, the first of a piece, of row `row`.
template <int kHeadDim, class T>
WKV_FN T* element(T* rows, int row, int d) {
  return rows + piece_index<kHeadDim>(row, d / kPiece);
}

// A step of a block: one chunk of the rows of one head, against one tile of columns.
struct Step {
  int tile, head, chunk;
};

// Which rows and columns of a sequence see each other.
struct Visibility {
  int rows;            // that observe
  int columns;         // that are scored
  int first_position;  // of row 0; below 0 when there are more rows than keys

  // Earlier chunks see nothing of the tile.
  WKV_FN int first_chunk(int tile) const {
    const int row = tile * kTileColumns - first_position;
    return max(row, 0) / kChunkRows;
  }
};

// Adds the probabilities of 16 rows to the sums of 32 columns. The first row is `row`, the first
// column `column`; sums[2 m + e] is of column 16 m + 8 e + lane / 4.
template <class T, int kHeadDim, bool kMasked>
WKV_FN void add_rows(const uint32_t (&k_rmem)[kColumnTiles][kHeadDim / 16][4], T* q_smem,
                     const float* lse_smem, float scale_log2, const Visibility& visibility, int row,
                     int column, float (&sums)[2 * kColumnTiles]) {
  const int lane_idx = ptx::lane_idx();
  float acc[kColumnTiles][2][4] = {};
#pragma unroll
  for (int d = 0; d < kHeadDim; d += 16) {
    // Matrices: the left and right half of 8 rows, then of the next 8.
    uint32_t q_rmem[4];
    ptx::load_matrix(q_rmem, element<kHeadDim>(q_smem, lane_idx / 16 * 8 + lane_idx % 8,
                                               d + lane_idx / 8 % 2 * 8));
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const uint32_t q_pair[2] = {q_rmem[2 * n], q_rmem[2 * n + 1]};
#pragma unroll
      for (int m = 0; m < kColumnTiles; ++m) {
        ptx::mma_m16n8k16<T>(acc[m][n], k_rmem[m][d / 16], q_pair, acc[m][n]);
      }
    }
  }

#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int odd = 0; odd < 2; ++odd) {
      const int row_of_tile = 8 * n + lane_idx % 4 * 2 + odd;
      const float lse = lse_smem[row_of_tile];
      // A row without keys has no probabilities: exp2(-inf), and not exp2(+inf).
      const float lse_log2 = lse == -INFINITY ? INFINITY : lse * kLog2E;
      const int seen = visibility.first_position + row + row_of_tile - column - lane_idx / 4;
      const bool observes = row + row_of_tile < visibility.rows;
#pragma unroll
      for (int m = 0; m < kColumnTiles; ++m) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const float p = ptx::exp2_approx(acc[m][n][2 * e + odd] * scale_log2 - lse_log2);
          const bool visible = !kMasked || (observes && 16 * m + 8 * e <= seen);
          sums[2 * m + e] += visible ? p : 0;
        }
      }
    }
  }
}

// Of the four numbers of each lane of a quad, lane t gets the quad's sum of number t.
WKV_FN float sum_over_quad(const float (&sums)[4]) {
  const int lane_idx = ptx::lane_idx();
  const bool upper = lane_idx & 2;
  const bool odd = lane_idx & 1;
  const float first = (upper ? sums[2] : sums[0]) + ptx::shuffle_xor(upper ? sums[0] : sums[2], 2);
  const float second = (upper ? sums[3] : sums[1]) + ptx::shuffle_xor(upper ? sums[1] : sums[3], 2);
  return (odd ? second : first) + ptx::shuffle_xor(odd ? first : second, 1);
}

template <class T, int kHeadDim>
__global__ void __launch_bounds__(kThreads, kBlocksOfSm)
    score_columns_kernel(const __grid_constant__ wkv_score_params params, int num_spans) {
  constexpr int kPieces = kRowPieces<kHeadDim>;
  auto& smem = ptx::shared_memory<ColumnsStorage<T, kHeadDim>>();
  const int warp_idx = ptx::warp_idx();
  const int lane_idx = ptx::lane_idx();
  const int group = params.num_heads_q / params.num_heads_kv;
  // The spans are outermost: in H2O the first tiles, which most rows see, come first.
  const int head_kv = static_cast<int>(blockIdx.x) % params.num_heads_kv;
  const int batch_idx = static_cast<int>(blockIdx.x) / params.num_heads_kv % params.batch;
  const int span = static_cast<int>(blockIdx.x) / params.num_heads_kv / params.batch;

  const Observed observed = observe(params, batch_idx);
  const int rows = observed.rows;
  const int num_tiles = ceil_div(observed.columns, kTileColumns);
  if (span >= num_tiles) return;
  const Visibility visibility = {rows, observed.columns,
                                 static_cast<int>(observed.kv.seqlen) - rows};
  const int padded_rows = ceil_div(rows, kRowTile) * kRowTile;
  // At least one, so that columns that nothing observes become 0.
  const int chunks = rows == 0 ? 1 : ceil_div(rows, kChunkRows);
  const bool resident = padded_rows <= kRows / group;

  // q_gmem[0, h] and lse_gmem[h, 0] are of the first row that observes.
  const int64_t first_row = observed.q.seqlen - rows;
  const T* q_gmem = static_cast<const T*>(params.q.data) +
                    sequence_offset(params.sequences_q, observed.q, params.q.strides, batch_idx) +
                    first_row * params.q.strides.token + head_kv * group * params.q.strides.head;
  const float* lse_gmem = params.lse.data +
                          sequence_offset(params.sequences_q, observed.q, params.lse, batch_idx) +
                          first_row + head_kv * group * params.lse.head_stride;
  const T* k_gmem = static_cast<const T*>(params.k.data) +
                    sequence_offset(params.sequences_kv, observed.kv, params.k.strides, batch_idx) +
                    head_kv * params.k.strides.head;
  const float scale_log2 = params.softmax_scale * kLog2E;

  // k_smem = k_gmem[j : j + 32], of this warp by this warp; columns that are not scored are 0.
  const auto load_k = [&](int tile) {
    const int first = tile * kTileColumns + warp_idx * kWarpColumns;
#pragma unroll 1
    for (int i = lane_idx; i < kWarpColumns * kPieces; i += 32) {
      const int column = first + i / kPieces;
      const bool inside = column < visibility.columns;
      const T* source =
          k_gmem + (inside ? column * params.k.strides.token + i % kPieces * kPiece : 0);
      ptx::cp_async<16>(element<kHeadDim>(smem.k[warp_idx], i / kPieces, i % kPieces * kPiece),
                        source, inside ? 16 : 0);
    }
  };
  // q_smem[place : place + count] = q_gmem[row : row + count, head], and their lse; rows past the
  // last are 0.
  const auto load_rows = [&](int place, int head, int row, int count) {
#pragma unroll 1
    for (int i = threadIdx.x; i < count * kPieces; i += kThreads) {
      const int of_head = row + i / kPieces;
      const bool inside = of_head < rows;
      const T* source = q_gmem + head * params.q.strides.head +
                        (inside ? of_head * params.q.strides.token + i % kPieces * kPiece : 0);
      ptx::cp_async<16>(element<kHeadDim>(smem.q, place + i / kPieces, i % kPieces * kPiece),
                        source, inside ? 16 : 0);
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < count; i += kThreads) {
      const bool inside = row + i < rows;
      const float* source = lse_gmem + head * params.lse.head_stride + (inside ? row + i : 0);
      ptx::cp_async<4>(&smem.lse[place + i], source, inside ? 4 : 0);
    }
  };
  const auto chunk_rows = [&](int chunk) {
    const int left = padded_rows - chunk * kChunkRows;
    return min(left, kChunkRows);
  };
  const auto following = [&](Step step) {
    if (++step.chunk < chunks) return step;
    if (++step.head == group) {
      step.head = 0;
      step.tile += num_spans;
    }
    step.chunk = visibility.first_chunk(step.tile);
    return step;
  };

  const Step first_step = {span, 0, visibility.first_chunk(span)};
  load_k(span);
  if (resident) {
    for (int head = 0; head < group; ++head) load_rows(head * padded_rows, head, 0, padded_rows);
  } else {
    load_rows(0, 0, first_step.chunk * kChunkRows, chunk_rows(first_step.chunk));
  }
  ptx::cp_async_commit();

  uint32_t k_rmem[kColumnTiles][kHeadDim / 16][4];
  float sums[2 * kColumnTiles] = {};
  int stage = 0;
  bool first = true;
  for (Step step = first_step; step.tile < num_tiles;) {
    const Step next = following(step);
    const int first_chunk = visibility.first_chunk(step.tile);
    const bool new_tile = step.head == 0 && step.chunk == first_chunk;
    if (new_tile || !resident) ptx::cp_async_wait<0>();
    if (first || !resident) {
      // The rows have landed for all, and all are done with the stage that comes next.
      ptx::sync_threads();
    } else if (new_tile) {
      ptx::sync_warp(ptx::kFullWarp);
    }
    first = false;

    if (new_tile) {
#pragma unroll
      for (int m = 0; m < kColumnTiles; ++m) {
#pragma unroll
        for (int d = 0; d < kHeadDim; d += 16) {
          // Matrices: columns 0-7 and 8-15 of the left half, then of the right half.
          ptx::load_matrix(
              k_rmem[m][d / 16],
              element<kHeadDim>(smem.k[warp_idx], m * 16 + lane_idx % 16, d + lane_idx / 16 * 8));
        }
      }
      // All lanes have their keys before the next ones come.
      ptx::sync_warp(ptx::kFullWarp);
      if (step.tile + num_spans < num_tiles) load_k(step.tile + num_spans);
    }
    if (!resident && next.tile < num_tiles) {
      load_rows((stage ^ 1) * kChunkRows, next.head, next.chunk * kChunkRows,
                chunk_rows(next.chunk));
    }
    ptx::cp_async_commit();

    const int place =
        resident ? step.head * padded_rows + step.chunk * kChunkRows : stage * kChunkRows;
    const int column = step.tile * kTileColumns + warp_idx * kWarpColumns;
    float chunk_sums[2 * kColumnTiles] = {};
    for (int i = 0; i < chunk_rows(step.chunk); i += kRowTile) {
      const int row = step.chunk * kChunkRows + i;
      const int position = visibility.first_position + row;
      if (position + kRowTile - 1 < column) continue;
      T* q_smem = smem.q + (place + i) * kHeadDim;
      if (position >= column + kWarpColumns - 1 && row + kRowTile <= rows) {
        add_rows<T, kHeadDim, false>(k_rmem, q_smem, &smem.lse[place + i], scale_log2, visibility,
                                     row, column, chunk_sums);
      } else {
        add_rows<T, kHeadDim, true>(k_rmem, q_smem, &smem.lse[place + i], scale_log2, visibility,
                                    row, column, chunk_sums);
      }
    }
#pragma unroll
    for (int i = 0; i < 2 * kColumnTiles; ++i) {
      sums[i] = (step.chunk == first_chunk ? 0 : sums[i]) + chunk_sums[i];
    }
    if (step.chunk == chunks - 1) {
      const float sum = sum_over_quad(sums);
      const int of_lane = column + lane_idx % 4 * 8 + lane_idx / 4;
      float* t_gmem = column_sums(params, observed, batch_idx, head_kv * group + step.head);
      if (of_lane < visibility.columns) t_gmem[of_lane] = sum;
    }
    stage ^= 1;
    step = next;
  }
}

}  // namespace windowkv::inline WKV_MACHINE::score
