//! Libraries of the emulated GPU: as it is, or with a bug planted, under each means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bugs::Bug;
use crate::compile::{Compilation, made_from, object_of, run_quietly, version_of};
use crate::emulated::{COMMON_FLAGS, Checks, Sources, includes};
use crate::kernels::Kernel;
use crate::means::Means;

pub(crate) struct Builder {
    /// The folder `cuda`.
    root: PathBuf,
    /// Where everything is built.
    out: PathBuf,
    pub(crate) compiler: String,
    version: String,
}

/// A file to compile under one means.
pub(crate) struct Unit {
    pub(crate) means: Means,
    source: PathBuf,
    object: PathBuf,
    flags: &'static [&'static str],
}

impl Builder {
    pub(crate) fn new() -> Result<Builder, String> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().ok_or("no workspace")?.join("cuda");
        let exe = std::env::current_exe().map_err(|error| error.to_string())?;
        // target/<profile>/examples/planted_bugs
        let target = exe.ancestors().nth(3).ok_or("no target folder")?;
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
        Ok(Builder {
            root,
            out: target.join("planted-bugs"),
            version: version_of(compiler.as_ref())?,
            compiler,
        })
    }

    /// All files of the emulated GPU, its kernels and its probes.
    pub(crate) fn units(&self, means: Means) -> Vec<Unit> {
        let sources = Sources::find(&self.root, std::env::consts::ARCH, means.checks);
        let unit = |source: PathBuf, flags| Unit {
            means,
            object: object_of(&source, &self.root, &self.out.join(means.key)),
            source,
            flags,
        };
        let kernels = sources.kernels.into_iter();
        let runtime = sources.runtime.into_iter();
        kernels
            .map(|source| unit(source, means.checks.kernel_flags()))
            .chain(runtime.map(|source| unit(source, means.checks.runtime_flags())))
            .chain([unit(sources.assembly, &[])])
            .collect()
    }

    /// Compiles a file as it is.
    pub(crate) fn compile(&self, unit: &Unit) -> Result<(), String> {
        self.compile_from(unit, &unit.source, None, unit.object.clone())
    }

    /// The library of a means as it is, once [`Builder::link`] has made it.
    pub(crate) fn unchanged(&self, means: Means) -> PathBuf {
        self.out.join(means.key).join("unchanged.so")
    }

    /// Links the library of a means from the objects of its files.
    pub(crate) fn link(&self, units: &[Unit], means: Means) -> Result<PathBuf, String> {
        let objects = units.iter().filter(|unit| unit.means == means);
        let library = self.unchanged(means);
        self.link_objects(means, objects.map(|unit| unit.object.clone()), &library)?;
        Ok(library)
    }

    /// The library of a means with a bug in it: everything that is made from the changed files is compiled
    /// anew.
    pub(crate) fn plant(
        &self,
        units: &[Unit],
        kernel: &Kernel,
        bug: &Bug,
        means: Means,
    ) -> Result<PathBuf, String> {
        let folder = self.out.join("bugs").join(kernel.folder).join(bug.name);
        let overlay = folder.join(means.key).join("source");
        let changed = self.write_changed_files(kernel, bug, &overlay)?;
        let mut planted = false;
        let mut objects = Vec::new();
        for unit in units.iter().filter(|unit| unit.means == means) {
            let parts = made_from(&unit.object)?;
            if !changed.keys().any(|file| parts.contains(file)) {
                objects.push(unit.object.clone());
                continue;
            }
            planted = true;
            let source = changed.get(&unit.source).unwrap_or(&unit.source);
            let object = object_of(&unit.source, &self.root, &folder.join(means.key));
            self.compile_from(unit, source, Some(&overlay), object.clone())?;
            objects.push(object);
        }
        if !planted {
            return Err("no source file includes what the bug changes".into());
        }
        let library = folder.join(means.key).join("library.so");
        self.link_objects(means, objects, &library)?;
        Ok(library)
    }

    fn compile_from(
        &self,
        unit: &Unit,
        source: &Path,
        overlay: Option<&Path>,
        object: PathBuf,
    ) -> Result<(), String> {
        let mut command = Command::new(&self.compiler);
        if source.extension().is_some_and(|end| end == "cpp") {
            command
                .args(["-std=c++20", "-O1", "-g1", "-w"])
                .args(unit.flags);
        }
        command.args(COMMON_FLAGS).arg("-fPIC");
        for folder in overlay
            .map(Path::to_owned)
            .into_iter()
            .chain(includes(&self.root, unit.means.checks))
        {
            command.arg("-I").arg(folder);
        }
        let compilation = Compilation {
            command,
            version: self.version.clone(),
            source: source.to_owned(),
            object,
        };
        compilation.run().map(drop)
    }

    fn link_objects(
        &self,
        means: Means,
        objects: impl IntoIterator<Item = PathBuf>,
        library: &Path,
    ) -> Result<(), String> {
        let mut command = Command::new(&self.compiler);
        command.args(["-shared", "-Wl,-Bsymbolic"]);
        // The emulator's own checks are in the place of ThreadSanitizer's run-time library.
        if means.checks != Checks::Builtin {
            command.args(means.checks.kernel_flags());
        }
        // Another run of this tool may be opening the library: it finds the old one or the new one.
        let unfinished = library.with_extension(std::process::id().to_string());
        command
            .args(objects)
            .args(["-lpthread", "-ldl", "-o"])
            .arg(&unfinished);
        run_quietly(&mut command)?;
        std::fs::rename(&unfinished, library)
            .map_err(|error| format!("{}: {error}", library.display()))
    }

    /// The contents of the files that a bug changes, by their path below `cuda`.
    pub(crate) fn changed_texts(
        &self,
        kernel: &Kernel,
        bug: &Bug,
    ) -> Result<BTreeMap<PathBuf, String>, String> {
        let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
        for edit in bug.edits {
            let relative = match edit.file.strip_prefix('/') {
                Some(file) => PathBuf::from(file),
                None => Path::new(kernel.folder).join(edit.file),
            };
            let path = self.root.join(&relative);
            let text = match texts.remove(&relative) {
                Some(text) => text,
                None => std::fs::read_to_string(&path)
                    .map_err(|error| format!("{}: {error}", path.display()))?,
            };
            if text.matches(edit.old).count() != 1 {
                return Err(format!(
                    "{:?} does not occur exactly once in {}",
                    edit.old,
                    path.display()
                ));
            }
            texts.insert(relative, text.replace(edit.old, edit.new));
        }
        Ok(texts)
    }

    /// Writes the changed files into a folder that is included before `cuda`. By the original's path, that of
    /// the changed one.
    fn write_changed_files(
        &self,
        kernel: &Kernel,
        bug: &Bug,
        overlay: &Path,
    ) -> Result<BTreeMap<PathBuf, PathBuf>, String> {
        let describe = |path: &Path, error| format!("{}: {error}", path.display());
        let texts = self.changed_texts(kernel, bug)?;
        let mut changed = BTreeMap::new();
        // What an earlier form of this bug changed.
        remove_files(overlay, &|file| {
            file.strip_prefix(overlay)
                .is_ok_and(|file| texts.contains_key(file))
        })?;
        for (relative, text) in texts {
            let path = overlay.join(&relative);
            // A file that stays as it is keeps its time, and what is made from it.
            if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
                let folder = path.parent().ok_or("a file without a folder")?;
                std::fs::create_dir_all(folder).map_err(|error| describe(folder, error))?;
                std::fs::write(&path, text).map_err(|error| describe(&path, error))?;
            }
            changed.insert(self.root.join(&relative), path);
        }
        Ok(changed)
    }
}

/// Removes the files below a folder, if there is one, that are not kept.
fn remove_files(folder: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<(), String> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_files(&path, keep)?;
        } else if !keep(&path) {
            std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}
