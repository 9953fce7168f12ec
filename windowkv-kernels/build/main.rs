//! Builds `cuda/` twice: for the emulated GPU always, with nvcc when the feature `cuda` is on.

mod architectures;
mod compile;
mod emulated;
mod nvcc;
mod parallel;
mod toolkit;

use std::env;
use std::path::{Path, PathBuf};

use compile::Compilation;

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .parent()
        .expect("the crate lies in the workspace")
        .join("cuda");
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));

    // CUDA first, so that a missing nvcc is told at once, and so that the linker meets the library of the
    // emulated GPU, whose error messages this one uses, after it.
    let mut built = Ok(());
    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        built = nvcc::build(&root, &out);
    }
    if let Err(message) = built.and_then(|()| build_emulated(&root, &out)) {
        eprintln!("error: {message}");
        std::process::exit(1);
    }
}

fn build_emulated(root: &Path, out: &Path) -> Result<(), String> {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let sources = emulated::Sources::find(root, &architecture, emulated::Checks::Builtin);

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
    let runtime = build.get_compiler();
    for flag in emulated::Checks::Builtin.kernel_flags() {
        build.flag(flag);
    }
    let kernels = build.get_compiler();
    let assembler = cc::Build::new().get_compiler();

    let mut compilations = Vec::new();
    for (tool, sources) in [
        // What takes longest first.
        (&kernels, sources.kernels),
        (&runtime, sources.runtime),
        (&assembler, vec![sources.assembly]),
    ] {
        let version = compile::version_of(tool.path())?;
        compilations.extend(sources.into_iter().map(|source| Compilation {
            command: tool.to_command(),
            version: version.clone(),
            object: compile::object_of(&source, root, &out.join("emulated")),
            source,
        }));
    }
    archive(compilations, "windowkv_emulated")
}

/// Compiles what changed and makes a static library of all.
fn archive(compilations: Vec<Compilation>, name: &str) -> Result<(), String> {
    let objects: Vec<PathBuf> = compilations.iter().map(|c| c.object.clone()).collect();
    for warnings in parallel::parallel(compilations, Compilation::run)? {
        for line in warnings.iter().flat_map(|text| text.lines()) {
            println!("cargo:warning={line}");
        }
    }
    cc::Build::new().cpp(true).objects(&objects).compile(name);
    Ok(())
}
