// The real GPU: __global__, threadIdx and their like come from nvcc.

#pragma once

#include <cstddef>
#include <cstdint>

// A function of ptx: declared in ptx/*.h, defined in ptx/device.
#define WKV_PTX __device__ __forceinline__
// Any other function that the threads of a kernel call.
#define WKV_FN __device__ __forceinline__
// A function of kernel and launcher alike.
#define WKV_BOTH __host__ __device__ constexpr

namespace windowkv::inline WKV_MACHINE {

// The source line of a call. Only the emulated GPU has a use for it.
struct Where {};

}  // namespace windowkv::inline WKV_MACHINE
