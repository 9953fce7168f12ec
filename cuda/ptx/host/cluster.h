#pragma once

#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN int cluster_rank() { return static_cast<int>(simt::self().block->rank); }
WKV_FN int cluster_size() { return static_cast<int>(simt::self().gang->blocks.size()); }
WKV_FN void cluster_arrive(Where where) { simt::cluster_arrive(where); }
WKV_FN void cluster_wait(Where where) { simt::cluster_wait(where); }
WKV_FN void cluster_sync(Where where) {
  simt::cluster_arrive(where);
  simt::cluster_wait(where);
}
template <class T>
WKV_FN T* cluster_map(T* shared, int rank) {
  const std::ptrdiff_t blocks = rank - cluster_rank();
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(shared) +
                              static_cast<uintptr_t>(blocks) * simt::kSharedStride);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
