#!/bin/sh
# Checks of the CUDA sources that need no compiler: formatting, `asm` in cuda/ptx/device only, and the one
# place that asks which machine a kernel is compiled for.
set -eu
cd "$(dirname "$0")/.."
venv=$(.ci/cuda-toolkit.sh)
status=0
find cuda -name '*.h' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu' | sort |
    xargs "$venv/bin/clang-format" --dry-run -Werror || status=1

found=$(grep -rnE '\basm\b' cuda --include='*.h' --include='*.cpp' --include='*.cuh' --include='*.cu' |
    grep -v '^cuda/ptx/device/' |
    grep -vE '^[^:]*:[0-9]+: *//' || true)
if [ -n "$found" ]; then
    printf 'asm outside cuda/ptx/device:\n%s\n' "$found"
    status=1
fi

# C++ headers may be included from C (__cplusplus) and once (include guards); nothing else is conditional.
found=$(grep -rnE '^ *# *(if|ifdef|ifndef|elif)\b' cuda |
    grep -v '^cuda/ptx/machine.h:' | grep -vE '__cplusplus|ifndef WINDOWKV(_TESTING)?_H' || true)
if [ -n "$found" ]; then
    printf 'conditional compilation outside cuda/ptx/machine.h:\n%s\n' "$found"
    status=1
fi
# A launcher allocates nothing, waits for nothing and reads nothing back, so that it can be captured in a graph.
found=$(grep -rnE '\bcuda(Malloc|Free|Memcpy|Memset|[A-Za-z]*Synchronize|EventQuery|StreamQuery)|\bnew\b|\bmalloc\b' \
    cuda --include='*.cuh' --include='launch*.cu' | grep -vE '^[^:]*:[0-9]+: *//' || true)
if [ -n "$found" ]; then
    printf 'allocation, copy or synchronisation in a launcher:\n%s\n' "$found"
    status=1
fi
exit $status
