#!/usr/bin/env bash
# The kernels as they are under the emulator's checks, TSan, ASan and UBSan, and the tests of cuda/ptx under the
# three sanitizers (all but those of the emulator's own reports): no report is allowed.
set -euo pipefail
cd "$(dirname "$0")/.."
.ci/planted-bugs.sh --unchanged
for means in tsan asan ubsan; do
    environment=$(.ci/planted-bugs.sh environment $means | tr '\n' ' ')
    skip='--skip faults::'
    # ThreadSanitizer follows 256 threads at most, setmaxnreg is between warpgroups of 128.
    if [ $means = tsan ]; then skip="$skip --skip registers::"; fi
    printf '\nptx tests with %s:\n' $means
    # The sanitizer's library goes to the test alone, not to cargo. More threads would be libtest's.
    cargo test --quiet --release -p windowkv-kernels --test ptx \
        --config "target.'cfg(all())'.runner = 'env $environment'" -- --test-threads 1 $skip
done
