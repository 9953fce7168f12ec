#pragma once

#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::ptx {

template <int Rank>
WKV_FN void tma_load(void* shared, const TensorMap& map, Mbarrier& barrier, const int (&c)[Rank],
                     Where) {
  static_assert(Rank >= 2 && Rank <= 4);
  if constexpr (Rank == 2) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(shared)),
        "l"(&map), "r"(shared_address(&barrier)), "r"(c[0]), "r"(c[1])
        : "memory");
  } else if constexpr (Rank == 3) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(shared)),
        "l"(&map), "r"(shared_address(&barrier)), "r"(c[0]), "r"(c[1]), "r"(c[2])
        : "memory");
  } else if constexpr (Rank == 4) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(shared)),
        "l"(&map), "r"(shared_address(&barrier)), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3])
        : "memory");
  }
}

template <int Rank>
WKV_FN void tma_load_multicast(void* shared, const TensorMap& map, Mbarrier& barrier,
                               const int (&c)[Rank], uint16_t blocks, Where) {
  static_assert(Rank >= 2 && Rank <= 4);
  if constexpr (Rank == 2) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes."
        "multicast::cluster "
        "[%0], [%1, {%3, %4}], [%2], %5;" ::"r"(shared_address(shared)),
        "l"(&map), "r"(shared_address(&barrier)), "r"(c[0]), "r"(c[1]), "h"(blocks)
        : "memory");
  } else if constexpr (Rank == 3) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes."
        "multicast::cluster "
        "[%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(shared_address(shared)),
        "l"(&map), "r"(shared_address(&barrier)), "r"(c[0]), "r"(c[1]), "r"(c[2]), "h"(blocks)
        : "memory");
  } else if constexpr (Rank == 4) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes."
        "multicast::cluster "
        "[%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(shared_address(shared)),
        "l"(&map), "r"(shared_address(&barrier)), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]),
        "h"(blocks)
        : "memory");
  }
}

template <int Rank>
WKV_FN void tma_store(const TensorMap& map, const void* shared, const int (&c)[Rank], Where) {
  static_assert(Rank >= 2 && Rank <= 4);
  if constexpr (Rank == 2) {
    asm volatile(
        "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(
            &map),
        "r"(shared_address(shared)), "r"(c[0]), "r"(c[1])
        : "memory");
  } else if constexpr (Rank == 3) {
    asm volatile(
        "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::
            "l"(&map),
        "r"(shared_address(shared)), "r"(c[0]), "r"(c[1]), "r"(c[2])
        : "memory");
  } else if constexpr (Rank == 4) {
    asm volatile(
        "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], "
        "[%1];" ::"l"(&map),
        "r"(shared_address(shared)), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3])
        : "memory");
  }
}

WKV_FN void tma_store_commit(Where) { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int N>
WKV_FN void tma_store_wait_read(Where) {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
template <int N>
WKV_FN void tma_store_wait(Where) {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}

WKV_FN void tma_prefetch(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
