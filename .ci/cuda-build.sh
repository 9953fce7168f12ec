#!/bin/sh
# Builds the feature `cuda` with the toolkit from Python packages and runs its tests: without a driver they show that
# the program starts and says what is missing, with a GPU they run kernels on cudarc's streams and in a graph.
set -eu
cd "$(dirname "$0")/.."
venv=$(.ci/cuda-toolkit.sh)
# As the GPU bundle has it, which then need not compile the kernels again.
export NVCC_APPEND_FLAGS=--compress-mode=size
VIRTUAL_ENV=$venv cargo clippy --release -p windowkv-kernels --features cuda --all-targets -- -D warnings
VIRTUAL_ENV=$venv cargo clippy --release -p windowkv-model --features nvtx --lib --bins -- -D warnings
VIRTUAL_ENV=$venv cargo test --release -p windowkv-kernels --features cuda --test cuda

# A C program with both tables of kernels.
printf '%s\n' '#include <stdio.h>' '#include "windowkv.h"' 'int main(void) {' \
    '  printf("%d functions\n", (int)((wkv_cuda_kernels()->struct_size - sizeof(size_t)) / sizeof(void*)));' \
    '  return wkv_cuda_kernels()->struct_size != wkv_emulated_kernels()->struct_size;' '}' > target/cuda-tables.c
VIRTUAL_ENV=$venv windowkv-kernels/examples/c/build.sh target/cuda-tables.c target/cuda-tables --cuda
target/cuda-tables

# How CUDA's errors are told.
toolkit=$(ls -d "$venv"/lib/python3*/site-packages/nvidia/cu13)
program=target/cuda-status
"${CXX:-c++}" -std=c++20 -Wall -Wextra -Werror -Icuda -Icuda/include -isystem "$toolkit/include" tests/c/cuda_status.cpp \
    cuda/common/error.cpp "$toolkit"/lib*/libcudart_static.a -ldl -lrt -lpthread -o "$program"
"$program"
