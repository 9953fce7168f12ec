// Atomic operations on global and shared memory.
//
// PTX: atom.{add,min,max,exch,cas}.relaxed.gpu, ld.acquire.gpu, st.release.gpu ("Parallel
// Synchronization and Communication Instructions: atom"; "Data Movement: ld, st"). SM: 70. Called
// by any thread; pointers are naturally aligned. Each returns the value before the operation.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// T: int32_t, uint32_t, uint64_t (as unsigned long long) or float. The order of float additions,
// and so their rounding, is not determined.
template <class T>
WKV_PTX T atomic_add(T* address, T value);
// T: int32_t or uint32_t.
template <class T>
WKV_PTX T atomic_min(T* address, T value);
template <class T>
WKV_PTX T atomic_max(T* address, T value);
WKV_PTX uint32_t atomic_exchange(uint32_t* address, uint32_t value);
// Stores `value` when the memory holds `expected`.
WKV_PTX uint32_t atomic_compare_exchange(uint32_t* address, uint32_t expected, uint32_t value);

// A load after which this thread sees what happened before the store_release that it read from. On
// the emulated GPU a loop around it lets the other threads of the block run; the blocks of a grid
// run one after the other on each core, so a block must not wait for a later one.
WKV_PTX uint32_t load_acquire(const uint32_t* address, Where where = {});
WKV_PTX void store_release(uint32_t* address, uint32_t value);

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(atomics)
