// What a kernel tells the host that it found in device memory; see wkv_flag.

#pragma once

#include "ptx/atomics.h"
#include "ptx/machine.h"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE {

// Sets a bit of the caller's word; null: nobody wants to know.
WKV_FN void raise_flag(uint32_t* flags, wkv_flag flag) {
  if (flags == nullptr) return;
  const auto bit = static_cast<uint32_t>(flag);
  uint32_t seen = ptx::atomic_compare_exchange(flags, 0, bit);
  while ((seen & bit) == 0) {
    const uint32_t before = ptx::atomic_compare_exchange(flags, seen, seen | bit);
    if (before == seen) break;
    seen = before;
  }
}

}  // namespace windowkv::inline WKV_MACHINE
