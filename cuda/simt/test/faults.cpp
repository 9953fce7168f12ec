// The statement that a report has to point at follows a comment "report NAME": the test reads this
// file.

#include "simt/test/faults.h"

#include "ptx/atomics.h"
#include "ptx/barrier.h"
#include "ptx/cluster.h"
#include "ptx/cp_async.h"
#include "ptx/fence.h"
#include "ptx/ldmatrix.h"
#include "ptx/mbarrier.h"
#include "ptx/mma.h"
#include "ptx/registers.h"
#include "ptx/shuffle.h"
#include "ptx/tma.h"
#include "ptx/vote.h"
#include "ptx/wgmma.h"

namespace windowkv::inline WKV_MACHINE::probe {
namespace {

struct alignas(1024) FaultStorage {
  uint32_t words[4096];
  ptx::Mbarrier barrier;
};

FaultStorage& storage() { return ptx::shared_memory<FaultStorage>(); }

void shuffle_missing_lane(Arguments) {
  if (ptx::lane_idx() == 7) return;
  // report shuffle_missing_lane
  ptx::shuffle(1, 0);
}

void shuffle_masks_disagree(Arguments) {
  // report shuffle_masks_disagree
  ptx::shuffle(1, 0, ptx::lane_idx() < 16 ? 0xffffffff : 0xffff0000);
}

void shuffle_from_outside(Arguments) {
  if (ptx::lane_idx() >= 16) return;
  // report shuffle_from_outside
  ptx::shuffle(1, 20, 0xffff);
}

void different_collectives(Arguments) {
  if (ptx::lane_idx() < 16) {
    // report different_collectives
    ptx::ballot(true);
  } else {
    // report different_collectives
    ptx::shuffle(1, 0);
  }
}

void divergent_barrier(Arguments) {
  if (ptx::lane_idx() < 16) {
    // report divergent_barrier
    ptx::sync_threads();
  } else {
    // report divergent_barrier
    ptx::sync_threads();
  }
}

void barrier_after_exit(Arguments) {
  if (ptx::thread_rank() == 40) return;
  // report barrier_after_exit
  ptx::sync_threads();
}

void barrier_counts_disagree(Arguments) {
  // report barrier_counts_disagree
  ptx::barrier_sync(1, ptx::warp_idx() == 0 ? 64 : 32);
}

void barrier_never_full(Arguments) {
  // report barrier_never_full
  if (ptx::warp_idx() == 0) ptx::barrier_sync(1, 64);
}

void deadlock_of_two(Arguments) {
  // report deadlock_of_two
  ptx::barrier_sync(1 + ptx::warp_idx(), 64);
}

void race_without_barrier(Arguments) {
  // report race_without_barrier
  storage().words[ptx::thread_rank()] = 1;
  // report race_without_barrier
  storage().words[63 - ptx::thread_rank()] += 1;
}

void race_without_sync_warp(Arguments) {
  // report race_without_sync_warp
  storage().words[ptx::lane_idx()] = 1;
  // A shuffle is a meeting, but orders no memory.
  ptx::shuffle(1, 0);
  // report race_without_sync_warp
  storage().words[63 - ptx::lane_idx()] = storage().words[31 - ptx::lane_idx()];
}

void fence_missing(Arguments arguments) {
  auto& words = storage().words;
  if (ptx::thread_rank() == 0) words[0] = 0;
  ptx::sync_threads();
  // report fence_missing
  words[1 + ptx::thread_rank()] = 1;
  // Nothing orders the other thread's word before the count that speaks of it.
  if (ptx::atomic_add(&words[0], uint32_t{1}) != 63) return;
  ptx::fence_gpu();
  // report fence_missing
  out<uint32_t>(arguments, 0) = words[1 + (ptx::thread_rank() + 32) % 64];
}

void read_of_nothing(Arguments arguments) {
  // report read_of_nothing
  out<uint32_t>(arguments, ptx::thread_rank()) = storage().words[5];
}

void outside_shared_memory(Arguments) {
  uint32_t* words = storage().words;
  // report outside_shared_memory
  words[sizeof(FaultStorage) / 4 + ptx::thread_rank()] = 1;
}

void copy_read_early(Arguments arguments) {
  const int thread = ptx::thread_rank();
  ptx::cp_async<4>(&storage().words[thread], arguments.input + 4 * thread);
  ptx::cp_async_commit();
  ptx::cp_async_wait<1>();
  // report copy_read_early
  out<uint32_t>(arguments, thread) = storage().words[thread];
  ptx::cp_async_wait<0>();
}

void copy_misaligned(Arguments arguments) {
  // report copy_misaligned
  ptx::cp_async<16>(&storage().words[1], arguments.input);
}

void copy_never_awaited(Arguments arguments) {
  // report copy_never_awaited
  ptx::cp_async<4>(&storage().words[ptx::thread_rank()], arguments.input);
  ptx::cp_async_commit();
}

void ldmatrix_misaligned(Arguments) {
  uint32_t fragment[1];
  // report ldmatrix_misaligned
  ptx::load_matrix(fragment, &storage().words[1 + ptx::lane_idx() * 4]);
}

void mbarrier_uninitialised(Arguments) {
  // report mbarrier_uninitialised
  ptx::mbarrier_arrive(storage().barrier);
}

void mbarrier_after_invalidate(Arguments) {
  if (ptx::thread_rank() != 0) return;
  ptx::mbarrier_init(storage().barrier, 1);
  ptx::mbarrier_invalidate(storage().barrier);
  // report mbarrier_after_invalidate
  ptx::mbarrier_arrive(storage().barrier);
}

void mbarrier_wrong_parity(Arguments) {
  if (ptx::thread_rank() == 0) ptx::mbarrier_init(storage().barrier, 1);
  ptx::sync_threads();
  if (ptx::thread_rank() == 0) ptx::mbarrier_arrive(storage().barrier);
  ptx::sync_threads();
  // report mbarrier_wrong_parity
  ptx::mbarrier_wait(storage().barrier, 1);
}

void mbarrier_too_many_arrivals(Arguments) {
  if (ptx::thread_rank() == 0) {
    ptx::mbarrier_init(storage().barrier, 1);
    ptx::mbarrier_expect_bytes(storage().barrier, 16);
  }
  ptx::sync_threads();
  // report mbarrier_too_many_arrivals
  ptx::mbarrier_arrive(storage().barrier);
}

void mbarrier_not_visible(Arguments) {
  if (ptx::thread_rank() == 0) ptx::mbarrier_init(storage().barrier, 2);
  // report mbarrier_not_visible
  if (ptx::thread_rank() < 2) ptx::mbarrier_arrive(storage().barrier);
}

void tma_unfenced_mbarrier(Arguments arguments) {
  if (ptx::thread_rank() != 0) return;
  ptx::mbarrier_init(storage().barrier, 1);
  ptx::mbarrier_arrive_expect_bytes(storage().barrier, 1024);
  // report tma_unfenced_mbarrier
  ptx::tma_load(storage().words, arguments.map, storage().barrier, {0, 0});
}

void start_load(const Arguments& arguments, int bytes) {
  if (ptx::thread_rank() == 0) {
    ptx::mbarrier_init(storage().barrier, 1);
    ptx::fence_mbarrier_init();
    ptx::mbarrier_arrive_expect_bytes(storage().barrier, bytes);
    // report tma_wrong_bytes
    ptx::tma_load(storage().words, arguments.map, storage().barrier, {0, 0});
  }
  ptx::sync_threads();
}

void tma_read_early(Arguments arguments) {
  start_load(arguments, 1024);
  // report tma_read_early
  out<uint32_t>(arguments, ptx::thread_rank()) = storage().words[3];
}

void tma_one_thread_waits(Arguments arguments) {
  start_load(arguments, 1024);
  if (ptx::thread_rank() == 0) ptx::mbarrier_wait(storage().barrier, 0);
  ptx::shuffle(1, 0);
  // report tma_one_thread_waits
  out<uint32_t>(arguments, ptx::thread_rank()) = storage().words[3];
}

void tma_too_many_bytes_expected(Arguments arguments) {
  start_load(arguments, 1040);
  // report tma_too_many_bytes_expected
  ptx::mbarrier_wait(storage().barrier, 0);
}

void tma_wrong_bytes(Arguments arguments) {
  start_load(arguments, 1008);
  ptx::mbarrier_wait(storage().barrier, 0);
}

void tma_store_unfenced(Arguments arguments) {
  for (int i = ptx::thread_rank(); i < 256; i += 64) storage().words[i] = 1;
  ptx::sync_threads();
  if (ptx::thread_rank() != 0) return;
  // report tma_store_unfenced
  ptx::tma_store(arguments.map, storage().words, {0, 0});
  ptx::tma_store_commit();
  ptx::tma_store_wait<0>();
}

void tma_store_one_thread_fences(Arguments arguments) {
  for (int i = ptx::thread_rank(); i < 256; i += 64) storage().words[i] = 1;
  // Too early for the stores of the other threads.
  if (ptx::thread_rank() == 0) ptx::fence_proxy_async();
  ptx::sync_threads();
  if (ptx::thread_rank() != 0) return;
  // report tma_store_one_thread_fences
  ptx::tma_store(arguments.map, storage().words, {0, 0});
  ptx::tma_store_commit();
  ptx::tma_store_wait<0>();
}

void tma_store_overwritten(Arguments arguments) {
  for (int i = ptx::thread_rank(); i < 256; i += 64) storage().words[i] = 1;
  ptx::fence_proxy_async();
  ptx::sync_threads();
  if (ptx::thread_rank() != 0) return;
  ptx::tma_store(arguments.map, storage().words, {0, 0});
  ptx::tma_store_commit();
  // report tma_store_overwritten
  storage().words[0] = 2;
  ptx::tma_store_wait<0>();
}

void tma_store_wait_count(Arguments arguments) {
  for (int i = ptx::thread_rank(); i < 512; i += 64) storage().words[i] = 1;
  ptx::fence_proxy_async();
  ptx::sync_threads();
  if (ptx::thread_rank() != 0) return;
  for (int tile = 0; tile < 2; ++tile) {
    ptx::tma_store(arguments.map, &storage().words[256 * tile], {0, 0});
    ptx::tma_store_commit();
  }
  ptx::tma_store_wait_read<1>();
  storage().words[0] = 2;
  // report tma_store_wait_count
  storage().words[256] = 2;
  ptx::tma_store_wait<0>();
}

void tma_store_never_awaited(Arguments arguments) {
  for (int i = ptx::thread_rank(); i < 256; i += 64) storage().words[i] = 1;
  ptx::fence_proxy_async();
  ptx::sync_threads();
  if (ptx::thread_rank() != 0) return;
  // report tma_store_never_awaited
  ptx::tma_store(arguments.map, storage().words, {0, 0});
  ptx::tma_store_commit();
}

// 64 x 16 and 8 x 16 tiles, K-major without a swizzle.
uint64_t descriptor(int first_word) {
  return ptx::matrix_descriptor(&storage().words[first_word], ptx::Swizzle::kNone, 128, 256);
}

void fill_operands(bool fenced) {
  for (int i = ptx::thread_rank(); i < 1024; i += 128) storage().words[i] = 0;
  if (fenced) ptx::fence_proxy_async();
  ptx::sync_threads();
}

using ptx::Half;
using ptx::Major;

void wgmma_unfenced_operands(Arguments) {
  float d[4] = {};
  fill_operands(false);
  ptx::wgmma_fence();
  // report wgmma_unfenced_operands
  ptx::wgmma<Half, 8, Major::kK, Major::kK>(d, descriptor(0), descriptor(512), true);
}

void wgmma_unfenced_registers(Arguments) {
  float d[4] = {};
  fill_operands(true);
  // report wgmma_unfenced_registers
  ptx::wgmma<Half, 8, Major::kK, Major::kK>(d, descriptor(0), descriptor(512), true);
}

void wgmma_read_early(Arguments arguments) {
  float d[4] = {};
  fill_operands(true);
  ptx::wgmma_fence();
  ptx::wgmma<Half, 8, Major::kK, Major::kK>(d, descriptor(0), descriptor(512), true);
  ptx::wgmma_commit();
  // report wgmma_read_early
  for (float value : d) out<float>(arguments, ptx::thread_rank()) = value;
  ptx::wgmma_wait<0>();
}

void wgmma_wait_count(Arguments arguments) {
  float first[4] = {}, second[4] = {};
  fill_operands(true);
  const auto issue = [](float(&d)[4]) {
    ptx::wgmma_fence();
    ptx::wgmma<Half, 8, Major::kK, Major::kK>(d, descriptor(0), descriptor(512), true);
    ptx::wgmma_commit();
  };
  issue(first);
  issue(second);
  ptx::wgmma_wait<1>();
  for (float value : first) out<float>(arguments, ptx::thread_rank()) = value;
  // report wgmma_wait_count
  for (float value : second) out<float>(arguments, ptx::thread_rank()) = value;
  ptx::wgmma_wait<0>();
}

void wgmma_operand_overwritten(Arguments) {
  float d[4] = {};
  fill_operands(true);
  ptx::wgmma_fence();
  ptx::wgmma<Half, 8, Major::kK, Major::kK>(d, descriptor(0), descriptor(512), true);
  ptx::wgmma_commit();
  // report wgmma_operand_overwritten
  storage().words[ptx::thread_rank()] = 1;
  ptx::wgmma_wait<0>();
}

void wgmma_descriptors_disagree(Arguments) {
  float d[4] = {};
  fill_operands(true);
  ptx::wgmma_fence();
  const int tile = ptx::thread_rank() == 100 ? 4 : 0;
  // report wgmma_descriptors_disagree
  ptx::wgmma<Half, 8, Major::kK, Major::kK>(d, descriptor(tile), descriptor(512), true);
}

void wgmma_part_of_warpgroup(Arguments) {
  float d[4] = {};
  fill_operands(true);
  ptx::wgmma_fence();
  if (ptx::warp_idx() == 2) return;
  // report wgmma_part_of_warpgroup
  ptx::wgmma<Half, 8, Major::kK, Major::kK>(d, descriptor(0), descriptor(512), true);
}

void registers_not_free(Arguments) {
  // report registers_not_free
  ptx::take_registers<256>();
}

void cluster_without_arrival(Arguments) {
  if (ptx::cluster_rank() == 0) ptx::cluster_arrive();
  // report cluster_without_arrival
  ptx::cluster_wait();
}

void livelock(Arguments arguments) {
  // report livelock
  while (ptx::load_acquire(&out<uint32_t>(arguments, 0)) == 0xffffffff) {
  }
}

#define WKV_FAULT(name, threads) {#name, threads, 1, sizeof(FaultStorage), name}
constexpr Probe kFaults[] = {
    WKV_FAULT(shuffle_missing_lane, 32),
    WKV_FAULT(shuffle_masks_disagree, 32),
    WKV_FAULT(shuffle_from_outside, 32),
    WKV_FAULT(different_collectives, 32),
    WKV_FAULT(divergent_barrier, 64),
    WKV_FAULT(barrier_after_exit, 64),
    WKV_FAULT(barrier_counts_disagree, 64),
    WKV_FAULT(barrier_never_full, 64),
    WKV_FAULT(deadlock_of_two, 64),
    WKV_FAULT(race_without_barrier, 64),
    WKV_FAULT(race_without_sync_warp, 32),
    WKV_FAULT(fence_missing, 64),
    WKV_FAULT(read_of_nothing, 32),
    WKV_FAULT(outside_shared_memory, 32),
    WKV_FAULT(copy_read_early, 32),
    WKV_FAULT(copy_misaligned, 32),
    WKV_FAULT(copy_never_awaited, 32),
    WKV_FAULT(ldmatrix_misaligned, 32),
    WKV_FAULT(mbarrier_uninitialised, 32),
    WKV_FAULT(mbarrier_after_invalidate, 32),
    WKV_FAULT(mbarrier_wrong_parity, 32),
    WKV_FAULT(mbarrier_too_many_arrivals, 64),
    WKV_FAULT(mbarrier_not_visible, 32),
    WKV_FAULT(tma_unfenced_mbarrier, 32),
    WKV_FAULT(tma_read_early, 64),
    WKV_FAULT(tma_one_thread_waits, 64),
    WKV_FAULT(tma_too_many_bytes_expected, 64),
    WKV_FAULT(tma_wrong_bytes, 64),
    WKV_FAULT(tma_store_unfenced, 64),
    WKV_FAULT(tma_store_one_thread_fences, 64),
    WKV_FAULT(tma_store_overwritten, 64),
    WKV_FAULT(tma_store_wait_count, 64),
    WKV_FAULT(tma_store_never_awaited, 64),
    WKV_FAULT(wgmma_unfenced_operands, 128),
    WKV_FAULT(wgmma_unfenced_registers, 128),
    WKV_FAULT(wgmma_read_early, 128),
    WKV_FAULT(wgmma_wait_count, 128),
    WKV_FAULT(wgmma_operand_overwritten, 128),
    WKV_FAULT(wgmma_descriptors_disagree, 128),
    WKV_FAULT(wgmma_part_of_warpgroup, 128),
    WKV_FAULT(registers_not_free, 512),
    {"cluster_without_arrival", 32, 2, sizeof(FaultStorage), cluster_without_arrival},
    WKV_FAULT(livelock, 32),
};
#undef WKV_FAULT

}  // namespace

std::span<const Probe> fault_probes() { return kFaults; }

}  // namespace windowkv::inline WKV_MACHINE::probe
