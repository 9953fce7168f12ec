#!/bin/sh
# Installs the CUDA compiler (no driver, no GPU, 300 MB) and clang-format from Python packages into
# .toolchain/, unless they are there, and prints the virtual environment's folder.
set -eu
cd "$(dirname "$0")/.."
venv=$PWD/.toolchain/venv
packages='nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 clang-format==19.1.7'
if [ "$(cat "$venv/packages" 2>/dev/null)" != "$packages" ]; then
    python3 -m venv "$venv" >&2
    # shellcheck disable=SC2086
    "$venv/bin/pip" install --quiet --disable-pip-version-check $packages >&2
    printf '%s\n' "$packages" > "$venv/packages"
fi
echo "$venv"
