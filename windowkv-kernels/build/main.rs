//! Builds `cuda/` twice: for the emulated GPU always, with nvcc when the feature `cuda` is on.

mod emulated;
mod nvcc;

use std::env;
use std::path::PathBuf;

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .parent()
        .expect("the crate lies in the workspace")
        .join("cuda");
    println!("cargo:rerun-if-changed={}", root.display());
    for file in ["build/main.rs", "build/emulated.rs", "build/nvcc.rs"] {
        println!("cargo:rerun-if-changed={file}");
    }

    // First, so that a missing nvcc is told at once, and so that the linker meets the library of the
    // emulated GPU, whose error messages this one uses, after it.
    if env::var_os("CARGO_FEATURE_CUDA").is_some()
        && let Err(message) = nvcc::build(&root)
    {
        eprintln!("error: {message}");
        std::process::exit(1);
    }
    build_emulated(&root);
}

fn build_emulated(root: &std::path::Path) {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let sources = emulated::Sources::find(root, &architecture, emulated::Checks::Builtin);

    let new_build = || {
        let mut build = cc::Build::new();
        build
            .cpp(true)
            .std("c++20")
            // A debug build of the kernels would make the tests tens of times slower. The line table is
            // what reports are written from.
            .opt_level(2)
            .debug(false)
            .flag("-g1")
            .warnings(true)
            .extra_warnings(true);
        for flag in emulated::COMMON_FLAGS {
            build.flag(flag);
        }
        for include in emulated::includes(root, emulated::Checks::Builtin) {
            build.include(include);
        }
        build
    };

    let mut runtime = new_build();
    runtime.files(&sources.runtime);
    let mut objects = runtime.compile_intermediates();

    let mut kernels = new_build();
    for flag in emulated::Checks::Builtin.kernel_flags() {
        kernels.flag(flag);
    }
    kernels.files(&sources.kernels);
    objects.extend(kernels.compile_intermediates());

    let mut assembly = cc::Build::new();
    assembly.file(&sources.assembly);
    objects.extend(assembly.compile_intermediates());

    cc::Build::new()
        .cpp(true)
        .objects(&objects)
        .compile("windowkv_emulated");
}
