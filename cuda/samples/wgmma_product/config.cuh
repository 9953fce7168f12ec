// Tiles, stages, shared memory and tensor maps of the wgmma product.

#pragma once

#include "common/math.cuh"
#include "ptx/machine.h"
#include "ptx/mbarrier.h"
#include "ptx/number.h"
#include "ptx/tensor_map.h"
#include "samples/product.h"

namespace windowkv::inline WKV_MACHINE::wgmma_product {

inline constexpr int kTileM = 64;
inline constexpr int kTileN = 64;
inline constexpr int kTileK = 64;
inline constexpr int kStages = 2;

// Warps 0-3, one warpgroup, multiply; warp 4 loads.
inline constexpr int kConsumerThreads = 128;
inline constexpr int kThreads = kConsumerThreads + 32;
inline constexpr int kConsumerWarps = kConsumerThreads / 32;

// Named barrier of the consumers.
inline constexpr int kConsumersBarrier = 1;

// A row of each tile is one row of the 128-byte swizzle.
inline constexpr ptx::Swizzle kSwizzle = ptx::Swizzle::k128;
static_assert(kTileK * 2 == ptx::swizzle_bytes(kSwizzle));
static_assert(kTileN * 2 == ptx::swizzle_bytes(kSwizzle));

template <class T>
struct alignas(1024) SharedStorage {
  T a[kStages][kTileM * kTileK];
  T b[kStages][kTileN * kTileK];
  T c[kTileM * kTileN];
  ptx::Mbarrier full[kStages];   // the tiles of the stage have landed: 1 arrival and their bytes
  ptx::Mbarrier empty[kStages];  // the tensor cores have read them: 1 arrival a consumer warp
};

inline constexpr int kStageBytes = (kTileM + kTileN) * kTileK * 2;

struct TensorMaps {
  ptx::TensorMap a;  // [m, k] in boxes of kTileM x kTileK
  ptx::TensorMap b;  // [n, k] in boxes of kTileN x kTileK
  ptx::TensorMap c;  // [m, n] in boxes of kTileM x kTileN
};

inline const char* check(const wkv_product_params& params) {
  if (const char* error = samples::check_product(params, kTileM)) return error;
  if (params.c_stride % 8 != 0 || reinterpret_cast<uintptr_t>(params.c) % 16 != 0) {
    return "product: the rows of c are not 16-byte aligned";
  }
  return nullptr;
}

// Null, or why there are no maps. k must not be 0.
inline const char* make_maps(const wkv_product_params& params, TensorMaps& maps) {
  const auto spec = [&](const void* base, int64_t rows, int64_t columns, int64_t stride,
                        int box_rows, int box_columns) {
    return ptx::TensorMapSpec{
        .element = params.dtype == WKV_F16 ? ptx::Element::kHalf : ptx::Element::kBfloat16,
        .rank = 2,
        .base = base,
        .size = {static_cast<uint64_t>(columns), static_cast<uint64_t>(rows)},
        .stride_bytes = {0, static_cast<uint64_t>(stride) * 2},
        .box = {static_cast<uint32_t>(box_columns), static_cast<uint32_t>(box_rows)},
        .swizzle = kSwizzle,
        .fill = ptx::Fill::kZero};
  };
  const char* error = ptx::encode_tensor_map(
      maps.a, spec(params.a, params.m, params.k, params.a_stride, kTileM, kTileK));
  if (error == nullptr) {
    error = ptx::encode_tensor_map(
        maps.b, spec(params.b, params.n, params.k, params.b_stride, kTileN, kTileK));
  }
  if (error == nullptr) {
    error = ptx::encode_tensor_map(
        maps.c, spec(params.c, params.m, params.n, params.c_stride, kTileM, kTileN));
  }
  return error;
}

}  // namespace windowkv::inline WKV_MACHINE::wgmma_product
