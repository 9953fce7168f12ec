#!/bin/sh
# Builds the kernels as they are and with every planted bug, under the emulator's checks, TSan, ASan and UBSan;
# prints the tables of what finds what; fails when a bug is found by nothing or an unchanged kernel is reported.
# Some minutes; with words, only the kernels and bugs whose `folder/name` contains them; --unchanged: no bugs.
set -eu
cd "$(dirname "$0")/.."
cargo run --quiet --release -p windowkv-kernels --example planted_bugs -- "$@"
