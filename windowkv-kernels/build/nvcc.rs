//! Building `cuda/` with nvcc.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::architectures::Architectures;
use crate::compile::{Compilation, object_of};
use crate::toolkit::{self, Toolkit};

/// Flags that nvcc adds to every command.
const APPENDED: &str = "NVCC_APPEND_FLAGS";

/// Compiles every `.cu` file for the architectures of `WINDOWKV_CUDA_ARCHS` and links them in.
pub(crate) fn build(root: &Path, out: &Path) -> Result<(), String> {
    for variable in toolkit::VARIABLES {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    println!("cargo:rerun-if-env-changed=WINDOWKV_CUDA_ARCHS");
    // nvcc reads it by itself; here it tells builds with other flags apart.
    println!("cargo:rerun-if-env-changed={APPENDED}");
    let toolkit = Toolkit::find(
        |name| env::var_os(name),
        &toolkit::USUAL_FOLDERS.map(PathBuf::from),
    )?;
    let architectures = match env::var("WINDOWKV_CUDA_ARCHS") {
        Ok(list) => Architectures::parse(&list)?,
        Err(_) => Architectures::parse(Architectures::DEFAULT)?,
    };

    let mut sources = Vec::new();
    find_cu(root, &mut sources);
    sources.sort();
    let mut compilations = Vec::new();
    for source in sources {
        let mut command = Command::new(&toolkit.nvcc);
        command
            .args(["-std=c++20", "-O3", "-lineinfo", "-Xcompiler", "-fPIC"])
            .args(architectures.flags(needs_sm90a(&source))?)
            .arg("-I")
            .arg(root)
            .arg("-I")
            .arg(root.join("include"));
        if let Some(flags) = env::var_os(APPENDED) {
            command.env(APPENDED, flags);
        }
        compilations.push(Compilation {
            command,
            version: toolkit.version.clone(),
            object: object_of(&source, root, &out.join("cuda")),
            source,
        });
    }
    crate::archive(compilations, "windowkv_cuda")?;

    println!(
        "cargo:rustc-link-search=native={}",
        toolkit.libraries.display()
    );
    println!("cargo:rustc-link-lib=static=cudart_static");
    for system in ["dl", "rt", "pthread", "stdc++"] {
        println!("cargo:rustc-link-lib=dylib={system}");
    }
    Ok(())
}

/// A `.cu` file says in its first line what it is for.
fn needs_sm90a(file: &Path) -> bool {
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .starts_with("// Architectures: sm_90a.")
}

fn find_cu(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_cu(&path, found);
        } else if path.extension() == Some(OsStr::new("cu")) {
            found.push(path);
        }
    }
}
