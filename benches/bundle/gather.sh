#!/usr/bin/env bash
# Gathers what a GPU machine needs that has neither Rust nor a network into target/gpu-bundle/: the programs, stripped,
# with the kernels inside, the peers' script, and `run`, which does everything there.
#
#   benches/bundle/gather.sh              target/gpu-bundle/, and its size
#
# Needs nvcc, as every build with the feature cuda does (.ci/cuda-toolkit.sh installs one below .toolchain/).
set -euo pipefail
cd "$(dirname "$0")/../.."
out=target/gpu-bundle
limit_mib=60
rm -rf "$out"
mkdir -p "$out/tests" "$out/peers"

# The kernels' code, compressed as well as nvcc can: a program of 17 MB becomes one of 6.
export NVCC_APPEND_FLAGS=${NVCC_APPEND_FLAGS:---compress-mode=size}
cargo build --release --features cuda -p windowkv-benches --bin gpu-bench
strip -o "$out/gpu-bench" target/release/gpu-bench

# Cargo tells where it has put the test programs.
tests() {
    cargo test --no-run --release --message-format=json "$@" |
        python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "compiler-artifact" and message.get("executable"):
        print(message["target"]["name"], message["executable"])
'
}
{
    tests -p windowkv-tests --features cuda --test kernels
    tests -p windowkv-kernels --features cuda --test ptx --test samples --test cuda
} | while read -r name program; do strip -o "$out/tests/$name" "$program"; done

cp benches/peers/gpu_pytorch.py "$out/peers/"
# The vectors that the kernels' tests are held to; elsewhere they lie in the checkout.
mkdir "$out/golden"
cp -r tests/golden/selection "$out/golden/"
cp benches/bundle/run benches/bundle/README.txt LICENSE-MIT LICENSE-APACHE "$out/"
git describe --always --dirty --abbrev=12 >"$out/COMMIT" 2>/dev/null || echo unknown >"$out/COMMIT"

for part in gpu-bench run golden/selection COMMIT README.txt peers/gpu_pytorch.py tests/{kernels,ptx,samples,cuda}; do
    test -s "$out/$part" || { echo "$out/$part is missing"; exit 1; }
done
du -a --apparent-size -h "$out" | sort -k 2
size_mib=$(($(du -s --apparent-size -k "$out" | cut -f 1) / 1024))
echo "$out: $size_mib MiB"
if [ "$size_mib" -gt "$limit_mib" ]; then
    echo "that is more than $limit_mib MiB"
    exit 1
fi
