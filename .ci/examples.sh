#!/bin/sh
# Runs the numbered examples of the kernels on the emulated GPU.
set -eu
cd "$(dirname "$0")/.."
for example in windowkv-kernels/examples/[0-9]*.rs; do
    name=$(basename "$example" .rs)
    printf '%s\n' "--- $name"
    cargo run --quiet --release -p windowkv-kernels --example "$name"
done
