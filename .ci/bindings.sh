#!/bin/sh
# Regenerates windowkv-kernels/src/ffi.rs from the C headers; needs bindgen and libclang.
set -eu
cd "$(dirname "$0")/.."
{
    echo '//! The C ABI as bindgen 0.73 sees `cuda/include`; `.ci/bindings.sh` writes this file.'
    echo
    echo '#![allow(missing_docs, non_camel_case_types, non_upper_case_globals, unreachable_pub)]'
    echo
    bindgen cuda/include/windowkv_testing.h --allowlist-item 'wkv_.*|WKV_.*' \
        --no-doc-comments --disable-header-comment --rust-target 1.85.0 \
        --rust-edition 2024 -- -Icuda/include
} > windowkv-kernels/src/ffi.rs
cargo fmt -p windowkv-kernels
