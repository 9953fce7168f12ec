#!/bin/sh
# Builds the feature `cuda` with the toolkit from Python packages and runs its tests: without a driver they show that
# the program starts and says what is missing, with a GPU they run kernels on cudarc's streams and in a graph.
set -eu
cd "$(dirname "$0")/.."
venv=$(.ci/cuda-toolkit.sh)
VIRTUAL_ENV=$venv cargo clippy --release -p windowkv-kernels --features cuda --all-targets -- -D warnings
VIRTUAL_ENV=$venv cargo test --release -p windowkv-kernels --features cuda --test cuda
