// Who a thread is, and where its block's shared memory lies.
//
// threadIdx, blockIdx, blockDim and gridDim are CUDA's own on both machines.
// PTX: %tid, %ctaid, %laneid ("Special Registers"). SM: all.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// The thread's number in its block, in [0, threads of the block).
WKV_PTX int thread_rank();
// Its lane in the warp, in [0, 32).
WKV_PTX int lane_idx();
// Its warp in the block.
WKV_PTX int warp_idx();
// Its group of four warps in the block.
WKV_PTX int warpgroup_idx();

// The dynamic shared memory of the block, as the kernel's plan of it. It starts at a multiple of
// 1,024 bytes, which the 128-byte swizzle of TMA and wgmma needs. The launch must ask for
// sizeof(Plan). Contents are undefined at first (NaN in every format on the emulated GPU).
template <class Plan>
WKV_PTX Plan& shared_memory();

// The address of a shared-memory object in the block's shared window, in bytes: what descriptors
// hold.
WKV_PTX uint32_t shared_address(const void* shared);

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(thread)
