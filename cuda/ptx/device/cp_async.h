#pragma once

#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::ptx {

template <int Bytes>
WKV_FN void cp_async(void* shared, const void* global, int source_bytes, Where) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(global), "r"(source_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
                 "l"(global), "n"(Bytes), "r"(source_bytes)
                 : "memory");
  }
}

WKV_FN void cp_async_commit(Where) { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int N>
WKV_FN void cp_async_wait(Where) {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
