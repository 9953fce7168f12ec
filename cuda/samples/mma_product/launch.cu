// Architectures: sm_80 and later.

#include "common/launch.cuh"
#include "samples/mma_product/kernel.cuh"
#include "samples/samples.h"

namespace {

template <class T>
int run(const wkv_product_params& params) {
  using namespace windowkv;
  using namespace windowkv::mma_product;
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(params.n, kTileN)),
                  static_cast<unsigned>(ceil_div<int64_t>(params.m, kTileM)));
  return launch(mma_product_kernel<T>, grid, dim3(kThreads), 1, sizeof(SharedStorage<T>),
                params.stream, params);
}

}  // namespace

extern "C" int wkv_cuda_mma_product(const wkv_product_params* params) {
  using namespace windowkv;
  if (params == nullptr) return set_error(WKV_INVALID_ARGUMENT, "product: params is null");
  if (const char* error = mma_product::check(*params))
    return set_error(WKV_INVALID_ARGUMENT, error);
  if (params->m == 0 || params->n == 0) return WKV_OK;
  return params->dtype == WKV_F16 ? run<ptx::Half>(*params) : run<ptx::Bfloat16>(*params);
}
