#!/bin/sh
# Holds the C compiler's sizes and offsets of the public structs to those that ffi.rs asserts on the Rust side,
# then compiles the C and C++ examples, and what the launchers refuse of C callers, as docs/kernels.md tells C users to,
# with nothing but windowkv.h, and runs them on the emulated GPU.
set -eu
cd "$(dirname "$0")/.."
cc=${CC:-cc} cxx=${CXX:-c++}
out=target/c-examples
mkdir -p "$out"

# bindgen's assertions as C11's.
python3 - windowkv-kernels/src/ffi.rs > "$out/layout.c" <<'END'
import re, sys
print('#include "windowkv_testing.h"')
assertion = r'\["(Size of|Alignment of|Offset of field:) (wkv_\w+)(?:::(\w+))?"\]\s*\[[^;]*?- (\d+)usize\];'
for what, struct, field, number in re.findall(assertion, open(sys.argv[1]).read()):
    field = field.removesuffix("_")  # bindgen appends it to keywords of Rust
    left = {"Size of": f"sizeof({struct})", "Alignment of": f"_Alignof({struct})"}.get(what, f"offsetof({struct}, {field})")
    print(f'_Static_assert({left} == {number}, "{left} differs from ffi.rs");')
END
count=$(grep -c _Static_assert "$out/layout.c")
test "$count" -ge 200 || { echo "only $count assertions were found in ffi.rs"; exit 1; }
"$cc" -std=c11 -Wall -Wextra -Werror -Icuda/include -fsyntax-only "$out/layout.c"
echo "$count sizes, alignments and offsets are the same in C and in Rust"

for source in windowkv-kernels/examples/c/*.c windowkv-kernels/examples/c/*.cpp tests/c/refusals.c; do
    name=$(basename "$source")
    windowkv-kernels/examples/c/build.sh "$source" "$out/$name.run"
    printf '\n--- %s\n' "$name"
    "$out/$name.run"
done

# By what the launchers know of overlaps.
"$cxx" -std=c++20 -O1 -Wall -Wextra -Wpedantic -Werror -Icuda -Icuda/include tests/c/regions.cpp cuda/common/region.cpp \
    -o "$out/regions.run"
printf '\n--- regions.cpp\n'
"$out/regions.run"
