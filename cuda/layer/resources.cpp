// Prints what the launches of a layer's kernels ask for, for the occupancy table of
// .ci/cuda-compile.sh: kernel, threads of a block, bytes of dynamic shared memory.

#include <cstdio>

#include "layer/config.cuh"

int main() {
  using namespace windowkv::layer;
  std::printf("rms_norm_kernel %d %zu\n", kThreads, sizeof(rms_norm::SharedStorage));
  std::printf("rope_kernel %d %zu\n", kThreads, sizeof(rope::SharedStorage));
  std::printf("silu_mul_kernel %d 0\n", kThreads);
  std::printf("embedding_kernel %d 0\n", kThreads);
  for (const char* type : {"ptx::Half", "ptx::Bfloat16", "float"}) {
    for (const int threads : {sample::kSmallThreads, sample::kLargeThreads}) {
      std::printf("layer::sample::sample_kernel<%s,%d> %d %zu\n", type, threads, threads,
                  sizeof(sample::SharedStorage));
    }
  }
}
