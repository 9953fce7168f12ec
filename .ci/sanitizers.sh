#!/usr/bin/env bash
# The kernels as they are under the emulator's checks, TSan, ASan and UBSan, and under the three sanitizers the tests of
# cuda/ptx (all but those of the emulator's own reports) and of the kernels: no report is allowed.
set -euo pipefail
cd "$(dirname "$0")/.."
.ci/planted-bugs.sh --unchanged
for means in tsan asan ubsan; do
    environment=$(.ci/planted-bugs.sh environment $means | tr '\n' ' ')
    counts=$PWD/target/counts-$means
    rm -f "$counts"
    # The sanitizer's library goes to the test alone, not to cargo. More threads would be libtest's.
    run=(cargo test --quiet --release --config "target.'cfg(all())'.runner = 'env WINDOWKV_COUNTS=$counts $environment'")
    printf '\nptx tests with %s:\n' $means
    "${run[@]}" -p windowkv-kernels --test ptx -- --test-threads 1 --skip faults::
    printf '\nkernel tests with %s:\n' $means
    "${run[@]}" -p windowkv-tests --test kernels -- --test-threads 1
    .ci/kernel-counts.sh "$counts"
done
