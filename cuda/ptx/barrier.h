// Barriers of a warp and of a block.
//
// PTX: bar.warp.sync mask; barrier.cta.sync.aligned / barrier.cta.arrive.aligned a, b ("Parallel
// Synchronization and Communication Instructions"). SM: 30 (bar.warp.sync 30, named barriers 20).
// All of them order memory: what a thread did before is seen by those that it meets, in shared
// memory and, within the block, in global memory. The asynchronous proxy is not included; see
// fence.h.

#pragma once

#include "ptx/machine.h"
#include "ptx/shuffle.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// Every lane in `mask` meets. The lanes may come from different lines.
WKV_PTX void sync_warp(uint32_t mask = kFullWarp, Where where = {});

// All threads of the block meet; none of them may have left the kernel. The aligned form: the lanes
// of a warp come from the same line.
WKV_PTX void sync_threads(Where where = {});

// Named barrier `id`, in [1, 16): waits until `num_threads` threads (a multiple of 32, whole warps)
// have arrived with barrier_sync or barrier_arrive. The barrier is then ready for its next phase.
WKV_PTX void barrier_sync(int id, int num_threads, Where where = {});
// Arrives and does not wait: the producer's half of a named barrier.
WKV_PTX void barrier_arrive(int id, int num_threads, Where where = {});

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(barrier)
