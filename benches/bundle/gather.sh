#!/usr/bin/env bash
# Gathers what a GPU machine needs that has neither Rust nor a network into a folder gpu-bundle of cargo's target folder:
# the programs, stripped, with the kernels inside, the peers' script, and `run`, which does everything there.
#
#   benches/bundle/gather.sh              the folder, and its size
#
# Needs nvcc, as every build with the feature cuda does (.ci/cuda-toolkit.sh installs one below .toolchain/).
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
out=$target/gpu-bundle
limit_mib=60
rm -rf "$out"
mkdir -p "$out/tests" "$out/peers"

# The nvcc that the build takes: the same order as windowkv-kernels/build/toolkit.rs.
find_nvcc() {
    if [ -n "${NVCC:-}" ]; then
        echo "$NVCC"
        return
    fi
    local candidate
    for candidate in ${CUDA_HOME:+"$CUDA_HOME/bin/nvcc"} "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc \
        /opt/cuda/bin/nvcc $(ls -d "${VIRTUAL_ENV:-/none}"/lib/*/site-packages/nvidia/cu1*/bin/nvcc 2>/dev/null | sort -r); do
        if [ -f "$candidate" ]; then
            echo "$candidate"
            return
        fi
    done
    echo "no nvcc: .ci/cuda-toolkit.sh installs one" >&2
    return 1
}
nvcc=$(find_nvcc)
release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\), V\([0-9.]*\).*/\1 \2/p')
read -r release nvcc_version <<<"$release"
major=${release%%.*}
minor=${release#*.}
# The oldest driver that runs a program of this toolkit; then the kernels' code, compressed as well as nvcc can from 12.8
# on: a program of 17 MB becomes one of 6.
case $major in
12) driver=525 ;;
13) driver=580 ;;
*) driver="of CUDA $major" ;;
esac
if [ -z "${NVCC_APPEND_FLAGS:-}" ] && { [ "$major" -gt 12 ] || [ "$minor" -ge 8 ]; }; then
    export NVCC_APPEND_FLAGS=--compress-mode=size
    # Older ones do not know the compression.
    [ "$major" -gt 12 ] || driver=570
fi

# Cargo tells where it has put a program.
programs() {
    cargo "$@" --message-format=json |
        python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "compiler-artifact" and message.get("executable"):
        print(message["target"]["name"], message["executable"])
'
}
strip_into() {
    local name program
    while read -r name program; do strip -o "$1/${2:-$name}" "$program"; done
}
programs build --release --features cuda -p windowkv-benches --bin gpu-bench | strip_into "$out"
programs bench --no-run --features cuda -p windowkv-benches --bench kernels | strip_into "$out" criterion
programs test --no-run --release --features cuda -p windowkv-tests --test kernels | strip_into "$out/tests"
programs test --no-run --release --features cuda -p windowkv-kernels --test ptx --test samples --test cuda |
    strip_into "$out/tests"

cp benches/peers/gpu_pytorch.py "$out/peers/"
# The vectors that the kernels' tests are held to; elsewhere they lie in the checkout.
mkdir "$out/golden"
cp -r tests/golden/selection "$out/golden/"
cp benches/bundle/{run,sanitized.txt} LICENSE-MIT LICENSE-APACHE "$out/"
# needed PREFIX: the newest version of a library's symbols that a program asks for.
needed() {
    objdump -T "$out"/{gpu-bench,criterion} "$out"/tests/* | grep -o "${1}_[0-9.]*" | sort -V | tail -n 1
}
sed "s/@DRIVER@/$driver/; s/@MACHINE@/$(uname -m)/; s/@GLIBC@/$(needed GLIBC)/; s/@GLIBCXX@/$(needed GLIBCXX)/" \
    benches/bundle/README.txt >"$out/README.txt"
cat >"$out/BUILD" <<END
commit: $(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
nvcc: $nvcc_version
rustc: $(rustc --version | cut -d ' ' -f 2)
architectures: ${WINDOWKV_CUDA_ARCHS:-$(sed -n 's/.*DEFAULT: &str = "\(.*\)";/\1/p' windowkv-kernels/build/architectures.rs)}
driver: $driver or later
END

for part in gpu-bench criterion run sanitized.txt golden/selection BUILD README.txt peers/gpu_pytorch.py \
    tests/{kernels,ptx,samples,cuda}; do
    test -s "$out/$part" || { echo "$out/$part is missing"; exit 1; }
done
du -a --apparent-size -h "$out" | sort -k 2
size_mib=$(($(du -s --apparent-size -k "$out" | cut -f 1) / 1024))
cat "$out/BUILD"
echo "$out: $size_mib MiB"
if [ "$size_mib" -gt "$limit_mib" ]; then
    echo "that is more than $limit_mib MiB"
    exit 1
fi
