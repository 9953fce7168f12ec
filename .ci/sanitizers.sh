#!/bin/sh
# The unchanged sample kernels under the emulator's checks, TSan, ASan and UBSan: no report is allowed.
set -eu
exec "$(dirname "$0")/planted-bugs.sh" --unchanged
