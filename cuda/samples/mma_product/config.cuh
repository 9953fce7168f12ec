// Tiles, stages and shared memory of the mma product.

#pragma once

#include "common/math.cuh"
#include "ptx/machine.h"
#include "ptx/number.h"
#include "ptx/swizzle.h"
#include "samples/product.h"

namespace windowkv::inline WKV_MACHINE::mma_product {

inline constexpr int kTileM = 64;
inline constexpr int kTileN = 64;
inline constexpr int kTileK = 32;
inline constexpr int kStages = 3;

// Four warps, two by two, each with 32 x 32 of the tile of c.
inline constexpr int kThreads = 128;
inline constexpr int kWarpM = 32;
inline constexpr int kWarpN = 32;

// A row of a tile is 64 bytes: four pieces of 16, which trade places so that the eight rows of a
// core matrix fall into different banks.
inline constexpr ptx::Swizzle kSwizzle = ptx::Swizzle::k64;
inline constexpr int kPieces = kTileK / 8;
static_assert(kTileK * 2 == ptx::swizzle_bytes(kSwizzle));

template <class T>
struct alignas(1024) SharedStorage {
  T a[kStages][kTileM * kTileK];
  T b[kStages][kTileN * kTileK];
};
static_assert(sizeof(SharedStorage<ptx::Half>) <= 48 * 1024);

inline const char* check(const wkv_product_params& params) {
  return samples::check_product(params, kTileM);
}

}  // namespace windowkv::inline WKV_MACHINE::mma_product
