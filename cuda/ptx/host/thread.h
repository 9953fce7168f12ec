#pragma once

#include "simt/runtime.h"

#define threadIdx (::windowkv::simt::self().index)
#define blockIdx (::windowkv::simt::self().block->index)
#define blockDim (::windowkv::simt::self().gang->shape.block)
#define gridDim (::windowkv::simt::self().gang->shape.grid)

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN int thread_rank() { return static_cast<int>(simt::self().number); }
WKV_FN int lane_idx() { return static_cast<int>(simt::self().lane); }
WKV_FN int warp_idx() { return thread_rank() / 32; }
WKV_FN int warpgroup_idx() { return thread_rank() / 128; }

// Ends the run when the launch asked for less than the plan needs.
void check_shared_plan(std::size_t bytes);

template <class Plan>
WKV_FN Plan& shared_memory() {
  static_assert(alignof(Plan) <= 1024);
  check_shared_plan(sizeof(Plan));
  return *reinterpret_cast<Plan*>(simt::self().block->shared);
}

// Shared memory lies at a multiple of its 256 KB stride, as in the 18 bits of a wgmma descriptor.
WKV_FN uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(shared) % simt::kSharedStride);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
