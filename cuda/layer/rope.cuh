// (x[t, h, i], x[t, h, i + half]) turned by the angle positions[t] * turns[i], for x = q and x = k
//
// A block has kTokens tokens. It computes their sines and cosines once, into shared memory, and
// then turns eight pairs at a time of every head of q and k. A position is an integer and the
// frequency a fraction of a turn, so the product modulo 2^64 is the exact angle at any position.
//
// Shared memory: a sine and a cosine for each token and pair.

#pragma once

#include "layer/config.cuh"
#include "layer/turns.cuh"
#include "ptx/barrier.h"
#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::layer::rope {

// low, high = low * cos - high * sin, high * cos + low * sin, of eight pairs each
template <class T>
WKV_FN void rotate(T* low, T* high, const float* cosines, const float* sines) {
  float x[kVectorLength], y[kVectorLength];
  unpack<T>(load_vector(low), x);
  unpack<T>(load_vector(high), y);
#pragma unroll
  for (int i = 0; i < kVectorLength; ++i) {
    const float turned = x[i] * cosines[i] - y[i] * sines[i];
    y[i] = y[i] * cosines[i] + x[i] * sines[i];
    x[i] = turned;
  }
  store_vector(low, pack_vector<T>(x));
  store_vector(high, pack_vector<T>(y));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(const __grid_constant__ wkv_rope_params params) {
  auto& smem = ptx::shared_memory<SharedStorage>();
  const int64_t first = int64_t{blockIdx.x} * kTokens;
  const auto tokens = static_cast<int>(min<int64_t>(params.tokens - first, kTokens));
  const int pairs = params.head_dim / 2;

  for (int i = threadIdx.x; i < tokens * pairs; i += kThreads) {
    const int token = i / pairs, pair = i % pairs;
    const int32_t position = params.positions[first + token];
    if (position >= 0) {
      const Direction angle = direction(params.turns[pair] * static_cast<uint64_t>(position));
      smem.cosines[token][pair] = angle.cosine;
      smem.sines[token][pair] = angle.sine;
    }
  }
  ptx::sync_threads();

  const unsigned pieces = pairs / kVectorLength;
  const unsigned heads = params.num_heads_q + (params.k.data == nullptr ? 0 : params.num_heads_kv);
  for (unsigned i = threadIdx.x; i < tokens * heads * pieces; i += kThreads) {
    const unsigned piece = i % pieces, head = i / pieces % heads, token = i / pieces / heads;
    if (params.positions[first + token] < 0) continue;
    const bool is_query = head < static_cast<unsigned>(params.num_heads_q);
    const wkv_tensor& x = is_query ? params.q : params.k;
    const int64_t head_of_x = is_query ? head : head - params.num_heads_q;
    T* low = static_cast<T*>(x.data) + (first + token) * x.strides.token +
             head_of_x * x.strides.head + piece * kVectorLength;
    rotate(low, low + pairs, &smem.cosines[token][piece * kVectorLength],
           &smem.sines[token][piece * kVectorLength]);
  }
}

}  // namespace windowkv::inline WKV_MACHINE::layer::rope
