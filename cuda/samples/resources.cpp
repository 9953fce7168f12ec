// Prints what the launchers ask for, for the occupancy table of .ci/cuda-compile.sh: kernel,
// threads of a block, bytes of dynamic shared memory.

#include <cstdio>

#include "samples/mma_product/config.cuh"
#include "samples/reduction/config.cuh"
#include "samples/wgmma_product/config.cuh"

int main() {
  using namespace windowkv;
  std::printf("row_sum_kernel %d %zu\n", reduction::kThreads, sizeof(reduction::SharedStorage));
  std::printf("mma_product_kernel %d %zu\n", mma_product::kThreads,
              sizeof(mma_product::SharedStorage<ptx::Half>));
  std::printf("wgmma_product_kernel %d %zu\n", wgmma_product::kThreads,
              sizeof(wgmma_product::SharedStorage<ptx::Half>));
}
