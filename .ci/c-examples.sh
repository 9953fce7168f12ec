#!/bin/sh
# Holds the C compiler's sizes and offsets of the public structs to those that ffi.rs asserts on the Rust side,
# then compiles the C and C++ examples, and what the launchers refuse of C callers, with nothing but windowkv.h, links
# them with the library that cargo's build script left, and runs them on the emulated GPU.
set -eu
cd "$(dirname "$0")/.."
cc=${CC:-cc} cxx=${CXX:-c++}
out=target/c-examples
mkdir -p "$out"

# Cargo tells where the build script of this very build has put its libraries.
library=$(cargo build --release -p windowkv-kernels --message-format=json |
    python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "build-script-executed" and "windowkv-kernels" in message["package_id"]:
        print(message["out_dir"] + "/libwindowkv_emulated.a")
' | tail -n 1)
test -f "$library" || { echo "cargo left no libwindowkv_emulated.a: $library"; exit 1; }

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
    case $source in
    *.c) "$cc" -std=c11 -O1 -Wall -Wextra -Wpedantic -Werror -Icuda/include -c "$source" -o "$out/$name.o" ;;
    *) "$cxx" -std=c++20 -O1 -Wall -Wextra -Wpedantic -Werror -Icuda/include -c "$source" -o "$out/$name.o" ;;
    esac
    "$cxx" "$out/$name.o" "$library" -lpthread -o "$out/$name.run"
    printf '\n--- %s\n' "$name"
    "$out/$name.run"
done
