// Probes of stmatrix, mbarrier.h, tma.h, wgmma.h, registers.h, cluster.h and fence.h: SM 90a.

#pragma once

#include "ptx/atomics.h"
#include "ptx/cluster.h"
#include "ptx/fence.h"
#include "ptx/ldmatrix.h"
#include "ptx/mbarrier.h"
#include "ptx/registers.h"
#include "ptx/test/probe.cuh"
#include "ptx/tma.h"
#include "ptx/wgmma.h"

namespace windowkv::inline WKV_MACHINE::probe {

struct alignas(128) StoreMatrixStorage {
  uint16_t rows[32][8];
};

template <int N>
WKV_FN void store_matrix_probe(const Arguments& arguments) {
  auto& smem = ptx::shared_memory<StoreMatrixStorage>();
  const int lane = ptx::lane_idx();
  uint32_t fragment[N];
  for (int i = 0; i < N; ++i) fragment[i] = in<uint32_t>(arguments, lane * N + i);
  if (arguments.values[1] != 0) {
    ptx::store_matrix_transposed(smem.rows[lane], fragment);
  } else {
    ptx::store_matrix(smem.rows[lane], fragment);
  }
  ptx::sync_warp();
  if (lane >= 8 * N) return;
  for (int i = 0; i < 8; ++i) out<uint16_t>(arguments, lane * 8 + i) = smem.rows[lane][i];
}

// values: matrices, transposed. Each lane's registers -> rows of 8 uint16.
__global__ void stmatrix_probe(const __grid_constant__ Arguments arguments) {
  if (arguments.values[0] == 1) store_matrix_probe<1>(arguments);
  if (arguments.values[0] == 2) store_matrix_probe<2>(arguments);
  if (arguments.values[0] == 4) store_matrix_probe<4>(arguments);
}

struct MbarrierStorage {
  ptx::Mbarrier full, empty;
  uint32_t slots[32];
};

// Warp 0 produces 32 numbers a round, warp 1 takes them. values: rounds, 1 to poll instead of
// waiting. out[round][32].
__global__ void mbarrier_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<MbarrierStorage>();
  const int lane = ptx::lane_idx();
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(smem.full, 32);
    ptx::mbarrier_init(smem.empty, 32);
    ptx::fence_mbarrier_init();
  }
  ptx::sync_threads();
  const auto wait = [&](ptx::Mbarrier& barrier, int parity) {
    if (arguments.values[1] == 0) {
      ptx::mbarrier_wait(barrier, parity);
    } else {
      while (!ptx::mbarrier_try_wait(barrier, parity)) {
      }
    }
  };
  for (int round = 0; round < arguments.values[0]; ++round) {
    if (ptx::warp_idx() == 0) {
      wait(smem.empty, round % 2 ^ 1);
      smem.slots[lane] = in<uint32_t>(arguments, round * 32 + lane);
      ptx::mbarrier_arrive(smem.full);
    } else {
      wait(smem.full, round % 2);
      out<uint32_t>(arguments, round * 32 + lane) = smem.slots[31 - lane];
      ptx::mbarrier_arrive(smem.empty);
    }
  }
  ptx::sync_threads();
  if (threadIdx.x == 0) {
    ptx::mbarrier_invalidate(smem.full);
    ptx::mbarrier_invalidate(smem.empty);
  }
}

struct ReusedStorage {
  union {
    ptx::Mbarrier barrier;
    uint32_t words[2];
  };
};

// One thread arrives `count` times, then the barrier's memory holds plain words, then a barrier of
// another count. values: count of each. out: {complete before the last arrival, after it} of the
// first, the words, the same of the second.
__global__ void mbarrier_reuse_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<ReusedStorage>();
  if (threadIdx.x != 0) return;
  for (int turn = 0; turn < 2; ++turn) {
    const auto count = static_cast<int>(arguments.values[turn]);
    ptx::mbarrier_init(smem.barrier, count);
    ptx::fence_mbarrier_init();
    for (int i = 1; i < count; ++i) ptx::mbarrier_arrive(smem.barrier);
    out<uint32_t>(arguments, 4 * turn) = ptx::mbarrier_try_wait(smem.barrier, 0);
    ptx::mbarrier_arrive(smem.barrier);
    ptx::mbarrier_wait(smem.barrier, 0);
    out<uint32_t>(arguments, 4 * turn + 1) = ptx::mbarrier_try_wait(smem.barrier, 0);
    ptx::mbarrier_invalidate(smem.barrier);
    if (turn == 1) continue;
    for (int i = 0; i < 2; ++i) smem.words[i] = in<uint32_t>(arguments, i);
    for (int i = 0; i < 2; ++i) out<uint32_t>(arguments, 2 + i) = smem.words[i];
  }
}

struct alignas(1024) TmaStorage {
  unsigned char box[32 * 1024];
  ptx::Mbarrier barrier;
};

// values: rank, bytes of the box, coordinates. Loads the box and writes shared memory out as it
// lies.
__global__ void tma_load_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<TmaStorage>();
  const auto bytes = static_cast<int>(arguments.values[1]);
  int c[4];
  for (int i = 0; i < 4; ++i) c[i] = static_cast<int>(arguments.values[2 + i]);
  if (threadIdx.x == 0) {
    ptx::tma_prefetch(arguments.map);
    ptx::mbarrier_init(smem.barrier, 1);
    ptx::fence_mbarrier_init();
    ptx::mbarrier_expect_bytes(smem.barrier, bytes);
    if (arguments.values[0] == 2)
      ptx::tma_load(smem.box, arguments.map, smem.barrier, {c[0], c[1]});
    if (arguments.values[0] == 3) {
      ptx::tma_load(smem.box, arguments.map, smem.barrier, {c[0], c[1], c[2]});
    }
    if (arguments.values[0] == 4) {
      ptx::tma_load(smem.box, arguments.map, smem.barrier, {c[0], c[1], c[2], c[3]});
    }
    ptx::mbarrier_arrive(smem.barrier);
  }
  ptx::sync_threads();
  ptx::mbarrier_wait(smem.barrier, 0);
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) arguments.output[i] = smem.box[i];
}

// values: rank, bytes of the box, coordinates. Fills shared memory as given and stores the box.
__global__ void tma_store_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<TmaStorage>();
  const auto bytes = static_cast<int>(arguments.values[1]);
  int c[4];
  for (int i = 0; i < 4; ++i) c[i] = static_cast<int>(arguments.values[2 + i]);
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) smem.box[i] = arguments.input[i];
  ptx::fence_proxy_async();
  ptx::sync_threads();
  if (threadIdx.x == 0) {
    if (arguments.values[0] == 2) ptx::tma_store(arguments.map, smem.box, {c[0], c[1]});
    if (arguments.values[0] == 3) ptx::tma_store(arguments.map, smem.box, {c[0], c[1], c[2]});
    if (arguments.values[0] == 4) ptx::tma_store(arguments.map, smem.box, {c[0], c[1], c[2], c[3]});
    ptx::tma_store_commit();
    ptx::tma_store_wait_read<0>();
    ptx::tma_store_wait<0>();
  }
}

struct alignas(128) StoreGroupsStorage {
  uint32_t rows[2][32][4];
};

// Stores in groups through a ring of two boxes of 32 rows of 4 words. values: groups, 1 to wait at
// the end until the boxes have been read only. Group g stores its rows at 32 g. Then thread 0 reads
// all rows back: out after the tensor.
__global__ void tma_store_groups_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<StoreGroupsStorage>();
  const auto groups = static_cast<int>(arguments.values[0]);
  const int lane = ptx::lane_idx();
  for (int group = 0; group < groups; ++group) {
    if (lane == 0) ptx::tma_store_wait_read<1>();
    ptx::sync_warp();
    for (int i = 0; i < 4; ++i) {
      smem.rows[group % 2][lane][i] = in<uint32_t>(arguments, (group * 32 + lane) * 4 + i);
    }
    ptx::fence_proxy_async();
    ptx::sync_warp();
    if (lane != 0) continue;
    ptx::tma_store(arguments.map, smem.rows[group % 2], {0, 32 * group});
    ptx::tma_store_commit();
  }
  if (lane != 0) return;
  if (arguments.values[1] != 0) {
    ptx::tma_store_wait_read<0>();
  } else {
    ptx::tma_store_wait<0>();
  }
  const int64_t words = groups * int64_t{128};
  for (int64_t i = 0; i < words; ++i) {
    out<uint32_t>(arguments, words + i) = out<uint32_t>(arguments, i);
  }
}

// A cluster of two: block 0 loads a box into both blocks. values: rank, bytes of the box.
// out[block][bytes].
__global__ void tma_multicast_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<TmaStorage>();
  const auto bytes = static_cast<int>(arguments.values[1]);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(smem.barrier, 1);
    ptx::fence_mbarrier_init();
    ptx::mbarrier_arrive_expect_bytes(smem.barrier, bytes);
  }
  ptx::cluster_sync();
  if (ptx::cluster_rank() == 0 && threadIdx.x == 0) {
    constexpr uint16_t kBoth = 3;
    if (arguments.values[0] == 2) {
      ptx::tma_load_multicast(smem.box, arguments.map, smem.barrier, {0, 0}, kBoth);
    }
    if (arguments.values[0] == 3) {
      ptx::tma_load_multicast(smem.box, arguments.map, smem.barrier, {0, 0, 0}, kBoth);
    }
    if (arguments.values[0] == 4) {
      ptx::tma_load_multicast(smem.box, arguments.map, smem.barrier, {0, 0, 0, 0}, kBoth);
    }
  }
  ptx::mbarrier_wait(smem.barrier, 0);
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) {
    arguments.output[ptx::cluster_rank() * bytes + i] = smem.box[i];
  }
  ptx::cluster_sync();
}

struct ClusterStorage {
  uint32_t number;
  uint32_t sum;
  ptx::Mbarrier barrier;
};

// A cluster of four: every block reads its right neighbour's number, adds its own to block 0's sum,
// and arrives on block 0's mbarrier. out[rank] = {neighbour's number, cluster size, sum (block 0)}.
__global__ void cluster_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<ClusterStorage>();
  const int rank = ptx::cluster_rank();
  const int size = ptx::cluster_size();
  if (threadIdx.x == 0) {
    smem.number = in<uint32_t>(arguments, rank);
    smem.sum = 0;
    ptx::mbarrier_init(smem.barrier, size);
    ptx::fence_mbarrier_init();
  }
  ptx::cluster_arrive();
  ptx::cluster_wait();
  if (threadIdx.x == 0) {
    out<uint32_t>(arguments, rank * 3) = *ptx::cluster_map(&smem.number, (rank + 1) % size);
    out<uint32_t>(arguments, rank * 3 + 1) = static_cast<uint32_t>(size);
    ptx::atomic_add(ptx::cluster_map(&smem.sum, 0), smem.number);
    ptx::mbarrier_arrive_cluster(smem.barrier, 0);
    if (rank == 0) {
      ptx::mbarrier_wait(smem.barrier, 0);
      out<uint32_t>(arguments, 2) = smem.sum;
    }
  }
  ptx::cluster_sync();
}

// Three warpgroups: the first gives registers away, the others take them. out[thread] = in[thread]
// + 1.
__global__ void __launch_bounds__(384, 1)
    registers_probe(const __grid_constant__ Arguments arguments) {
  const int thread = ptx::thread_rank();
  if (ptx::warpgroup_idx() == 0) {
    ptx::give_registers<40>();
    out<uint32_t>(arguments, thread) = in<uint32_t>(arguments, thread) + 1;
  } else {
    ptx::take_registers<232>();
    out<uint32_t>(arguments, thread) = in<uint32_t>(arguments, thread) + 1;
  }
}

struct alignas(1024) WgmmaStorage {
  unsigned char a[32 * 1024];
  unsigned char b[64 * 1024];
};

// values: a is in registers; swizzle; leading and stride bytes of a, then of b; bytes between two
// steps of k, a in the low and b in the high 32 bits; steps of k. Input: the image of shared memory
// of a, that of b, 128 x N / 2 floats of d, and 128 x steps x 4 registers of a. out: d.
template <class T, int N, ptx::Major kMajorA, ptx::Major kMajorB>
__global__ void __launch_bounds__(128) wgmma_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<WgmmaStorage>();
  const int thread = ptx::thread_rank();
  constexpr int kImage = sizeof(smem.a) + sizeof(smem.b);
  for (int i = thread; i < kImage / 4; i += 128) {
    reinterpret_cast<uint32_t*>(&smem)[i] = in<uint32_t>(arguments, i);
  }
  ptx::fence_proxy_async();
  ptx::sync_threads();

  const auto swizzle = static_cast<ptx::Swizzle>(arguments.values[1]);
  const auto steps = static_cast<int>(arguments.values[7]);
  const auto step_a = static_cast<int>(arguments.values[6] & 0xffffffff);
  const auto step_b = static_cast<int>(arguments.values[6] >> 32);
  float d[N / 2];
  for (int i = 0; i < N / 2; ++i) d[i] = in<float>(arguments, kImage / 4 + thread * (N / 2) + i);
  const int64_t registers = kImage / 4 + 128 * (N / 2);

  for (int step = 0; step < steps; ++step) {
    const uint64_t b = ptx::matrix_descriptor(smem.b + step * step_b, swizzle,
                                              static_cast<int>(arguments.values[4]),
                                              static_cast<int>(arguments.values[5]));
    if (arguments.values[0] != 0) {
      uint32_t a[4];
      for (int i = 0; i < 4; ++i) {
        a[i] = in<uint32_t>(arguments, registers + (thread * steps + step) * 4 + i);
      }
      ptx::wgmma_fence();
      ptx::wgmma<T, N, kMajorB>(d, a, b, true);
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>();
    } else {
      const uint64_t a = ptx::matrix_descriptor(smem.a + step * step_a, swizzle,
                                                static_cast<int>(arguments.values[2]),
                                                static_cast<int>(arguments.values[3]));
      ptx::wgmma_fence();
      ptx::wgmma<T, N, kMajorA, kMajorB>(d, a, b, true);
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>();
    }
  }
  for (int i = 0; i < N / 2; ++i) out<float>(arguments, thread * (N / 2) + i) = d[i];
}

inline constexpr int kGroupProducts = 4;

struct alignas(1024) WgmmaGroupsStorage {
  uint16_t a[kGroupProducts][64 * 16];
  uint16_t b[kGroupProducts][8 * 16];
};

// Four products of 64 x 16 and 16 x 8, a group each, with accumulators of their own; each is
// written out while kInFlight later groups may be in flight (the last ones are empty). values:
// accumulate. Input: the storage (K-major core matrices without swizzle), then 4 floats of d of
// each product and thread. out[product][thread][4].
template <int kInFlight>
__global__ void __launch_bounds__(128)
    wgmma_groups_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<WgmmaGroupsStorage>();
  const int thread = ptx::thread_rank();
  constexpr int kWords = sizeof(smem) / 4;
  for (int i = thread; i < kWords; i += 128) {
    reinterpret_cast<uint32_t*>(&smem)[i] = in<uint32_t>(arguments, i);
  }
  ptx::fence_proxy_async();
  ptx::sync_threads();

  const bool accumulate = arguments.values[0] != 0;
  float d[kGroupProducts][4];
#pragma unroll
  for (int product = 0; product < kGroupProducts; ++product) {
    for (int i = 0; i < 4; ++i) {
      d[product][i] = in<float>(arguments, kWords + (product * 128 + thread) * 4 + i);
    }
  }
#pragma unroll
  for (int step = 0; step < kGroupProducts + kInFlight; ++step) {
    if (step < kGroupProducts) {
      const auto descriptor = [](const uint16_t* tile) {
        return ptx::matrix_descriptor(tile, ptx::Swizzle::kNone, 128, 256);
      };
      ptx::wgmma_fence();
      ptx::wgmma<ptx::Half, 8, ptx::Major::kK, ptx::Major::kK>(
          d[step], descriptor(smem.a[step]), descriptor(smem.b[step]), accumulate);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<kInFlight>();
    const int product = step - kInFlight;
    if (product < 0) continue;
    for (int i = 0; i < 4; ++i) {
      out<float>(arguments, (product * 128 + thread) * 4 + i) = d[product][i];
    }
  }
}

}  // namespace windowkv::inline WKV_MACHINE::probe
