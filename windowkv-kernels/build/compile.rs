//! Compiling only what changed: an object is kept when its command is the one that made it and no file that
//! it was made from has changed since.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// One source file to compile.
pub(crate) struct Compilation {
    /// The compiler (gcc, clang or nvcc) with all flags but those for input and output.
    pub(crate) command: Command,
    /// The compiler's version: objects of another one are not kept.
    pub(crate) version: String,
    pub(crate) source: PathBuf,
    /// Beside it lie the list of the files that it was made from (`.d`) and the command (`.command`).
    pub(crate) object: PathBuf,
}

impl Compilation {
    /// Compiles unless the object is up to date. The compiler's warnings, or nothing when it did not run.
    pub(crate) fn run(mut self) -> Result<Option<String>, String> {
        let dependencies = with_suffix(&self.object, ".d");
        let note = with_suffix(&self.object, ".command");
        self.command
            .arg("-c")
            .arg(&self.source)
            .arg("-o")
            .arg(&self.object)
            .args(["-MMD", "-MF"])
            .arg(&dependencies);
        let text = format!("{:?}\n{}", self.command, self.version);
        if up_to_date(&self.object, &note, &text, &dependencies) {
            return Ok(None);
        }

        let describe = |path: &Path, error| format!("{}: {error}", path.display());
        let folder = self.object.parent().ok_or("an object without a folder")?;
        std::fs::create_dir_all(folder).map_err(|error| describe(folder, error))?;
        // An interrupted compiler leaves half an object: without its note it is not used.
        if note.exists() {
            std::fs::remove_file(&note).map_err(|error| describe(&note, error))?;
        }
        // A file that is edited while the compiler runs has changed since.
        let start = SystemTime::now();
        let warnings = run_quietly(&mut self.command)?;
        std::fs::write(&note, text).map_err(|error| describe(&note, error))?;
        std::fs::File::options()
            .write(true)
            .open(&note)
            .and_then(|file| file.set_modified(start))
            .map_err(|error| describe(&note, error))?;
        Ok(Some(warnings))
    }
}

/// The object of a source file below `root`, at the same place below `folder`.
pub(crate) fn object_of(source: &Path, root: &Path, folder: &Path) -> PathBuf {
    folder.join(with_suffix(
        source.strip_prefix(root).unwrap_or(source),
        ".o",
    ))
}

/// The files that an object was made from, its source among them.
#[allow(dead_code)] // For the planted bugs.
pub(crate) fn made_from(object: &Path) -> Result<Vec<PathBuf>, String> {
    let list = with_suffix(object, ".d");
    let rule =
        std::fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    Ok(prerequisites(&rule)
        .into_iter()
        .map(PathBuf::from)
        .collect())
}

/// What `<compiler> --version` prints.
pub(crate) fn version_of(compiler: &Path) -> Result<String, String> {
    let output = Command::new(compiler)
        .arg("--version")
        .output()
        .map_err(|error| format!("{} --version: {error}", compiler.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end; what it wrote to standard error, as the error when it failed.
pub(crate) fn run_quietly(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{command:?} failed:\n{text}"))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Whether the note tells the same command and no dependency is younger than it.
fn up_to_date(object: &Path, note: &Path, command: &str, dependencies: &Path) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified());
    let (Ok(started), Ok(list)) = (modified(note), std::fs::read_to_string(dependencies)) else {
        return false;
    };
    object.is_file()
        && std::fs::read_to_string(note).is_ok_and(|made_by| made_by == command)
        && prerequisites(&list)
            .iter()
            .all(|file| modified(Path::new(file)).is_ok_and(|time| time < started))
}

/// The files that a rule of make names after its colon: `\` escapes a space and `#`, `$$` is `$`, and a rule
/// goes on after `\` at the end of a line.
fn prerequisites(rule: &str) -> Vec<String> {
    let rule = rule.replace("\\\r\n", " ").replace("\\\n", " ");
    let list = rule.split_once(": ").map_or("", |(_, list)| list);
    let mut files = vec![String::new()];
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied();
        let file = files.last_mut().expect("never empty");
        match (character, next) {
            ('\\', Some(escaped @ (' ' | '#'))) | ('$', Some(escaped @ '$')) => {
                file.push(escaped);
                characters.next();
            }
            (' ' | '\n' | '\r' | '\t', _) => files.push(String::new()),
            _ => file.push(character),
        }
    }
    files.retain(|file| !file.is_empty());
    files
}

#[cfg(test)]
mod tests {
    use super::prerequisites;

    #[test]
    fn rules_of_make_are_read() {
        let rule = "out/a\\ b.o: /x/a\\ b.cpp \\\n  /x/c$$d.h /x/e\\#f.h\\\n /x/g:h.h\n";
        assert_eq!(
            prerequisites(rule),
            ["/x/a b.cpp", "/x/c$d.h", "/x/e#f.h", "/x/g:h.h"]
        );
        assert!(prerequisites("").is_empty());
    }
}
