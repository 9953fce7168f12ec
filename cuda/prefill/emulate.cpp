#include "common/emulate.h"

#include "common/dispatch.h"
#include "machines/kernels.h"
#include "prefill/kernel.cuh"

namespace {

template <class T, int kHeadDim>
int run(const wkv_prefill_params& params) {
  using namespace windowkv;
  using namespace windowkv::prefill;
  return emulate({.grid = {static_cast<unsigned>(num_blocks(params))},
                  .block = {kThreads},
                  .cluster = {},
                  .shared_bytes = sizeof(SharedStorage<T, kHeadDim>)},
                 [&] { prefill_kernel<T, kHeadDim>(params); });
}

}  // namespace

extern "C" int wkv_emulated_prefill(const wkv_prefill_params* params) {
  using namespace windowkv;
  if (const int status = prefill::check(params); status != WKV_OK) return status;
  if (prefill::num_blocks(*params) == 0) return WKV_OK;
  return dispatch(params->dtype, params->head_dim, [&]<class T, int kHeadDim>() {
    return run<T, kHeadDim>(prefill::prepared(*params));
  });
}
