// c = a @ b^T, with a: [m, k], b: [n, k] in half precision and c: [m, n] in float
//
// One block computes a 64 x 64 tile of c, with four warps of 32 x 32 each. The tiles of a and b
// come by cp.async, two ahead of the one that the tensor cores work on; what lies outside a tensor
// is filled with zeros. Shared memory: kStages x (64 x 32 of a, 64 x 32 of b), swizzled.

#pragma once

#include "ptx/barrier.h"
#include "ptx/cp_async.h"
#include "ptx/ldmatrix.h"
#include "ptx/mma.h"
#include "ptx/thread.h"
#include "samples/mma_product/config.cuh"

namespace windowkv::inline WKV_MACHINE::mma_product {

// The piece of 8 numbers that holds column `k` of row `row` of a tile.
template <class T>
WKV_FN T* piece(T* tile, int row, int k) {
  const int bytes = static_cast<int>(ptx::swizzled(kSwizzle, (row * kPieces + k / 8) * 16));
  return tile + bytes / 2;
}

// tile_smem = x_gmem[first_row : first_row + rows_of_tile, first_k : first_k + kTileK]
template <class T, int kRows>
WKV_FN void load_tile(T* tile_smem, const T* x_gmem, int64_t first_row, int64_t rows,
                      int64_t first_k, int64_t k, int64_t stride) {
  for (int i = threadIdx.x; i < kRows * kPieces; i += kThreads) {
    const int64_t row = first_row + i / kPieces;
    const int64_t column = first_k + i % kPieces * 8;
    const bool inside = row < rows && column < k;
    const T* source = inside ? x_gmem + row * stride + column : x_gmem;
    ptx::cp_async<16>(piece(tile_smem, i / kPieces, i % kPieces * 8), source, inside ? 16 : 0);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) mma_product_kernel(wkv_product_params params) {
  auto& smem = ptx::shared_memory<SharedStorage<T>>();
  const int lane_idx = ptx::lane_idx();
  const int warp_m = ptx::warp_idx() / 2 * kWarpM;
  const int warp_n = ptx::warp_idx() % 2 * kWarpN;
  const int64_t first_m = static_cast<int64_t>(blockIdx.y) * kTileM;
  const int64_t first_n = static_cast<int64_t>(blockIdx.x) * kTileN;
  const int num_tiles = static_cast<int>(ceil_div<int64_t>(params.k, kTileK));

  const auto load_stage = [&](int tile) {
    const int stage = tile % kStages;
    if (tile < num_tiles) {
      load_tile<T, kTileM>(smem.a[stage], static_cast<const T*>(params.a), first_m, params.m,
                           static_cast<int64_t>(tile) * kTileK, params.k, params.a_stride);
      load_tile<T, kTileN>(smem.b[stage], static_cast<const T*>(params.b), first_n, params.n,
                           static_cast<int64_t>(tile) * kTileK, params.k, params.b_stride);
    }
    // An empty group keeps the count of groups equal to the count of tiles.
    ptx::cp_async_commit();
  };

  float acc[kWarpM / 16][kWarpN / 8][4] = {};
  for (int tile = 0; tile < kStages - 1; ++tile) load_stage(tile);

  for (int tile = 0; tile < num_tiles; ++tile) {
    // This tile has landed for all threads, and all are done with the one before, whose stage comes
    // next.
    ptx::cp_async_wait<kStages - 2>();
    ptx::sync_threads();
    load_stage(tile + kStages - 1);

    T* a_smem = smem.a[tile % kStages];
    T* b_smem = smem.b[tile % kStages];
#pragma unroll
    for (int k = 0; k < kTileK; k += 16) {
      // Matrices: rows 0-7 and 8-15 of the left half, then of the right half.
      uint32_t a_rmem[kWarpM / 16][4];
#pragma unroll
      for (int i = 0; i < kWarpM / 16; ++i) {
        ptx::load_matrix(a_rmem[i],
                         piece(a_smem, warp_m + i * 16 + lane_idx % 16, k + lane_idx / 16 * 8));
      }
      // Matrices: the left and right half of 8 columns of c, then of the next 8.
      uint32_t b_rmem[kWarpN / 16][4];
#pragma unroll
      for (int j = 0; j < kWarpN / 16; ++j) {
        ptx::load_matrix(b_rmem[j],
                         piece(b_smem, warp_n + j * 16 + lane_idx / 16 * 8 + lane_idx % 8,
                               k + lane_idx / 8 % 2 * 8));
      }
#pragma unroll
      for (int i = 0; i < kWarpM / 16; ++i) {
#pragma unroll
        for (int j = 0; j < kWarpN / 8; ++j) {
          const uint32_t b_pair[2] = {b_rmem[j / 2][j % 2 * 2], b_rmem[j / 2][j % 2 * 2 + 1]};
          ptx::mma_m16n8k16<T>(acc[i][j], a_rmem[i], b_pair, acc[i][j]);
        }
      }
    }
  }

  auto* c_gmem = static_cast<float*>(params.c);
#pragma unroll
  for (int i = 0; i < kWarpM / 16; ++i) {
#pragma unroll
    for (int j = 0; j < kWarpN / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int64_t row = first_m + warp_m + i * 16 + lane_idx / 4 + e / 2 * 8;
        const int64_t column = first_n + warp_n + j * 8 + lane_idx % 4 * 2 + e % 2;
        if (row < params.m && column < params.n) {
          c_gmem[row * params.c_stride + column] = acc[i][j][e];
        }
      }
    }
  }
}

}  // namespace windowkv::inline WKV_MACHINE::mma_product
