#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN int thread_rank() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
WKV_FN int lane_idx() {
  unsigned lane;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}
// Broadcast from lane 0, so that the compiler knows it to be the same in all lanes of a warp.
WKV_FN int warp_idx() { return __shfl_sync(0xffffffff, thread_rank() / 32, 0); }
WKV_FN int warpgroup_idx() { return __shfl_sync(0xffffffff, thread_rank() / 128, 0); }

template <class Plan>
WKV_FN Plan& shared_memory() {
  extern __shared__ __align__(1024) unsigned char wkv_shared_memory[];
  return *reinterpret_cast<Plan*>(wkv_shared_memory);
}

WKV_FN uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
