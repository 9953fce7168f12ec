//! Building `cuda/` with nvcc.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest nvcc that knows C++20, sm_90a and the instructions used.
const OLDEST: (u32, u32) = (12, 4);

const HOW_TO_INSTALL: &str = "Install the CUDA toolkit (12.4 or later), or, without a system installation, the \
    Python packages that `.ci/cuda-toolkit.sh` lists into a virtual environment, and activate it. nvcc is \
    looked for in NVCC, CUDA_HOME, PATH, /usr/local/cuda, /opt/cuda and the active virtual environment, in \
    that order. Or build without the feature `cuda`: the emulated GPU needs no toolkit.";

/// Compiles every `.cu` file for the architectures of `WINDOWKV_CUDA_ARCHS` and links them in.
pub(crate) fn build(root: &Path) -> Result<(), String> {
    for variable in [
        "NVCC",
        "CUDA_HOME",
        "PATH",
        "VIRTUAL_ENV",
        "WINDOWKV_CUDA_ARCHS",
    ] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let nvcc = find()?;
    check_version(&nvcc)?;
    let architectures = Architectures::from_environment()?;

    let mut sources = Vec::new();
    find_cu(root, &mut sources);
    sources.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let mut objects = Vec::new();
    for hopper_only in [false, true] {
        let group: Vec<&PathBuf> = sources
            .iter()
            .filter(|file| needs_sm90a(file) == hopper_only)
            .collect();
        let flags = architectures.flags(hopper_only);
        if flags.is_empty() {
            return Err(format!(
                "WINDOWKV_CUDA_ARCHS names no architecture for {}: it needs {}",
                group[0].display(),
                if hopper_only { "90a" } else { "80 or later" }
            ));
        }
        for source in group {
            let name = source
                .strip_prefix(root)
                .unwrap_or(source)
                .to_string_lossy()
                .replace('/', "_");
            let object = out.join(format!("{name}.o"));
            let mut command = Command::new(&nvcc);
            command
                .args([
                    "-std=c++20",
                    "-O3",
                    "-lineinfo",
                    "-Xcompiler",
                    "-fPIC",
                    "-c",
                ])
                .args(&flags)
                .arg("-I")
                .arg(root)
                .arg("-I")
                .arg(root.join("include"))
                .arg(source)
                .arg("-o")
                .arg(&object);
            let status = command
                .status()
                .map_err(|error| format!("{}: {error}", nvcc.display()))?;
            if !status.success() {
                return Err(format!("nvcc failed: {command:?}"));
            }
            objects.push(object);
        }
    }
    cc::Build::new()
        .cpp(true)
        .objects(&objects)
        .compile("windowkv_cuda");

    let home = nvcc
        .parent()
        .and_then(Path::parent)
        .ok_or("nvcc has no folder")?;
    let library = ["lib64", "lib", "targets/x86_64-linux/lib"]
        .iter()
        .map(|folder| home.join(folder))
        .find(|folder| folder.join("libcudart_static.a").is_file())
        .ok_or_else(|| {
            format!(
                "libcudart_static.a is not beside {}. {HOW_TO_INSTALL}",
                nvcc.display()
            )
        })?;
    println!("cargo:rustc-link-search=native={}", library.display());
    println!("cargo:rustc-link-lib=static=cudart_static");
    for system in ["dl", "rt", "pthread", "stdc++"] {
        println!("cargo:rustc-link-lib=dylib={system}");
    }
    Ok(())
}

fn find() -> Result<PathBuf, String> {
    let mut candidates = Vec::new();
    if let Some(nvcc) = env::var_os("NVCC") {
        let nvcc = PathBuf::from(nvcc);
        if !nvcc.is_file() {
            return Err(format!("NVCC is {}, which is no file", nvcc.display()));
        }
        candidates.push(nvcc);
    }
    if let Some(home) = env::var_os("CUDA_HOME") {
        candidates.push(Path::new(&home).join("bin/nvcc"));
    }
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        candidates.push(folder.join("nvcc"));
    }
    candidates.push("/usr/local/cuda/bin/nvcc".into());
    candidates.push("/opt/cuda/bin/nvcc".into());
    if let Some(venv) = env::var_os("VIRTUAL_ENV") {
        candidates.extend(in_virtual_environment(Path::new(&venv)));
    }
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("the feature `cuda` needs nvcc. {HOW_TO_INSTALL}"))
}

/// `lib/python3.*/site-packages/nvidia/cu13/bin/nvcc`.
fn in_virtual_environment(venv: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(venv.join("lib")).into_iter().flatten();
    entries
        .flatten()
        .map(|python| python.path().join("site-packages/nvidia/cu13/bin/nvcc"))
        .collect()
}

fn check_version(nvcc: &Path) -> Result<(), String> {
    let output = Command::new(nvcc)
        .arg("--version")
        .output()
        .map_err(|error| format!("{}: {error}. {HOW_TO_INSTALL}", nvcc.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .split("release ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .and_then(|number| {
            let (major, minor) = number.trim().split_once('.')?;
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        })
        .ok_or_else(|| {
            format!(
                "{} --version names no release. {HOW_TO_INSTALL}",
                nvcc.display()
            )
        })?;
    if version < OLDEST {
        return Err(format!(
            "{} is version {}.{}, the oldest that works is {}.{}. {HOW_TO_INSTALL}",
            nvcc.display(),
            version.0,
            version.1,
            OLDEST.0,
            OLDEST.1
        ));
    }
    Ok(())
}

/// The architectures to compile for, as `WINDOWKV_CUDA_ARCHS` lists them: `80,90a` by default. PTX of the
/// last one without a letter is embedded for later GPUs.
struct Architectures(Vec<String>);

impl Architectures {
    fn from_environment() -> Result<Self, String> {
        let text = env::var("WINDOWKV_CUDA_ARCHS").unwrap_or_else(|_| "80,90a".into());
        let list: Vec<String> = text.split(',').map(|item| item.trim().to_owned()).collect();
        for item in &list {
            let digits = item.trim_end_matches(|c: char| c.is_ascii_lowercase());
            if item.len() - digits.len() > 1
                || digits.parse::<u32>().map_or(true, |number| number < 80)
            {
                return Err(format!(
                    "WINDOWKV_CUDA_ARCHS: {item:?} is not an architecture such as 80, 86, 90a or 100a"
                ));
            }
        }
        Ok(Self(list))
    }

    fn flags(&self, hopper_only: bool) -> Vec<String> {
        if hopper_only {
            return self
                .0
                .iter()
                .filter(|item| *item == "90a")
                .map(|item| format!("-gencode=arch=compute_{item},code=sm_{item}"))
                .collect();
        }
        let mut flags: Vec<String> = self
            .0
            .iter()
            .map(|item| format!("-gencode=arch=compute_{item},code=sm_{item}"))
            .collect();
        if let Some(newest) = self.0.last() {
            let number = newest.trim_end_matches(|c: char| c.is_ascii_lowercase());
            flags.push(format!(
                "-gencode=arch=compute_{number},code=compute_{number}"
            ));
        }
        flags
    }
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
