// Architectures: sm_80 and later.

#include "common/launch.cuh"
#include "gather/kernel.cuh"
#include "machines/kernels.h"

extern "C" int wkv_cuda_gather(const wkv_gather_params* params) {
  using namespace windowkv;
  const wkv_status status = gather::check(params);
  if (status != WKV_OK) return status;
  return gather::for_each_launch(*params, [&](const gather::Launch& gather, unsigned blocks) {
    const auto kernel = gather.division.in_place ? gather::gather_kernel<gather::kUnrollInPlace>
                                                 : gather::gather_kernel<gather::kUnroll>;
    return launch(kernel, dim3(blocks), dim3(gather::kThreads), 1, 0, params->stream, gather);
  });
}
