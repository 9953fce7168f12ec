#include "common/emulate.h"

#include "machines/kernels.h"
#include "select/kernel.cuh"

extern "C" int wkv_emulated_select(const wkv_select_params* params) {
  using namespace windowkv;
  using namespace windowkv::select;
  const wkv_status status = check(params);
  if (status != WKV_OK || params->rows == 0) return status;
  return emulate({.grid = {static_cast<unsigned>(params->rows)},
                  .block = {kThreads},
                  .cluster = {},
                  .shared_bytes = sizeof(SharedStorage)},
                 [&] { select_kernel(*params); });
}
