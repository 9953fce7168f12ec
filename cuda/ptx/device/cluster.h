#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN int cluster_rank() {
  int rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
WKV_FN int cluster_size() {
  int size;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}
WKV_FN void cluster_arrive(Where) {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
WKV_FN void cluster_wait(Where) {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
WKV_FN void cluster_sync(Where) {
  cluster_arrive();
  cluster_wait();
}
template <class T>
WKV_FN T* cluster_map(T* shared, int rank) {
  uint64_t mapped;
  asm("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(shared), "r"(rank));
  return reinterpret_cast<T*>(mapped);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
