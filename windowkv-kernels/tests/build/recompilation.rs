//! What changed is compiled, and nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::compile::{Compilation, object_of, version_of};

/// A source with two headers, in a folder whose name needs escapes in a rule of make.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new() -> Project {
        let folder = tempfile::Builder::new()
            .prefix("a $b #c ")
            .tempdir()
            .expect("a folder");
        let project = Project { folder };
        project.write(
            "below/source.cpp",
            "#include \"near.h\"\n#include <cstdint>\nint f() { return FAR; }\n",
        );
        project.write("below/near.h", "#include \"far.h\"\n");
        project.write("far.h", "#define FAR 1\n");
        project.write("unused.h", "\n");
        project
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn compilation(&self, flag: &str, version: &str) -> Compilation {
        let mut command = Command::new(compiler());
        command.arg(flag).arg("-I").arg(self.root());
        let source = self.root().join("below/source.cpp");
        Compilation {
            command,
            version: version.to_owned(),
            object: object_of(&source, self.root(), &self.root().join("out")),
            source,
        }
    }

    /// Whether the compiler ran.
    fn compile(&self) -> Result<bool, String> {
        self.compilation("-O0", "1").run().map(|ran| ran.is_some())
    }
}

fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".into())
}

#[test]
fn an_object_is_made_once() {
    let project = Project::new();
    assert_eq!(project.compile(), Ok(true));
    assert!(project.root().join("out/below/source.cpp.o").is_file());
    assert_eq!(project.compile(), Ok(false));
    project.write("unused.h", "int unused();\n");
    assert_eq!(project.compile(), Ok(false));
}

#[test]
fn each_file_that_it_is_made_from_counts() {
    let project = Project::new();
    assert_eq!(project.compile(), Ok(true));
    project.write("far.h", "#define FAR 2\n");
    assert_eq!(project.compile(), Ok(true));
    project.write("below/near.h", "#define FAR 3\n");
    assert_eq!(project.compile(), Ok(true));
    // It is no longer included.
    project.write("far.h", "#define FAR 4\n");
    assert_eq!(project.compile(), Ok(false));
    project.write("below/source.cpp", "int f();\n");
    assert_eq!(project.compile(), Ok(true));
    assert_eq!(project.compile(), Ok(false));
}

#[test]
fn other_flags_and_another_compiler_make_another_object() {
    let project = Project::new();
    let run = |flag, version| {
        project
            .compilation(flag, version)
            .run()
            .map(|ran| ran.is_some())
    };
    assert_eq!(run("-O0", "1"), Ok(true));
    assert_eq!(run("-O1", "1"), Ok(true));
    assert_eq!(run("-O1", "2"), Ok(true));
    assert_eq!(run("-O1", "2"), Ok(false));
    assert_eq!(run("-O0", "2"), Ok(true));
}

#[test]
fn a_failed_or_interrupted_compiler_leaves_nothing_that_is_used() {
    let project = Project::new();
    assert_eq!(project.compile(), Ok(true));
    project.write("far.h", "#error not this way\n");
    for _ in 0..2 {
        let error = project.compile().expect_err("it does not compile");
        assert!(error.contains("not this way"), "{error}");
    }
    project.write("far.h", "#define FAR 1\n");
    assert_eq!(project.compile(), Ok(true));

    // A compiler that is killed has written half of the object, and the run ends before the note.
    let folder = project.root().join("out/below");
    fs::write(folder.join("source.cpp.o"), "half").expect("a file");
    fs::remove_file(folder.join("source.cpp.o.command")).expect("a file");
    assert_eq!(project.compile(), Ok(true));
    fs::remove_file(folder.join("source.cpp.o")).expect("a file");
    assert_eq!(project.compile(), Ok(true));
    assert_eq!(project.compile(), Ok(false));
}

#[test]
fn warnings_are_handed_on() {
    let project = Project::new();
    project.write("far.h", "#warning look here\n#define FAR 1\n");
    let warnings = project.compilation("-O0", "1").run().expect("it compiles");
    assert!(warnings.is_some_and(|text| text.contains("look here")));
}

#[test]
fn a_compiler_that_is_not_there_is_named() {
    let error = version_of("/nowhere/c++".as_ref()).expect_err("nothing there");
    assert!(error.starts_with("/nowhere/c++ --version: "), "{error}");
}
