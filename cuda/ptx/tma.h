// TMA: one thread copies a box of a tensor between global and shared memory.
//
// PTX: cp.async.bulk.tensor.{2,3,4}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
// {.multicast::cluster}, cp.async.bulk.tensor.{2,3,4}d.global.shared::cta.tile.bulk_group,
// cp.async.bulk.commit_group, cp.async.bulk.wait_group{.read} N, prefetch.tensormap ("Data Movement
// and Conversion Instructions: Asynchronous copy, bulk tensor"). SM: 90. Called by one thread.
//
// The box lies in shared memory with its innermost dimension first and no gaps, its 16-byte pieces
// swizzled as the map says; it starts at a multiple of 128 bytes, with a swizzle of 8 of its rows.
// Coordinates are in elements, innermost first, and may lie outside the tensor (negative too).

#pragma once

#include "ptx/machine.h"
#include "ptx/mbarrier.h"
#include "ptx/tensor_map.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// Loads a box; elements outside the tensor become the map's fill. The bytes of the whole box are
// counted by `barrier`; they are in place, for those that waited for its phase, when it completes.
template <int Rank>
WKV_PTX void tma_load(void* shared, const TensorMap& map, Mbarrier& barrier,
                      const int (&coordinates)[Rank], Where where = {});
// The same into every block of the cluster whose bit is set in `blocks`, at the same place of its
// shared memory; each block's own barrier at that place counts the bytes.
template <int Rank>
WKV_PTX void tma_load_multicast(void* shared, const TensorMap& map, Mbarrier& barrier,
                                const int (&coordinates)[Rank], uint16_t blocks, Where where = {});

// Stores a box; elements outside the tensor are not written. Ordinary stores into the box must have
// passed fence_proxy_async.
template <int Rank>
WKV_PTX void tma_store(const TensorMap& map, const void* shared, const int (&coordinates)[Rank],
                       Where where = {});
// Closes the group of this thread's stores since the last commit.
WKV_PTX void tma_store_commit(Where where = {});
// Waits until at most N of this thread's latest groups may still read their shared memory. A thread
// must have waited so for all its stores before it leaves the kernel.
template <int N>
WKV_PTX void tma_store_wait_read(Where where = {});
// Waits until at most N of this thread's latest groups have not reached global memory.
template <int N>
WKV_PTX void tma_store_wait(Where where = {});

// A hint that the map will be used soon.
WKV_PTX void tma_prefetch(const TensorMap& map);

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(tma)
