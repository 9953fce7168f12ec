// Where the tokens of a KV cache lie; see wkv_cache_layout.

#pragma once

#include "ptx/machine.h"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE {

// No element's offset: strides are multiples of 8.
inline constexpr int64_t kNoPage = -1;

// Element offset of (token, head 0) of a sequence's cache, or kNoPage when the page table names a
// page that is not there. `token` is in [0, capacity).
WKV_FN int64_t cache_offset(const wkv_cache_layout& cache, int batch_idx, int64_t token) {
  if (cache.page_table == nullptr) {
    return batch_idx * cache.strides.batch + token * cache.strides.token;
  }
  const auto index = static_cast<uint32_t>(token) / static_cast<uint32_t>(cache.page_len);
  const auto inside = static_cast<uint32_t>(token) % static_cast<uint32_t>(cache.page_len);
  const int32_t page = cache.page_table[batch_idx * cache.page_table_stride + index];
  if (page < 0 || page >= cache.num_pages) return kNoPage;
  return page * cache.strides.batch + inside * cache.strides.token;
}

}  // namespace windowkv::inline WKV_MACHINE
