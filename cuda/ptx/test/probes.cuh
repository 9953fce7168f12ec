// The probes of SM 80, by name.

#pragma once

#include "ptx/test/block.cuh"
#include "ptx/test/warp.cuh"

namespace windowkv::inline WKV_MACHINE::probe {

inline constexpr Probe kProbes[] = {
    {"thread", 160, 1, sizeof(ThreadStorage), thread_probe},
    {"shuffle", 32, 1, 0, shuffle_probe},
    {"vote", 32, 1, 0, vote_probe},
    {"number", 256, 1, 0, number_probe},
    {"widen", 256, 1, 0, widen_probe},
    {"mma", 32, 1, 0, mma_probe},
    {"ldmatrix", 32, 1, sizeof(MatrixStorage), ldmatrix_probe},
    {"atomics", 96, 1, sizeof(uint64_t), atomics_probe},
    {"acquire_release", 64, 1, 0, acquire_release_probe},
    {"fence", 32, 1, 0, fence_probe},
    {"fence_shared", 64, 1, sizeof(FenceStorage), fence_shared_probe},
    {"sync_threads", 64, 1, sizeof(FenceStorage), sync_threads_probe},
    {"named_barrier", 128, 1, sizeof(BarrierStorage), named_barrier_probe},
    {"sync_warp", 32, 1, sizeof(BarrierStorage), sync_warp_probe},
    {"cp_async", 64, 1, sizeof(CopyStorage), cp_async_probe},
};

}  // namespace windowkv::inline WKV_MACHINE::probe
