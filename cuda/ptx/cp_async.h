// Asynchronous copies from global to shared memory, by each thread for itself.
//
// PTX: cp.async.{ca,cg}.shared.global [dst], [src], cp-size, src-size; cp.async.commit_group;
// cp.async.wait_group N ("Data Movement and Conversion Instructions: Asynchronous copy, non-bulk").
// SM: 80. Called by any thread. The bytes are there for the thread that copied once it has waited,
// and for other threads once they have met it in a barrier after that; wgmma and TMA need a
// fence_proxy_async as well. Until then they are undefined (poisoned on the emulated GPU), and a
// thread may leave the kernel only after it has waited for what it copied.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// Copies Bytes (4, 8 or 16; both addresses are multiples of it). Only the first `source_bytes` are
// read and the rest of the destination becomes zero: 0 for a row outside the tensor, whose address
// is then not read, but is a multiple of Bytes all the same. 16-byte copies bypass the L1 cache
// (.cg).
template <int Bytes>
WKV_PTX void cp_async(void* shared, const void* global, int source_bytes = Bytes, Where where = {});

// Closes the group of this thread's copies since the last commit; a group may be empty.
WKV_PTX void cp_async_commit(Where where = {});

// Waits until at most N of this thread's latest groups have not landed.
template <int N>
WKV_PTX void cp_async_wait(Where where = {});

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(cp_async)
