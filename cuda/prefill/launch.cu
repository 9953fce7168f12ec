// Architectures: sm_80 and later.

#include "common/dispatch.h"
#include "common/launch.cuh"
#include "machines/kernels.h"
#include "prefill/kernel.cuh"

namespace {

template <class T, int kHeadDim>
int run(const wkv_prefill_params& params) {
  using namespace windowkv;
  using namespace windowkv::prefill;
  return launch(prefill_kernel<T, kHeadDim>, dim3(static_cast<unsigned>(num_blocks(params))),
                dim3(kThreads), 1, sizeof(SharedStorage<T, kHeadDim>), params.stream, params);
}

}  // namespace

extern "C" int wkv_cuda_prefill(const wkv_prefill_params* params) {
  using namespace windowkv;
  if (const int status = prefill::check(params); status != WKV_OK) return status;
  if (prefill::num_blocks(*params) == 0) return WKV_OK;
  return dispatch(params->dtype, params->head_dim, [&]<class T, int kHeadDim>() {
    return run<T, kHeadDim>(prefill::prepared(*params));
  });
}
