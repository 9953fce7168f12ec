// Clusters: blocks that run together and see each other's shared memory.
//
// PTX: barrier.cluster.{arrive,wait}, mapa, %cluster_ctarank, %cluster_nctarank ("Parallel
// Synchronization and Communication Instructions: barrier.cluster"; "Data Movement: mapa"). SM: 90.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// The block's number in its cluster, and how many there are.
WKV_PTX int cluster_rank();
WKV_PTX int cluster_size();

// All threads of all blocks of the cluster meet; what they did before arriving is seen by those
// that have waited. Every thread arrives, then waits, once a phase; the lanes of a warp come from
// the same line. No block may leave the kernel while others may still touch its shared memory.
WKV_PTX void cluster_arrive(Where where = {});
WKV_PTX void cluster_wait(Where where = {});
WKV_PTX void cluster_sync(Where where = {});

// The object at the same place in the shared memory of block `rank`, for ordinary loads, stores and
// atomics.
template <class T>
WKV_PTX T* cluster_map(T* shared, int rank);

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(cluster)
