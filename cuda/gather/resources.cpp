// Prints what the launch of the gather asks for, for the occupancy table of .ci/cuda-compile.sh:
// kernel, threads of a block, bytes of dynamic shared memory.

#include <cstdio>

#include "gather/config.cuh"

int main() { std::printf("gather_kernel %d 0\n", windowkv::gather::kThreads); }
