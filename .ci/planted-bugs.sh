#!/bin/sh
# Builds the sample kernels as they are and with every planted bug, under the emulator's checks, TSan, ASan
# and UBSan; prints the table of what finds what; fails when a bug is found by nothing or an unchanged kernel
# is reported. Some minutes; with an argument, only the bugs whose names contain it, or `unchanged`.
set -eu
cd "$(dirname "$0")/.."
cargo run --quiet --release -p windowkv-kernels --example planted_bugs -- "$@"
