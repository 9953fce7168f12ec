#include "common/emulate.h"

#include "layer/embedding.cuh"
#include "layer/rms_norm.cuh"
#include "layer/rope.cuh"
#include "layer/sample.cuh"
#include "layer/silu_mul.cuh"
#include "machines/kernels.h"

namespace {

using namespace windowkv;
using namespace windowkv::layer;

template <class Body>
int run(int64_t blocks, unsigned threads, size_t shared_bytes, const Body& body) {
  if (blocks == 0) return WKV_OK;
  return emulate({.grid = {static_cast<unsigned>(blocks)},
                  .block = {threads},
                  .cluster = {},
                  .shared_bytes = shared_bytes},
                 body);
}

template <class T>
int run_sample(const wkv_sample_params& params) {
  constexpr size_t kShared = sizeof(sample::SharedStorage);
  if (params.vocab < sample::kLargeVocab) {
    return run(params.rows, sample::kSmallThreads, kShared,
               [&] { sample::sample_kernel<T, sample::kSmallThreads>(params); });
  }
  return run(params.rows, sample::kLargeThreads, kShared,
             [&] { sample::sample_kernel<T, sample::kLargeThreads>(params); });
}

}  // namespace

extern "C" int wkv_emulated_rms_norm(const wkv_rms_norm_params* params) {
  const wkv_status status = rms_norm::check(params);
  if (status != WKV_OK || params->hidden == 0) return status;
  return run(params->rows, kThreads, sizeof(rms_norm::SharedStorage), [&] {
    params->dtype == WKV_F16 ? rms_norm::rms_norm_kernel<ptx::Half>(*params)
                             : rms_norm::rms_norm_kernel<ptx::Bfloat16>(*params);
  });
}

extern "C" int wkv_emulated_rope(const wkv_rope_params* params) {
  const wkv_status status = rope::check(params);
  if (status != WKV_OK) return status;
  const int64_t blocks = ceil_div<int64_t>(params->tokens, rope::kTokens);
  return run(blocks, kThreads, sizeof(rope::SharedStorage), [&] {
    params->dtype == WKV_F16 ? rope::rope_kernel<ptx::Half>(*params)
                             : rope::rope_kernel<ptx::Bfloat16>(*params);
  });
}

extern "C" int wkv_emulated_silu_mul(const wkv_silu_mul_params* params) {
  const wkv_status status = silu_mul::check(params);
  if (status != WKV_OK) return status;
  return run(params->rows * blocks_of_row(params->columns), kThreads, 0, [&] {
    params->dtype == WKV_F16 ? silu_mul::silu_mul_kernel<ptx::Half>(*params)
                             : silu_mul::silu_mul_kernel<ptx::Bfloat16>(*params);
  });
}

extern "C" int wkv_emulated_embedding(const wkv_embedding_params* params) {
  const wkv_status status = embedding::check(params);
  if (status != WKV_OK) return status;
  return run(params->rows * blocks_of_row(params->hidden), kThreads, 0,
             [&] { embedding::embedding_kernel(*params); });
}

extern "C" int wkv_emulated_sample(const wkv_sample_params* params) {
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
