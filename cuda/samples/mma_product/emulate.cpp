#include "common/emulate.h"

#include "samples/mma_product/kernel.cuh"
#include "samples/samples.h"

namespace {

template <class T>
int run(const wkv_product_params& params) {
  using namespace windowkv;
  using namespace windowkv::mma_product;
  const auto columns = static_cast<unsigned>(ceil_div<int64_t>(params.n, kTileN));
  const auto rows = static_cast<unsigned>(ceil_div<int64_t>(params.m, kTileM));
  return emulate({.grid = {columns, rows},
                  .block = {kThreads},
                  .cluster = {},
                  .shared_bytes = sizeof(SharedStorage<T>)},
                 [&] { mma_product_kernel<T>(params); });
}

}  // namespace

extern "C" int wkv_emulated_mma_product(const wkv_product_params* params) {
  using namespace windowkv;
  if (params == nullptr) return set_error(WKV_INVALID_ARGUMENT, "product: params is null");
  if (const char* error = mma_product::check(*params))
    return set_error(WKV_INVALID_ARGUMENT, error);
  if (params->m == 0 || params->n == 0) return WKV_OK;
  return params->dtype == WKV_F16 ? run<ptx::Half>(*params) : run<ptx::Bfloat16>(*params);
}
