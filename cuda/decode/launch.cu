// Architectures: sm_80 and later.

#include "common/dispatch.h"
#include "common/launch.cuh"
#include "decode/advance.cuh"
#include "decode/kernel.cuh"
#include "machines/kernels.h"

namespace {

template <class T, int kHeadDim>
int run(const wkv_decode_params& params) {
  using namespace windowkv;
  using namespace windowkv::decode;
  const dim3 grid(static_cast<unsigned>(shape_of(params).num_blocks()));
  return launch(decode_kernel<T, kHeadDim>, grid, dim3(kThreads), 1,
                sizeof(SharedStorage<T, kHeadDim>), params.stream, params);
}

}  // namespace

extern "C" int wkv_cuda_decode(const wkv_decode_params* params) {
  using namespace windowkv;
  if (const int status = decode::check(params); status != WKV_OK) return status;
  if (decode::shape_of(*params).num_blocks() == 0) return WKV_OK;
  return dispatch(params->dtype, params->head_dim, [&]<class T, int kHeadDim>() {
    return run<T, kHeadDim>(decode::prepared(*params));
  });
}

extern "C" int wkv_cuda_advance(const wkv_advance_params* params) {
  using namespace windowkv;
  if (const int status = decode::check(params); status != WKV_OK) return status;
  if (params->count == 0) return WKV_OK;
  const int blocks = (params->count - 1) / decode::kAdvanceThreads + 1;
  return launch(decode::advance_kernel, dim3(static_cast<unsigned>(blocks)),
                dim3(decode::kAdvanceThreads), 1, 0, params->stream, *params);
}
