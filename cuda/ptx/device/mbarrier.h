#pragma once

#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN void mbarrier_init(Mbarrier& barrier, int count, Where) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(count)
               : "memory");
}
WKV_FN void mbarrier_invalidate(Mbarrier& barrier, Where) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(&barrier)) : "memory");
}
WKV_FN void mbarrier_arrive(Mbarrier& barrier, Where) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier))
               : "memory");
}
WKV_FN void mbarrier_arrive_cluster(Mbarrier& barrier, int rank, Where) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(shared_address(&barrier)),
      "r"(rank)
      : "memory");
}
WKV_FN void mbarrier_expect_bytes(Mbarrier& barrier, int bytes, Where) {
  asm volatile(
      "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)),
      "r"(bytes)
      : "memory");
}
WKV_FN void mbarrier_arrive_expect_bytes(Mbarrier& barrier, int bytes, Where) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)),
      "r"(bytes)
      : "memory");
}
WKV_FN bool mbarrier_try_wait(Mbarrier& barrier, int parity, Where) {
  uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.b32 %0, 1, 0, p;\n"
      "}"
      : "=r"(done)
      : "r"(shared_address(&barrier)), "r"(parity)
      : "memory");
  return done != 0;
}
WKV_FN void mbarrier_wait(Mbarrier& barrier, int parity, Where) {
  while (!mbarrier_try_wait(barrier, parity)) {
  }
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
