// Names the kernel of machines/cuda.cu for the occupancy table of .ci/cuda-compile.sh. It is never
// launched; CUDA is asked whether it has code for the GPU at hand.

#include <cstdio>

int main() { std::printf("image_kernel 1 0\n"); }
