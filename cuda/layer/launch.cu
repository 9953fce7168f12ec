// Architectures: sm_80 and later.

#include "common/launch.cuh"
#include "layer/embedding.cuh"
#include "layer/rms_norm.cuh"
#include "layer/rope.cuh"
#include "layer/sample.cuh"
#include "layer/silu_mul.cuh"
#include "machines/kernels.h"

namespace {

using namespace windowkv;
using namespace windowkv::layer;

template <class Params>
int run(void (*kernel)(Params), int64_t blocks, int threads, size_t shared_bytes,
        const Params& params) {
  if (blocks == 0) return WKV_OK;
  return launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(threads), 1, shared_bytes,
                params.stream, params);
}

template <class T>
int run_sample(const wkv_sample_params& params) {
  constexpr size_t kShared = sizeof(sample::SharedStorage);
  if (params.vocab < sample::kLargeVocab) {
    return run(sample::sample_kernel<T, sample::kSmallThreads>, params.rows, sample::kSmallThreads,
               kShared, params);
  }
  return run(sample::sample_kernel<T, sample::kLargeThreads>, params.rows, sample::kLargeThreads,
             kShared, params);
}

}  // namespace

extern "C" int wkv_cuda_rms_norm(const wkv_rms_norm_params* params) {
  const wkv_status status = rms_norm::check(params);
  if (status != WKV_OK || params->hidden == 0) return status;
  return run(params->dtype == WKV_F16 ? rms_norm::rms_norm_kernel<ptx::Half>
                                      : rms_norm::rms_norm_kernel<ptx::Bfloat16>,
             params->rows, kThreads, sizeof(rms_norm::SharedStorage), *params);
}

extern "C" int wkv_cuda_rope(const wkv_rope_params* params) {
  const wkv_status status = rope::check(params);
  if (status != WKV_OK) return status;
  return run(
      params->dtype == WKV_F16 ? rope::rope_kernel<ptx::Half> : rope::rope_kernel<ptx::Bfloat16>,
      ceil_div<int64_t>(params->tokens, rope::kTokens), kThreads, sizeof(rope::SharedStorage),
      *params);
}

extern "C" int wkv_cuda_silu_mul(const wkv_silu_mul_params* params) {
  const wkv_status status = silu_mul::check(params);
  if (status != WKV_OK) return status;
  return run(params->dtype == WKV_F16 ? silu_mul::silu_mul_kernel<ptx::Half>
                                      : silu_mul::silu_mul_kernel<ptx::Bfloat16>,
             params->rows * blocks_of_row(params->columns), kThreads, 0, *params);
}

extern "C" int wkv_cuda_embedding(const wkv_embedding_params* params) {
  const wkv_status status = embedding::check(params);
  if (status != WKV_OK) return status;
  return run(embedding::embedding_kernel, params->rows * blocks_of_row(params->hidden), kThreads, 0,
             *params);
}

extern "C" int wkv_cuda_sample(const wkv_sample_params* params) {
  const wkv_status status = sample::check(params);
  if (status != WKV_OK) return status;
  switch (params->dtype) {
    case WKV_F16:
      return run_sample<ptx::Half>(*params);
    case WKV_BF16:
      return run_sample<ptx::Bfloat16>(*params);
    default:
      return run_sample<float>(*params);
  }
}
