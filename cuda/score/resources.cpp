// Prints what the launches of the scores ask for, for the occupancy table of .ci/cuda-compile.sh:
// kernel, threads of a block, bytes of dynamic shared memory.

#include <cstdio>

#include "score/config.cuh"

namespace {

using namespace windowkv;
using namespace windowkv::score;

template <int kHeadDim>
void print_columns() {
  constexpr size_t kBytes = sizeof(ColumnsStorage<ptx::Half, kHeadDim>);
  static_assert(kBytes == sizeof(ColumnsStorage<ptx::Bfloat16, kHeadDim>));
  for (const char* type : {"Half", "Bfloat16"}) {
    std::printf("score::score_columns_kernel<ptx::%s,%d> %d %zu\n", type, kHeadDim, kThreads,
                kBytes);
  }
}

}  // namespace

int main() {
  print_columns<32>();
  print_columns<64>();
  print_columns<96>();
  print_columns<128>();
  std::printf("score_pool_kernel %d 0\n", kPoolThreads);
  std::printf("score_windows_kernel %d %zu\n", kWindowThreads, sizeof(WindowsStorage));
}
