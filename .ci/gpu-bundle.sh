#!/bin/sh
# Builds the GPU bundle with the toolkit from Python packages, and starts it on this machine: where there is no GPU it has
# to say so and end with 3. Then the emulated GPU goes through the whole of what makes a record.
set -eu
cd "$(dirname "$0")/.."
venv=$(.ci/cuda-toolkit.sh)
VIRTUAL_ENV=$venv benches/bundle/gather.sh

rm -rf target/gpu-bundle/out
status=0
target/gpu-bundle/run >target/gpu-bundle.txt 2>&1 || status=$?
cat target/gpu-bundle.txt
if [ "$status" != 3 ] && ! command -v nvidia-smi >/dev/null; then
    echo "without a GPU the bundle ended with $status, not with 3"
    exit 1
fi
grep -q 'no GPU to measure' target/gpu-bundle.txt || test "$status" != 3

# The programs find what they need in the bundle, away from the checkout.
(
    cd target/gpu-bundle
    WINDOWKV_GOLDEN=$PWD/golden ./tests/kernels golden
    ./tests/ptx --skip faults::
)

bench=target/gpu-bundle/gpu-bench
record=target/gpu-bench-emulated/record.json
rm -rf target/gpu-bench-emulated
$bench begin -r $record --emulated --peers benches/peers/gpu_pytorch.py
$bench step -r $record passes --required -- true
$bench kernels -r $record --emulated --set tiny --rounds 3 --peers benches/peers/gpu_pytorch.py
$bench finish -r $record --peers benches/peers/gpu_pytorch.py >target/gpu-bench-emulated/record.txt
$bench compare $record $record
$bench step -r $record fails --required -- false && exit 1
if $bench finish -r $record --peers benches/peers/gpu_pytorch.py >/dev/null; then
    echo "a record whose check failed ended with 0"
    exit 1
fi
# No number in README.md that is in no record.
$bench check benches/record
$bench readme --check
