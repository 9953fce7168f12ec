// Prints what the launch of the selection asks for, for the occupancy table of .ci/cuda-compile.sh:
// kernel, threads of a block, bytes of dynamic shared memory.

#include <cstdio>

#include "select/config.cuh"

int main() {
  using namespace windowkv::select;
  std::printf("select_kernel %d %zu\n", kThreads, sizeof(SharedStorage));
}
