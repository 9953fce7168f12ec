// mbarrier: a barrier in shared memory that counts arriving threads and arriving bytes.
//
// PTX: mbarrier.{init,inval,arrive,arrive.expect_tx,expect_tx,try_wait.parity}.shared::cta.b64, and
// mbarrier.arrive.release.cluster.shared::cluster.b64 with mapa ("Parallel Synchronization and
// Communication Instructions: mbarrier"). SM: 90. Called by any single thread.
//
// A phase is complete when `count` arrivals and all expected bytes have come; the next one begins
// at once, with the same count. Phases are numbered from 0, and waiting names a phase by its
// parity: at most one phase can be told from the current one, so nobody may fall two behind.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

struct alignas(8) Mbarrier {
  uint64_t opaque;
};

// count: arrivals a phase, in [1, 2^20). By one thread; the others, and TMA, may use the barrier
// after fence_mbarrier_init (or fence_proxy_async) and a barrier of the block or cluster.
WKV_PTX void mbarrier_init(Mbarrier& barrier, int count, Where where = {});
// The memory may be used for something else afterwards.
WKV_PTX void mbarrier_invalidate(Mbarrier& barrier, Where where = {});

// One arrival. What this thread did before is seen by those that wait for the phase.
WKV_PTX void mbarrier_arrive(Mbarrier& barrier, Where where = {});
// The same on the barrier at this place in the shared memory of block `rank` of the cluster.
WKV_PTX void mbarrier_arrive_cluster(Mbarrier& barrier, int rank, Where where = {});
// The current phase shall also wait for `bytes` bytes of TMA loads, less than 2^20.
WKV_PTX void mbarrier_expect_bytes(Mbarrier& barrier, int bytes, Where where = {});
// Both: one arrival, and `bytes` more to come.
WKV_PTX void mbarrier_arrive_expect_bytes(Mbarrier& barrier, int bytes, Where where = {});

// Has the phase of this parity (0 for the first) completed? A wait for parity 1 on a fresh barrier
// returns at once.
WKV_PTX bool mbarrier_try_wait(Mbarrier& barrier, int parity, Where where = {});
WKV_PTX void mbarrier_wait(Mbarrier& barrier, int parity, Where where = {});

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(mbarrier)
