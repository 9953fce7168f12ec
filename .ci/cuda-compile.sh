#!/bin/sh
# Compiles every kernel and every ptx test with nvcc for all architectures, fails on spills and local
# memory, and prints registers, shared memory and occupancy. Needs no GPU.
#
#   .ci/cuda-compile.sh            all
#   .ci/cuda-compile.sh samples    the .cu files whose path contains this
set -eu
cd "$(dirname "$0")/.."
venv=$(.ci/cuda-toolkit.sh)
nvcc=$(ls "$venv"/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)
exec python3 .ci/cuda_compile.py "$nvcc" "${1:-}"
