#include "common/emulate.h"

#include "samples/reduction/kernel.cuh"
#include "samples/samples.h"

extern "C" int wkv_emulated_row_sum(const wkv_row_sum_params* params) {
  using namespace windowkv;
  if (params == nullptr) return set_error(WKV_INVALID_ARGUMENT, "row_sum: params is null");
  if (const char* error = reduction::check(*params)) return set_error(WKV_INVALID_ARGUMENT, error);
  if (params->rows == 0) return WKV_OK;
  return emulate({.grid = {static_cast<unsigned>(params->rows)},
                  .block = {reduction::kThreads},
                  .cluster = {},
                  .shared_bytes = sizeof(reduction::SharedStorage)},
                 [&] { reduction::row_sum_kernel(*params); });
}
