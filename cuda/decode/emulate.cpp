#include "common/emulate.h"

#include "common/dispatch.h"
#include "decode/advance.cuh"
#include "decode/kernel.cuh"
#include "machines/kernels.h"

namespace {

template <class T, int kHeadDim>
int run(const wkv_decode_params& params) {
  using namespace windowkv;
  using namespace windowkv::decode;
  return emulate({.grid = {static_cast<unsigned>(shape_of(params).num_blocks())},
                  .block = {kThreads},
                  .cluster = {},
                  .shared_bytes = sizeof(SharedStorage<T, kHeadDim>)},
                 [&] { decode_kernel<T, kHeadDim>(params); });
}

}  // namespace

extern "C" int wkv_emulated_decode(const wkv_decode_params* params) {
  using namespace windowkv;
  if (const int status = decode::check(params); status != WKV_OK) return status;
  if (decode::shape_of(*params).num_blocks() == 0) return WKV_OK;
  return dispatch(params->dtype, params->head_dim, [&]<class T, int kHeadDim>() {
    return run<T, kHeadDim>(decode::prepared(*params));
  });
}

extern "C" int wkv_emulated_advance(const wkv_advance_params* params) {
  using namespace windowkv;
  if (const int status = decode::check(params); status != WKV_OK) return status;
  if (params->count == 0) return WKV_OK;
  const int blocks = (params->count - 1) / decode::kAdvanceThreads + 1;
  return emulate({.grid = {static_cast<unsigned>(blocks)},
                  .block = {decode::kAdvanceThreads},
                  .cluster = {},
                  .shared_bytes = 0},
                 [&] { decode::advance_kernel(*params); });
}
