#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

namespace windowkv::inline WKV_MACHINE::ptx {

static_assert(sizeof(TensorMap) == sizeof(CUtensorMap));

inline const char* encode_tensor_map(TensorMap& map, const TensorMapSpec& spec) {
  if (const char* error = check_tensor_map(spec)) return error;
  // The driver's function is asked for at run time, so that programs start without a driver.
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
  if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault,
                                       &found) != cudaSuccess ||
      found != cudaDriverEntryPointSuccess) {
    return "tensor map: the driver has no cuTensorMapEncodeTiled (it is older than CUDA 12)";
  }
  constexpr CUtensorMapDataType kTypes[] = {
      CU_TENSOR_MAP_DATA_TYPE_FLOAT16, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
      CU_TENSOR_MAP_DATA_TYPE_FLOAT32, CU_TENSOR_MAP_DATA_TYPE_UINT8};
  cuuint64_t size[kMaxTensorRank], stride[kMaxTensorRank];
  cuuint32_t box[kMaxTensorRank], step[kMaxTensorRank];
  for (int i = 0; i < spec.rank; ++i) {
    size[i] = spec.size[i];
    if (i > 0) stride[i - 1] = spec.stride_bytes[i];
    box[i] = spec.box[i];
    step[i] = 1;
  }
  const auto encode = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry);
  const CUresult result = encode(
      reinterpret_cast<CUtensorMap*>(&map), kTypes[static_cast<int>(spec.element)], spec.rank,
      const_cast<void*>(spec.base), size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
      static_cast<CUtensorMapSwizzle>(spec.swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      spec.fill == Fill::kNan ? CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA
                              : CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? nullptr : "tensor map: cuTensorMapEncodeTiled refused it";
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
