//! Finding a CUDA toolkit.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::compile::version_of;

/// The oldest nvcc that knows C++20, sm_90a and the instructions used.
const OLDEST: (u32, u32) = (12, 4);

const HOW_TO_INSTALL: &str = "Install the CUDA toolkit (12.4 or later), or, without a system installation, the \
    Python packages that `.ci/cuda-toolkit.sh` lists into a virtual environment, and activate it. nvcc is \
    looked for in NVCC, CUDA_HOME, PATH, /usr/local/cuda, /opt/cuda and the active virtual environment, in \
    that order. Or build without the feature `cuda`: the emulated GPU needs no toolkit.";

/// Where toolkits are installed.
pub(crate) const USUAL_FOLDERS: [&str; 2] = ["/usr/local/cuda", "/opt/cuda"];

/// The environment variables that [`Toolkit::find`] asks for.
pub(crate) const VARIABLES: [&str; 4] = ["NVCC", "CUDA_HOME", "PATH", "VIRTUAL_ENV"];

/// A toolkit that is new enough.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Toolkit {
    pub(crate) nvcc: PathBuf,
    /// What `nvcc --version` prints.
    pub(crate) version: String,
    /// The folder of `libcudart_static.a`.
    pub(crate) libraries: PathBuf,
}

impl Toolkit {
    /// The first nvcc by the order that design and README give; it has to be new enough.
    pub(crate) fn find(
        variable: impl Fn(&str) -> Option<OsString>,
        usual_folders: &[PathBuf],
    ) -> Result<Self, String> {
        let nvcc = find_nvcc(variable, usual_folders)?;
        let version = version_of(&nvcc).map_err(|error| format!("{error}. {HOW_TO_INSTALL}"))?;
        check_version(&nvcc, &version)?;
        let libraries = find_libraries(&nvcc)?;
        Ok(Self {
            nvcc,
            version,
            libraries,
        })
    }
}

fn find_nvcc(
    variable: impl Fn(&str) -> Option<OsString>,
    usual_folders: &[PathBuf],
) -> Result<PathBuf, String> {
    // An empty variable counts as not set.
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(nvcc) = variable("NVCC").map(PathBuf::from) {
        // It names one file: another in its place would be a surprise.
        return if nvcc.is_file() {
            Ok(nvcc)
        } else {
            Err(format!(
                "NVCC is {}, which is no file. {HOW_TO_INSTALL}",
                nvcc.display()
            ))
        };
    }
    let mut candidates = Vec::new();
    if let Some(home) = variable("CUDA_HOME") {
        candidates.push(Path::new(&home).join("bin/nvcc"));
    }
    let path = variable("PATH").unwrap_or_default();
    candidates.extend(std::env::split_paths(&path).map(|folder| folder.join("nvcc")));
    candidates.extend(usual_folders.iter().map(|folder| folder.join("bin/nvcc")));
    if let Some(venv) = variable("VIRTUAL_ENV") {
        candidates.extend(in_virtual_environment(Path::new(&venv)));
    }
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("the feature `cuda` needs nvcc. {HOW_TO_INSTALL}"))
}

/// `lib/python3.*/site-packages/nvidia/cu*/bin/nvcc`, the newest toolkit first.
fn in_virtual_environment(venv: &Path) -> Vec<PathBuf> {
    let folders = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = folders(venv.join("lib"))
        .flat_map(|python| folders(python.path().join("site-packages/nvidia")))
        .filter(|toolkit| toolkit.file_name().to_string_lossy().starts_with("cu1"))
        .map(|toolkit| toolkit.path().join("bin/nvcc"))
        .collect();
    found.sort();
    found.reverse();
    found
}

fn check_version(nvcc: &Path, text: &str) -> Result<(), String> {
    let nvcc = nvcc.display();
    let version = text.split("release ").nth(1).and_then(|rest| {
        let (major, minor) = rest.split(',').next()?.trim().split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    match version {
        Some(version) if version >= OLDEST => Ok(()),
        Some((major, minor)) => Err(format!(
            "{nvcc} is version {major}.{minor}, the oldest that works is {}.{}. {HOW_TO_INSTALL}",
            OLDEST.0, OLDEST.1
        )),
        None => Err(format!(
            "{nvcc} --version names no release. {HOW_TO_INSTALL}"
        )),
    }
}

/// In the toolkit's own folders, also when nvcc is a symbolic link to it.
fn find_libraries(nvcc: &Path) -> Result<PathBuf, String> {
    let real = nvcc.canonicalize().unwrap_or_else(|_| nvcc.to_owned());
    [nvcc, &real]
        .iter()
        .filter_map(|nvcc| nvcc.parent()?.parent())
        .flat_map(|home| {
            [
                "lib64",
                "lib",
                "targets/x86_64-linux/lib",
                "targets/sbsa-linux/lib",
            ]
            .map(|folder| home.join(folder))
        })
        .find(|folder| folder.join("libcudart_static.a").is_file())
        .ok_or_else(|| {
            format!(
                "libcudart_static.a is not beside {}. {HOW_TO_INSTALL}",
                nvcc.display()
            )
        })
}
