// Probes of thread.h, barrier.h, atomics.h, fence.h and cp_async.h.

#pragma once

#include "ptx/atomics.h"
#include "ptx/cp_async.h"
#include "ptx/fence.h"
#include "ptx/test/probe.cuh"

namespace windowkv::inline WKV_MACHINE::probe {

struct alignas(64) ThreadStorage {
  uint32_t first, second;
};

// out[thread of the grid] = {number in its block, lane, warp, warpgroup, address of shared memory,
// address of its second member}.
__global__ void thread_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<ThreadStorage>();
  const int64_t at = 6 * (blockIdx.x * int64_t{blockDim.x} + threadIdx.x);
  out<uint32_t>(arguments, at) = static_cast<uint32_t>(ptx::thread_rank());
  out<uint32_t>(arguments, at + 1) = static_cast<uint32_t>(ptx::lane_idx());
  out<uint32_t>(arguments, at + 2) = static_cast<uint32_t>(ptx::warp_idx());
  out<uint32_t>(arguments, at + 3) = static_cast<uint32_t>(ptx::warpgroup_idx());
  out<uint32_t>(arguments, at + 4) = ptx::shared_address(&smem);
  out<uint32_t>(arguments, at + 5) = ptx::shared_address(&smem.second);
}

// values: kind, 1 for shared memory. Every thread applies its input to one cell; out: the cell's
// last value, then what each thread got back. 64-bit for kind 1, else 32-bit.
template <class T>
WKV_FN void atomic_probe(const Arguments& arguments, T* cell, T start) {
  const int thread = ptx::thread_rank();
  if (thread == 0 && arguments.values[1] != 0) *cell = start;
  ptx::sync_threads();
  const T value = in<T>(arguments, thread);
  T before;
  switch (arguments.values[0]) {
    case 3:
      before = static_cast<T>(
          ptx::atomic_min(reinterpret_cast<int32_t*>(cell), static_cast<int32_t>(value)));
      break;
    case 4:
      before = static_cast<T>(
          ptx::atomic_max(reinterpret_cast<int32_t*>(cell), static_cast<int32_t>(value)));
      break;
    case 5:
      before = static_cast<T>(
          ptx::atomic_exchange(reinterpret_cast<uint32_t*>(cell), static_cast<uint32_t>(value)));
      break;
    case 6:
      before = static_cast<T>(ptx::atomic_compare_exchange(reinterpret_cast<uint32_t*>(cell),
                                                           static_cast<uint32_t>(start),
                                                           static_cast<uint32_t>(value)));
      break;
    case 7:
      before = static_cast<T>(
          ptx::atomic_min(reinterpret_cast<uint32_t*>(cell), static_cast<uint32_t>(value)));
      break;
    case 8:
      before = static_cast<T>(
          ptx::atomic_max(reinterpret_cast<uint32_t*>(cell), static_cast<uint32_t>(value)));
      break;
    case 9:
      before = static_cast<T>(
          ptx::atomic_add(reinterpret_cast<int32_t*>(cell), static_cast<int32_t>(value)));
      break;
    default:
      before = ptx::atomic_add(cell, value);
      break;
  }
  out<T>(arguments, 1 + thread) = before;
  ptx::sync_threads();
  if (thread == 0 && arguments.values[1] != 0) out<T>(arguments, 0) = *cell;
}

__global__ void atomics_probe(const __grid_constant__ Arguments arguments) {
  auto& shared = ptx::shared_memory<uint64_t>();
  void* cell =
      arguments.values[1] != 0 ? static_cast<void*>(&shared) : static_cast<void*>(arguments.output);
  if (arguments.values[0] == 1) {
    atomic_probe(arguments, static_cast<uint64_t*>(cell), uint64_t{7});
  } else if (arguments.values[0] == 2) {
    atomic_probe(arguments, static_cast<float*>(cell), 7.0f);
  } else {
    atomic_probe(arguments, static_cast<uint32_t*>(cell), uint32_t{7});
  }
}

// Two warps pass a token to and fro through global memory. values: rounds. out[0]: the token
// (starts at 0), out[1 + r]: what round r read from the plain cell at out[100].
__global__ void acquire_release_probe(const __grid_constant__ Arguments arguments) {
  if (ptx::lane_idx() != 0) return;
  auto* token = &out<uint32_t>(arguments, 0);
  for (uint32_t round = 0; round < static_cast<uint32_t>(arguments.values[0]); ++round) {
    if (static_cast<int>(round % 2) != ptx::warp_idx()) continue;
    while (ptx::load_acquire(token) != round) {
    }
    out<uint32_t>(arguments, 1 + round) = out<uint32_t>(arguments, 100);
    out<uint32_t>(arguments, 100) = round + 1;
    ptx::store_release(token, round + 1);
  }
}

// The block that is last to count itself adds up what all blocks have left in global memory.
// out: [0] the count, [1] the sum, [2 + block] the blocks' numbers; the first starts at 0.
__global__ void fence_probe(const __grid_constant__ Arguments arguments) {
  if (threadIdx.x != 0) return;
  out<uint32_t>(arguments, 2 + blockIdx.x) = in<uint32_t>(arguments, blockIdx.x);
  ptx::fence_gpu();
  const uint32_t before = ptx::atomic_add(&out<uint32_t>(arguments, 0), uint32_t{1});
  if (before != gridDim.x - 1) return;
  ptx::fence_gpu();
  uint32_t sum = 0;
  for (uint32_t block = 0; block < gridDim.x; ++block) {
    sum += out<uint32_t>(arguments, 2 + block);
  }
  out<uint32_t>(arguments, 1) = sum;
}

struct FenceStorage {
  uint32_t count;
  uint32_t numbers[64];
};

// The same among the threads of a block, in shared memory. out[0]: the sum.
__global__ void fence_shared_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<FenceStorage>();
  const int thread = ptx::thread_rank();
  if (thread == 0) smem.count = 0;
  ptx::sync_threads();
  smem.numbers[thread] = in<uint32_t>(arguments, thread);
  ptx::fence_gpu();
  if (ptx::atomic_add(&smem.count, uint32_t{1}) != blockDim.x - 1) return;
  ptx::fence_gpu();
  uint32_t sum = 0;
  for (uint32_t i = 0; i < blockDim.x; ++i) sum += smem.numbers[i];
  out<uint32_t>(arguments, 0) = sum;
}

// What each half of the block wrote, the other reads after the barrier. out[thread] = in[thread
// opposite].
__global__ void sync_threads_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<FenceStorage>();
  const int thread = ptx::thread_rank();
  smem.numbers[thread] = in<uint32_t>(arguments, thread);
  ptx::sync_threads();
  out<uint32_t>(arguments, thread) = smem.numbers[63 - thread];
}

struct BarrierStorage {
  uint32_t slots[64];
};

// Warps 0 and 1 produce 64 numbers a round, warps 2 and 3 take them; barriers 1 (full) and 2
// (empty). values: rounds. out[round][64].
__global__ void named_barrier_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<BarrierStorage>();
  const int thread = ptx::thread_rank();
  const int slot = thread % 64;
  for (int round = 0; round < arguments.values[0]; ++round) {
    if (thread < 64) {
      if (round > 0) ptx::barrier_sync(2, 128);
      smem.slots[slot] = in<uint32_t>(arguments, round * 64 + slot);
      ptx::barrier_arrive(1, 128);
    } else {
      ptx::barrier_sync(1, 128);
      out<uint32_t>(arguments, round * 64 + slot) = smem.slots[63 - slot];
      if (round + 1 < arguments.values[0]) ptx::barrier_arrive(2, 128);
    }
  }
}

// Every lane hands its number to the lane `values[0]` further, through shared memory.
__global__ void sync_warp_probe(const __grid_constant__ Arguments arguments) {
  auto& smem = ptx::shared_memory<BarrierStorage>();
  const int lane = ptx::lane_idx();
  for (int half = 0; half < 2; ++half) {
    const uint32_t mask = 0xffffu << 16 * half;
    if (!(mask >> lane & 1)) continue;
    smem.slots[lane] = in<uint32_t>(arguments, lane);
    ptx::sync_warp(mask);
    const int from = 16 * half + (lane + static_cast<int>(arguments.values[0])) % 16;
    out<uint32_t>(arguments, lane) = smem.slots[from];
  }
}

struct alignas(128) CopyStorage {
  unsigned char bytes[3][64 * 16];
};

// values: bytes a copy, bytes read of it, groups. Group g copies input[g][thread] to a stage, two
// groups ahead of the one that is read: out[g][thread of the other end].
template <int Bytes>
WKV_FN void copy_probe(const Arguments& arguments) {
  auto& smem = ptx::shared_memory<CopyStorage>();
  const int thread = ptx::thread_rank();
  const auto groups = static_cast<int>(arguments.values[2]);
  const auto issue = [&](int group) {
    if (group < groups) {
      ptx::cp_async<Bytes>(smem.bytes[group % 3] + thread * Bytes,
                           arguments.input + (group * 64 + thread) * Bytes,
                           static_cast<int>(arguments.values[1]));
    }
    ptx::cp_async_commit();
  };
  issue(0);
  issue(1);
  for (int group = 0; group < groups; ++group) {
    ptx::cp_async_wait<1>();
    ptx::sync_threads();
    issue(group + 2);
    for (int i = 0; i < Bytes; ++i) {
      arguments.output[(group * 64 + thread) * Bytes + i] =
          smem.bytes[group % 3][(63 - thread) * Bytes + i];
    }
  }
  ptx::cp_async_wait<0>();
}

__global__ void cp_async_probe(const __grid_constant__ Arguments arguments) {
  if (arguments.values[0] == 4) copy_probe<4>(arguments);
  if (arguments.values[0] == 8) copy_probe<8>(arguments);
  if (arguments.values[0] == 16) copy_probe<16>(arguments);
}

}  // namespace windowkv::inline WKV_MACHINE::probe
