// Prints what the launches of decode and advance ask for, for the occupancy table of
// .ci/cuda-compile.sh: kernel, threads of a block, bytes of dynamic shared memory.

#include <cstdio>

#include "decode/advance.cuh"
#include "decode/config.cuh"

namespace {

using namespace windowkv;
using namespace windowkv::decode;

template <int kHeadDim>
void print() {
  constexpr size_t kBytes = sizeof(SharedStorage<ptx::Half, kHeadDim>);
  static_assert(kBytes == sizeof(SharedStorage<ptx::Bfloat16, kHeadDim>));
  for (const char* type : {"Half", "Bfloat16"}) {
    std::printf("decode::decode_kernel<ptx::%s,%d> %d %zu\n", type, kHeadDim, kThreads, kBytes);
  }
}

}  // namespace

int main() {
  print<32>();
  print<64>();
  print<96>();
  print<128>();
  std::printf("advance_kernel %d 0\n", kAdvanceThreads);
}
