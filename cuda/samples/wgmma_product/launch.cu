// Architectures: sm_90a.

#include "common/launch.cuh"
#include "samples/samples.h"
#include "samples/wgmma_product/kernel.cuh"

namespace {

template <class T>
int run(const wkv_product_params& params) {
  using namespace windowkv;
  using namespace windowkv::wgmma_product;
  TensorMaps maps;
  if (const char* error = make_maps(params, maps)) return set_error(WKV_INVALID_ARGUMENT, error);
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(params.n, kTileN)),
                  static_cast<unsigned>(ceil_div<int64_t>(params.m, kTileM)));
  const int num_tiles = static_cast<int>(ceil_div<int64_t>(params.k, kTileK));
  return launch(wgmma_product_kernel<T>, grid, dim3(kThreads), 1, sizeof(SharedStorage<T>),
                params.stream, maps, num_tiles);
}

}  // namespace

extern "C" int wkv_cuda_wgmma_product(const wkv_product_params* params) {
  using namespace windowkv;
  if (params == nullptr) return set_error(WKV_INVALID_ARGUMENT, "product: params is null");
  if (const char* error = wgmma_product::check(*params))
    return set_error(WKV_INVALID_ARGUMENT, error);
  if (params->m == 0 || params->n == 0) return WKV_OK;
  if (params->k == 0) return set_error(WKV_INVALID_ARGUMENT, "wgmma_product: k is 0");
  return params->dtype == WKV_F16 ? run<ptx::Half>(*params) : run<ptx::Bfloat16>(*params);
}
