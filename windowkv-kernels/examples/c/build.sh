#!/bin/sh
# Compiles a C or C++ program against windowkv.h and links it with the kernels, which cargo builds.
#
#   windowkv-kernels/examples/c/build.sh SOURCE PROGRAM           for the emulated GPU
#   windowkv-kernels/examples/c/build.sh SOURCE PROGRAM --cuda    for NVIDIA GPUs as well; needs nvcc
set -eu
source=$(realpath "$1") program=$(realpath "$2")
cd "$(dirname "$0")/../../.."
features=
[ "${3:-}" != --cuda ] || features="--features cuda"
# Cargo tells what the build script of this very build made, and what it takes to link it.
# shellcheck disable=SC2086
libraries=$(cargo build --quiet --release -p windowkv-kernels $features --message-format=json |
    python3 -c '
import json, sys
flags = ""
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "build-script-executed" and "windowkv-kernels" in message["package_id"]:
        folders = ["-L" + path.removeprefix("native=") for path in message["linked_paths"]]
        flags = " ".join(folders + ["-l" + library.split("=")[-1] for library in message["linked_libs"]])
print(flags)
')
case $libraries in
*windowkv_emulated*) ;;
*) echo "cargo left no libwindowkv_emulated.a: $libraries" >&2; exit 1 ;;
esac
warnings="-Wall -Wextra -Wpedantic -Werror"
case $source in
*.c) ${CC:-cc} -std=c11 -O1 $warnings -Icuda/include -c "$source" -o "$program.o" ;;
*) ${CXX:-c++} -std=c++20 -O1 $warnings -Icuda/include -c "$source" -o "$program.o" ;;
esac
# The library is C++, whatever the program is.
# shellcheck disable=SC2086
${CXX:-c++} "$program.o" $libraries -lpthread -o "$program"
