//! Builds the sample kernels with planted bugs, under every kind of check, and prints which of them finds
//! each:
//!
//! ```sh
//! cargo run --release -p windowkv-kernels --example planted_bugs              # all, a few minutes
//! cargo run --release -p windowkv-kernels --example planted_bugs -- unchanged # the kernels as they are
//! cargo run --release -p windowkv-kernels --example planted_bugs -- wgmma_product/no-proxy-fence
//! ```
//!
//! It fails when a bug is found by nothing, or when an unchanged kernel is reported. The compiler is CXX, or
//! c++; it needs gcc's sanitizers.

mod bugs;
mod cases;
#[path = "../../build/emulated.rs"]
mod emulated;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bugs::{BUGS, Bug};
use cases::Verdict;
use emulated::{Checks, Sources};

/// The columns of the table.
const MEANS: [(Checks, &str); 5] = [
    (Checks::Plain, "wrong result"),
    (Checks::Builtin, "emulator"),
    (Checks::Tsan, "TSan"),
    (Checks::Asan, "ASan"),
    (Checks::Ubsan, "UBSan"),
];
const SAMPLES: [&str; 3] = ["reduction", "mma_product", "wgmma_product"];

/// In the place of the probes, which these libraries leave out.
const NO_PROBES: &str = "#include \"machines/machines.h\"\n\
    int wkv_emulated_probe(const wkv_probe_params*) { return WKV_UNSUPPORTED; }\n";

/// Exit codes of a child.
const WRONG: i32 = 10;
const REPORT: i32 = 11;

/// The emulator itself is not instrumented, and what it does inside memcpy and malloc is not the kernel's.
const TSAN_OPTIONS: &str = "halt_on_error=1 exitcode=66 ignore_interceptors_accesses=1";

/// A child that runs longer than this hangs.
const LIMIT: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, library, sample, seeds] = arguments.as_slice()
        && command == "child"
    {
        return child(library, sample, seeds.parse().expect("a number"));
    }
    let wanted: Vec<&Bug> = BUGS
        .iter()
        .filter(|bug| {
            let name = format!("{}/{}", bug.sample, bug.name);
            arguments
                .iter()
                .all(|a| a != "unchanged" && name.contains(a.as_str()))
        })
        .collect();
    match Tool::new().and_then(|tool| tool.run(&wanted)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn child(library: &str, sample: &str, seeds: u64) -> ExitCode {
    let device = cases::open(library);
    let code = match cases::run(&device, sample, seeds) {
        Verdict::Right => 0,
        Verdict::Wrong(text) => {
            eprintln!("{text}");
            WRONG
        }
        Verdict::Report(text) => {
            eprintln!("{text}");
            REPORT
        }
    };
    // Without the destructors of a library whose kernel may have been abandoned in mid-air.
    // SAFETY: the process ends here.
    unsafe { libc::_exit(code) }
}

/// What one means said about one build.
#[derive(Clone, Debug)]
struct Finding {
    found: bool,
    text: String,
}

/// By means: each source and its object.
type Objects = BTreeMap<&'static str, Vec<(PathBuf, PathBuf)>>;

struct Tool {
    root: PathBuf,
    out: PathBuf,
    compiler: String,
}

impl Tool {
    fn new() -> Result<Tool, String> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().ok_or("no workspace")?.join("cuda");
        let exe = std::env::current_exe().map_err(|e| e.to_string())?;
        // target/<profile>/examples/planted_bugs
        let target = exe.ancestors().nth(3).ok_or("no target folder")?;
        Ok(Tool {
            root,
            out: target.join("planted-bugs"),
            compiler: std::env::var("CXX").unwrap_or_else(|_| "c++".into()),
        })
    }

    fn run(&self, wanted: &[&Bug]) -> Result<bool, String> {
        let started = Instant::now();
        let objects = self.build_unchanged()?;

        // Unchanged kernels, then every bug, each under every means.
        let mut tasks: Vec<(Option<&Bug>, &str, Checks)> = Vec::new();
        for sample in SAMPLES {
            tasks.extend(MEANS.map(|(checks, _)| (None, sample, checks)));
        }
        for &bug in wanted {
            tasks.extend(MEANS.map(|(checks, _)| (Some(bug), bug.sample, checks)));
        }
        let findings = parallel(&tasks, |&(bug, sample, checks)| {
            let library = self.link(bug, checks, &objects[&key(checks)])?;
            self.examine(&library, sample, checks, bug.is_none())
        })?;

        let mut good = true;
        println!(
            "| kernel | planted bug | {} |",
            MEANS.map(|m| m.1).join(" | ")
        );
        println!("|---|---|{}|", ["---"; MEANS.len()].join("|"));
        for (row, results) in tasks.chunks(MEANS.len()).zip(findings.chunks(MEANS.len())) {
            let (bug, sample, _) = row[0];
            let marks: Vec<&str> = results
                .iter()
                .map(|f| if f.found { "found" } else { "" })
                .collect();
            let what = bug.map_or("unchanged".to_owned(), |b| {
                format!("{}: {}", b.name, b.what)
            });
            println!("| {sample} | {what} | {} |", marks.join(" | "));
            let found = results.iter().any(|finding| finding.found);
            if found != bug.is_some() {
                good = false;
            }
            for (finding, (_, name)) in results.iter().zip(MEANS) {
                if finding.found {
                    eprintln!("{sample} {what}\n    {name}: {}", finding.text);
                }
            }
        }
        eprintln!(
            "{} bugs, {} builds, {:.0} s",
            wanted.len(),
            tasks.len(),
            started.elapsed().as_secs_f64()
        );
        if !good {
            eprintln!("error: a bug that nothing finds, or a report about an unchanged kernel");
        }
        Ok(good)
    }

    /// The objects of the emulator and of all kernels, by means and source.
    fn build_unchanged(&self) -> Result<Objects, String> {
        let no_probes = self.out.join("source/no_probes.cpp");
        std::fs::create_dir_all(self.out.join("source")).map_err(|e| e.to_string())?;
        std::fs::write(&no_probes, NO_PROBES).map_err(|e| e.to_string())?;
        let mut tasks = Vec::new();
        for (checks, _) in MEANS {
            tasks.push((checks, no_probes.clone(), &[][..]));
            let sources = Sources::find(&self.root, std::env::consts::ARCH, checks);
            for source in sources.runtime {
                tasks.push((checks, source, checks.runtime_flags()));
            }
            for source in sources.kernels {
                // The probes have a test of their own, and take longest to compile.
                if !source.iter().any(|part| part == "test") {
                    tasks.push((checks, source, checks.kernel_flags()));
                }
            }
            tasks.push((checks, sources.assembly, &[]));
        }
        let built = parallel(&tasks, |(checks, source, flags)| {
            let relative = source
                .strip_prefix(&self.root)
                .unwrap_or(Path::new("no_probes.cpp"));
            let name = relative.to_string_lossy().replace('/', "_");
            let object = self.out.join(key(*checks)).join(format!("{name}.o"));
            self.compile(*checks, source, flags, None, &object)?;
            Ok(object)
        })?;
        let mut objects: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((checks, source, _), object) in tasks.into_iter().zip(built) {
            objects
                .entry(key(checks))
                .or_default()
                .push((source, object));
        }
        Ok(objects)
    }

    fn compile(
        &self,
        checks: Checks,
        source: &Path,
        flags: &[&str],
        overlay: Option<&Path>,
        object: &Path,
    ) -> Result<(), String> {
        std::fs::create_dir_all(object.parent().ok_or("no folder")?).map_err(|e| e.to_string())?;
        let mut command = Command::new(&self.compiler);
        if source.extension().is_some_and(|end| end == "cpp") {
            command.args(["-std=c++20", "-O1", "-g1", "-w"]).args(flags);
        }
        command.args(emulated::COMMON_FLAGS).args(["-fPIC", "-c"]);
        if let Some(overlay) = overlay {
            command.arg("-I").arg(overlay);
        }
        for include in emulated::includes(&self.root, checks) {
            command.arg("-I").arg(include);
        }
        run_quietly(command.arg(source).arg("-o").arg(object))
    }

    /// The library of one bug (or none) under one means.
    fn link(
        &self,
        bug: Option<&Bug>,
        checks: Checks,
        unchanged: &[(PathBuf, PathBuf)],
    ) -> Result<PathBuf, String> {
        let name = bug.map_or("unchanged".into(), |bug| {
            format!("{}-{}", bug.sample, bug.name)
        });
        let folder = self.out.join(key(checks));
        let library = folder.join(format!("{name}.so"));
        let mut objects: Vec<PathBuf> = Vec::new();
        for (source, object) in unchanged {
            let theirs = bug.is_some_and(|bug| {
                source.ends_with(Path::new("samples").join(bug.sample).join("emulate.cpp"))
            });
            if let (Some(bug), true) = (bug, theirs) {
                let overlay = self.plant(bug, checks)?;
                let object = folder.join(format!("{name}.o"));
                self.compile(
                    checks,
                    source,
                    checks.kernel_flags(),
                    Some(&overlay),
                    &object,
                )?;
                objects.push(object);
            } else {
                objects.push(object.clone());
            }
        }
        let mut command = Command::new(&self.compiler);
        command.args(["-shared", "-Wl,-Bsymbolic"]);
        if checks != Checks::Builtin {
            command.args(checks.kernel_flags());
        }
        command
            .args(objects)
            .args(["-lpthread", "-ldl", "-o"])
            .arg(&library);
        run_quietly(&mut command)?;
        Ok(library)
    }

    /// Writes the changed files into a folder that is included before `cuda`.
    fn plant(&self, bug: &Bug, checks: Checks) -> Result<PathBuf, String> {
        let overlay = self
            .out
            .join("source")
            .join(key(checks))
            .join(bug.sample)
            .join(bug.name);
        let folder = overlay.join("samples").join(bug.sample);
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let mut files: BTreeMap<&str, String> = BTreeMap::new();
        for &(file, old, new) in bug.edits {
            let path = self.root.join("samples").join(bug.sample).join(file);
            let text = match files.remove(file) {
                Some(text) => text,
                None => std::fs::read_to_string(&path)
                    .map_err(|e| format!("{}: {e}", path.display()))?,
            };
            if text.matches(old).count() != 1 {
                return Err(format!(
                    "{}/{}: {old:?} does not occur exactly once in {}",
                    bug.sample,
                    bug.name,
                    path.display()
                ));
            }
            files.insert(file, text.replace(old, new));
        }
        for (file, text) in files {
            std::fs::write(folder.join(file), text).map_err(|e| e.to_string())?;
        }
        Ok(overlay)
    }

    fn examine(
        &self,
        library: &Path,
        sample: &str,
        checks: Checks,
        unchanged: bool,
    ) -> Result<Finding, String> {
        let exe = std::env::current_exe().map_err(|e| e.to_string())?;
        let seeds = match checks {
            Checks::Tsan | Checks::Asan => "3",
            _ => "12",
        };
        let mut command = Command::new(exe);
        command
            .args(["child"])
            .arg(library)
            .args([sample, seeds])
            .env("TSAN_OPTIONS", TSAN_OPTIONS)
            .env(
                "ASAN_OPTIONS",
                "detect_leaks=0 detect_stack_use_after_return=0 exitcode=67",
            )
            .env("UBSAN_OPTIONS", "print_stacktrace=0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // The run-time library of these two has to be there before anything else.
        let preload = match checks {
            Checks::Tsan => Some("libtsan.so"),
            Checks::Asan => Some("libasan.so"),
            _ => None,
        };
        if let Some(name) = preload {
            command.env("LD_PRELOAD", self.sanitizer(name)?);
        }
        let (code, text) = run_limited(&mut command)?;
        let mark = match checks {
            Checks::Tsan => "ThreadSanitizer",
            Checks::Asan => "AddressSanitizer",
            Checks::Ubsan => "runtime error",
            Checks::Plain | Checks::Builtin => "",
        };
        let found = match checks {
            Checks::Plain => code == Some(WRONG),
            Checks::Builtin => code == Some(REPORT),
            _ => text.contains(mark),
        };
        if unchanged && code != Some(0) {
            let text = text.lines().take(12).collect::<Vec<_>>().join("\n    ");
            return Ok(Finding { found: true, text });
        }
        let line = text
            .lines()
            .find(|line| line.contains(mark) && !line.trim().is_empty())
            .unwrap_or("")
            .to_owned();
        Ok(Finding { found, text: line })
    }

    fn sanitizer(&self, name: &str) -> Result<String, String> {
        let output = Command::new(&self.compiler)
            .arg(format!("-print-file-name={name}"))
            .output()
            .map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

fn key(checks: Checks) -> &'static str {
    match checks {
        Checks::Ubsan => "ubsan",
        other => other.folder(),
    }
}

fn run_quietly(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// The exit code (none when a signal ended it) and what the child said. A child over the limit is an error.
fn run_limited(command: &mut Command) -> Result<(Option<i32>, String), String> {
    let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
    let mut stderr = child.stderr.take().ok_or("no pipe")?;
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut stderr, &mut text).map(|_| text)
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill().map_err(|e| e.to_string())?;
            return Err(format!("{command:?} hangs"));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = reader
        .join()
        .map_err(|_| "reader")?
        .map_err(|e| e.to_string())?;
    Ok((status.code(), String::from_utf8_lossy(&text).into_owned()))
}

/// Does all tasks on at most two threads; the first error ends it.
fn parallel<T: Sync, R: Send>(
    tasks: &[T],
    work: impl Fn(&T) -> Result<R, String> + Sync,
) -> Result<Vec<R>, String> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<R, String>>>> =
        Mutex::new(tasks.iter().map(|_| None).collect());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(i) else { break };
                    let result = work(task);
                    if result.is_err() {
                        next.store(tasks.len(), Ordering::Relaxed);
                    }
                    if let Ok(mut results) = results.lock() {
                        results[i] = Some(result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().map_err(|_| "a worker panicked")?;
    let mut done = Vec::new();
    for result in results {
        match result {
            Some(Ok(value)) => done.push(value),
            Some(Err(message)) => return Err(message),
            None => {}
        }
    }
    if done.len() == tasks.len() {
        Ok(done)
    } else {
        Err("a task failed".into())
    }
}
