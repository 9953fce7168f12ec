#!/bin/sh
# Regenerates the bindings with its own bindgen and libclang (below .toolchain/) and fails when the committed
# ones differ.
set -eu
cd "$(dirname "$0")/.."
venv=$(.ci/cuda-toolkit.sh)
"$venv/bin/pip" install --quiet --disable-pip-version-check libclang==18.1.1
if [ ! -x .toolchain/bindgen/bin/bindgen ]; then
    cargo install --quiet --locked --version 0.73.2 --root .toolchain/bindgen bindgen-cli
fi
LIBCLANG_PATH=$(ls -d "$venv"/lib/python3*/site-packages/clang/native)
# The Python package has the library without its own headers (stddef.h and the like); the C compiler has them.
BINDGEN_EXTRA_CLANG_ARGS="-isystem $(cc -print-file-name=include)"
PATH=$PWD/.toolchain/bindgen/bin:$PATH
export LIBCLANG_PATH BINDGEN_EXTRA_CLANG_ARGS PATH
.ci/bindings.sh
git diff --exit-code -- windowkv-kernels/src/ffi.rs
