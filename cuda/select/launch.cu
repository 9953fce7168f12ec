// Architectures: sm_80 and later.

#include "common/launch.cuh"
#include "machines/kernels.h"
#include "select/kernel.cuh"

extern "C" int wkv_cuda_select(const wkv_select_params* params) {
  using namespace windowkv;
  using namespace windowkv::select;
  const wkv_status status = check(params);
  if (status != WKV_OK || params->rows == 0) return status;
  return launch(select_kernel, dim3(static_cast<unsigned>(params->rows)), dim3(kThreads), 1,
                sizeof(SharedStorage), params->stream, *params);
}
