// The swizzles of TMA and wgmma: 16-byte pieces of shared memory trade places within rows of 32, 64
// or 128 bytes, so that a column of pieces falls into different banks.
//
// PTX: "Shared Memory Matrix Layout", "Tensor Swizzling Modes". SM: 90.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

enum class Swizzle { kNone = 0, k32 = 1, k64 = 2, k128 = 3 };

// The row that the pieces trade places in, in bytes (16 without a swizzle).
WKV_BOTH int swizzle_bytes(Swizzle swizzle) { return 16 << static_cast<int>(swizzle); }

// Where the byte at `address` of the plain layout lies: bits 4-6 (4-5, 4) are xored with bits 7-9
// (7-8, 7). Addresses count from a multiple of 8 rows, which the start of a tile has to be.
WKV_BOTH uint32_t swizzled(Swizzle swizzle, uint32_t address) {
  return address ^ (address >> 3 & static_cast<uint32_t>(swizzle_bytes(swizzle) - 16));
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
