// c = a @ b^T, with a: [m, k], b: [n, k] and c: [m, n] in half precision
//
// One block computes a 64 x 64 tile of c. Warp 4 is the producer: one of its lanes loads tiles of a
// and b by TMA into a ring of kStages stages. Warps 0-3 are the consumers: one warpgroup multiplies
// with wgmma, keeps the product of one stage in flight, and stores its tile of c by TMA. What lies
// outside a tensor is filled with zeros on loads and skipped on stores.
//
//   producer                               consumers
//   wait empty[s]; expect; load a, b  -->  wait full[s]; wgmma; wait for the product before
//                                     <--  arrive empty[s of the product before]

#pragma once

#include "ptx/barrier.h"
#include "ptx/fence.h"
#include "ptx/ldmatrix.h"
#include "ptx/mbarrier.h"
#include "ptx/thread.h"
#include "ptx/tma.h"
#include "ptx/wgmma.h"
#include "samples/wgmma_product/config.cuh"

namespace windowkv::inline WKV_MACHINE::wgmma_product {

// Which stage of the ring a tile uses, and the parity of that stage's phase.
WKV_FN int stage_of(int tile) { return tile % kStages; }
WKV_FN int parity_of(int tile) { return tile / kStages % 2; }

// The descriptor of a tile whose rows are rows of the swizzle: 8 rows further is 8 rows of bytes
// further.
template <class T>
WKV_FN uint64_t describe(const T* tile) {
  return ptx::matrix_descriptor(tile, kSwizzle, 0, 8 * ptx::swizzle_bytes(kSwizzle));
}

template <class T>
WKV_FN void produce(SharedStorage<T>& smem, const TensorMaps& maps, int first_m, int first_n,
                    int num_tiles) {
  for (int tile = 0; tile < num_tiles; ++tile) {
    const int stage = stage_of(tile);
    // The first round finds the stages empty: the phase before the first counts as complete.
    ptx::mbarrier_wait(smem.empty[stage], parity_of(tile) ^ 1);
    ptx::mbarrier_arrive_expect_bytes(smem.full[stage], kStageBytes);
    ptx::tma_load(smem.a[stage], maps.a, smem.full[stage], {tile * kTileK, first_m});
    ptx::tma_load(smem.b[stage], maps.b, smem.full[stage], {tile * kTileK, first_n});
  }
}

template <class T>
WKV_FN void consume(SharedStorage<T>& smem, const TensorMaps& maps, int first_m, int first_n,
                    int num_tiles) {
  const int lane_idx = ptx::lane_idx();
  float acc[kTileN / 2];

  for (int tile = 0; tile < num_tiles; ++tile) {
    const int stage = stage_of(tile);
    ptx::mbarrier_wait(smem.full[stage], parity_of(tile));
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < kTileK; k += 16) {
      ptx::wgmma<T, kTileN, ptx::Major::kK, ptx::Major::kK>(
          acc, describe(smem.a[stage] + k), describe(smem.b[stage] + k), tile > 0 || k > 0);
    }
    ptx::wgmma_commit();
    // The product of the tile before has read its stage.
    ptx::wgmma_wait<1>();
    if (tile > 0 && lane_idx == 0) ptx::mbarrier_arrive(smem.empty[stage_of(tile - 1)]);
  }
  ptx::wgmma_wait<0>();

  // Each warp holds 16 rows of c; 16 columns of them are four core matrices.
  const int row = ptx::warp_idx() * 16 + lane_idx % 16;
#pragma unroll
  for (int j = 0; j < kTileN; j += 16) {
    const uint32_t c_rmem[4] = {
        ptx::pack<T>(acc[j / 2 + 0], acc[j / 2 + 1]), ptx::pack<T>(acc[j / 2 + 2], acc[j / 2 + 3]),
        ptx::pack<T>(acc[j / 2 + 4], acc[j / 2 + 5]), ptx::pack<T>(acc[j / 2 + 6], acc[j / 2 + 7])};
    const uint32_t bytes = (row * kTileN + j + lane_idx / 16 * 8) * 2;
    ptx::store_matrix(smem.c + ptx::swizzled(kSwizzle, bytes) / 2, c_rmem);
  }
  ptx::fence_proxy_async();
  ptx::barrier_sync(kConsumersBarrier, kConsumerThreads);
  if (threadIdx.x == 0) {
    ptx::tma_store(maps.c, smem.c, {first_n, first_m});
    ptx::tma_store_commit();
    ptx::tma_store_wait_read<0>();
  }
}

// num_tiles: tiles of kTileK along k, at least 1.
template <class T>
__global__ void __launch_bounds__(kThreads, 1)
    wgmma_product_kernel(const __grid_constant__ TensorMaps maps, int num_tiles) {
  auto& smem = ptx::shared_memory<SharedStorage<T>>();
  const int first_m = blockIdx.y * kTileM;
  const int first_n = blockIdx.x * kTileN;

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      ptx::mbarrier_init(smem.full[stage], 1);
      ptx::mbarrier_init(smem.empty[stage], kConsumerWarps);
    }
    ptx::fence_mbarrier_init();
  }
  ptx::sync_threads();

  if (ptx::warpgroup_idx() == 0) {
    consume<T>(smem, maps, first_m, first_n, num_tiles);
  } else if (ptx::lane_idx() == 0) {
    produce<T>(smem, maps, first_m, first_n, num_tiles);
  }
}

}  // namespace windowkv::inline WKV_MACHINE::wgmma_product
