#!/usr/bin/env bash
# Builds the emulated GPU with each compiler at hand (the default one, clang 14, gcc for aarch64) and runs its
# samples, probes and faults with each, aarch64 under qemu: all must give the same bits and report every fault.
# As root on Debian it installs what is missing; a compiler that is not there is skipped with a notice.
# Minutes of work, so not part of .ci/run. The Rust tests run with another compiler as with
# `CXX=clang++-14 cargo test --release -p windowkv-kernels`.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v clang++-14 qemu-aarch64 aarch64-linux-gnu-g++ > /dev/null && [ "$(id -u)" = 0 ]; then
    apt-get install --yes --quiet --no-install-recommends clang-14 g++-aarch64-linux-gnu qemu-user ||
        echo 'apt-get could not install them'
fi
faults=$(sed -n 's/^ *WKV_FAULT(\([a-z_]*\),.*/\1/p' cuda/simt/test/faults.cpp | grep -v livelock)
out=target/compilers

# build NAME ARCHITECTURE COMPILER: the program out/NAME/driver, with the flags of windowkv-kernels/build.
build() {
    local name=$1 architecture=$2 compiler=$3
    local common="-O2 -g1 -std=c++20 -Wall -Wextra -Wno-unknown-pragmas -Wno-psabi"
    common="$common -Icuda -Icuda/include -Icuda/simt/checks/builtin"
    mkdir -p "$out/$name"
    rm -f "$out/$name"/*.o
    {
        find cuda/simt cuda/ptx/host cuda/common -maxdepth 1 -name '*.cpp' | sed "s|^|$common |"
        { find cuda -name emulate.cpp; echo cuda/simt/test/faults.cpp cuda/machines/emulated.cpp | tr ' ' '\n'; } |
            sed "s|^|$common -fsanitize=thread |"
        echo "$common .ci/emulated_driver.cpp"
        echo "cuda/simt/fiber_$architecture.S"
    } | while read -r line; do
        source=${line##* }
        echo "$line -c -o $out/$name/$(echo "$source" | tr / _ | sed "s/^[.]//").o"
    done | xargs -P "$(nproc)" -I{} sh -c "$compiler {}"
    "$compiler" "$out/$name"/*.o -o "$out/$name/driver" -lpthread -ldl
}

first=
for line in "default $(uname -m) ${CXX:-c++}" "clang-14 $(uname -m) clang++-14" \
    'aarch64 aarch64 aarch64-linux-gnu-g++ qemu-aarch64 -L /usr/aarch64-linux-gnu'; do
    read -r name architecture compiler runner <<< "$line"
    if ! command -v "$compiler" ${runner%% *} > /dev/null; then
        echo "skipped: $name, for $compiler ${runner%% *} is not here"
        continue
    fi
    build "$name" "$architecture" "$compiler"
    # shellcheck disable=SC2086
    $runner "$out/$name/driver" $faults > "$out/$name/results" || {
        echo "$name: a fault without its report, or a report without a fault:"
        grep -v ': reported$' "$out/$name/results" | tail -n 20
        exit 1
    }
    echo "$name: $(wc -l < "$out/$name/results") results with $("$compiler" --version | head -n 1)"
    first=${first:-$name}
    diff "$out/$first/results" "$out/$name/results"
done
