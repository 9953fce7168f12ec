// Fences: order between memory accesses of one thread, as others see them.
//
// PTX: fence.acq_rel.gpu (SM 70), fence.proxy.async.shared::cta and
// fence.mbarrier_init.release.cluster (SM 90) ("Parallel Synchronization and Communication
// Instructions: membar / fence"). Called by any single thread.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// __threadfence(): earlier accesses come before later ones for every thread of the GPU. What one
// thread did before its fence is seen by another after its own, when an atomic operation between
// them tells that the first has passed. The emulated GPU's checks know this pair of fences; they do
// not pair a fence with load_acquire or store_release.
WKV_PTX void fence_gpu();

// What ordinary stores (and stmatrix, cp.async) put into shared memory, by this thread or by those
// whose writes it has come to see through a barrier, is seen by wgmma and TMA operations that
// follow. Usual place: in each writing thread, before the barrier that the issuing thread waits
// for.
WKV_PTX void fence_proxy_async(Where where = {});

// The mbarriers that this thread has initialised are seen by TMA and by the other blocks of the
// cluster.
WKV_PTX void fence_mbarrier_init(Where where = {});

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(fence)
