// Architectures: sm_80 and later.

#include "common/launch.cuh"
#include "samples/reduction/kernel.cuh"
#include "samples/samples.h"

extern "C" int wkv_cuda_row_sum(const wkv_row_sum_params* params) {
  using namespace windowkv;
  if (params == nullptr) return set_error(WKV_INVALID_ARGUMENT, "row_sum: params is null");
  if (const char* error = reduction::check(*params)) return set_error(WKV_INVALID_ARGUMENT, error);
  if (params->rows == 0) return WKV_OK;
  return launch(reduction::row_sum_kernel, dim3(static_cast<unsigned>(params->rows)),
                dim3(reduction::kThreads), 1, sizeof(reduction::SharedStorage), params->stream,
                *params);
}
