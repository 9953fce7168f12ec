#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN void sync_warp(uint32_t mask, Where) { __syncwarp(mask); }
WKV_FN void sync_threads(Where) { __syncthreads(); }
WKV_FN void barrier_sync(int id, int num_threads, Where) {
  asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(id), "r"(num_threads) : "memory");
}
WKV_FN void barrier_arrive(int id, int num_threads, Where) {
  asm volatile("barrier.cta.arrive.aligned %0, %1;" ::"r"(id), "r"(num_threads) : "memory");
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
