//! `gpu-bench` from begin to finish on the emulated GPU, and what it does when a step goes wrong.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use windowkv_benches::record::{Needed, REQUIRED_STEPS, Record, Status};

struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn begin() -> Self {
        let run = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let build = run.folder.path().join("BUILD");
        std::fs::write(&build, "commit: abc123\nnvcc: 13.0\n").expect("a file");
        let build = build.to_str().expect("UTF-8");
        run.passes(&["begin", "--emulated", "--build", build, "--python", "/none"]);
        run
    }

    fn record_path(&self) -> PathBuf {
        self.folder.path().join("record.json")
    }

    fn record(&self) -> Record {
        Record::read(&self.record_path()).expect("it holds together")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-bench"));
        let record = self.record_path();
        command.arg(arguments[0]).arg("-r").arg(record);
        command.args(&arguments[1..]);
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    fn code(&self, arguments: &[&str]) -> Option<i32> {
        self.output(arguments).status.code()
    }

    fn passes(&self, arguments: &[&str]) {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn shell(&self, name: &str, options: &[&str], script: &str) -> Option<i32> {
        let mut arguments = vec!["step", name];
        arguments.extend(options);
        arguments.extend(["--", "sh", "-c", script]);
        self.code(&arguments)
    }

    fn status(&self, name: &str) -> Status {
        let steps = self.record().steps;
        let step = steps.iter().find(|step| step.name == name);
        step.expect("it is noted").status
    }

    fn all_but_kernels(&self) {
        for name in REQUIRED_STEPS
            .iter()
            .filter(|name| **name != "kernels-main")
        {
            self.passes(&["step", name, "--needed", "to-pass", "--", "true"]);
        }
    }

    /// The kernels as `run` times them: as a step.
    fn kernels(&self) -> Option<i32> {
        let record = self.record_path();
        let program = env!("CARGO_BIN_EXE_gpu-bench");
        let script = format!(
            "{program} kernels -r {} --emulated --set tiny --rounds 2 --python /none",
            record.display()
        );
        self.shell("kernels-main", &["--needed", "to-pass"], &script)
    }
}

#[test]
fn a_whole_run_is_valid_and_every_kernel_is_in_it() {
    let run = Run::begin();
    let begun = run.record();
    assert!(!begun.valid && begun.commit == "abc123");
    assert_eq!(begun.versions["build"]["nvcc"], "13.0");
    run.all_but_kernels();
    assert_eq!(run.kernels(), Some(0));
    assert!(!run.record().valid, "nobody has finished it");
    run.passes(&["finish", "--python", "/none"]);
    let record = run.record();
    assert!(record.valid && record.synthetic);
    assert_eq!(record.lines.len(), 12);
    assert_eq!(record.ceilings.len(), 2);
    assert!(record.lines.iter().all(|line| line.part_of_floor.is_some()));
    // Why there are no peers stands there once.
    let peers = record.skipped.iter().filter(|s| s.what == "all peers");
    assert_eq!(peers.count(), 1);
    let shown = std::fs::read_to_string(run.record_path().with_extension("md"));
    assert!(shown.expect("a table").contains("| prefill | tiny |"));
}

#[test]
fn a_run_that_lacks_a_check_is_not_valid() {
    let run = Run::begin();
    run.all_but_kernels();
    let output = run.output(&["finish", "--python", "/none"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("there is no step kernels-main"), "{error}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("NOT VALID"));
    assert!(!run.record().valid);
}

#[test]
fn a_step_that_does_not_pass_is_noted_as_what_it_is() {
    let run = Run::begin();
    assert_eq!(
        run.shell("fails", &["--needed", "to-pass"], "exit 7"),
        Some(1)
    );
    assert_eq!(run.status("fails"), Status::Failed);
    // The kernels' program dying is a step that failed.
    assert_eq!(
        run.shell("kernels-main", &["--needed", "to-pass"], "kill -SEGV $$"),
        Some(1)
    );
    assert_eq!(run.status("kernels-main"), Status::Failed);
    assert_eq!(
        run.shell("late", &["--needed", "to-pass", "--limit", "1"], "sleep 60"),
        Some(1)
    );
    assert_eq!(run.status("late"), Status::TimedOut);
    assert_eq!(run.shell("bench", &[], "exit 7"), Some(0));
    assert_eq!(run.status("bench"), Status::Failed);
    // A second step of the name would hide the first.
    assert_eq!(
        run.shell("fails", &["--needed", "to-pass"], "true"),
        Some(1)
    );
    // No time, or not wanted.
    assert_eq!(run.shell("no-time", &["--limit", "0"], "exit 7"), Some(0));
    assert_eq!(
        run.shell(
            "no-time-required",
            &["--needed", "to-pass", "--limit", "0"],
            "true"
        ),
        Some(1)
    );
    assert_eq!(
        run.code(&["step", "left-out", "--skip", "run quick leaves it out"]),
        Some(0)
    );
    assert_eq!(
        run.code(&["step", "missing", "--", "/no/such/program"]),
        Some(0)
    );
    let steps = run.record().steps;
    let said = |name: &str| {
        let step = steps.iter().find(|step| step.name == name);
        let step = step.expect("it is noted");
        assert_eq!(step.status, Status::Skipped, "{name}");
        step.said.clone()
    };
    assert_eq!(said("no-time"), "the time was up");
    assert_eq!(said("left-out"), "run quick leaves it out");
    assert!(said("missing").contains("/no/such/program"));
}

/// A tool that cannot work here is no failure of the kernels; its report is one.
#[test]
fn only_a_report_of_a_sanitizer_is_a_failure() {
    let run = Run::begin();
    let report = ["--needed", "not-to-fail", "--report", "86"];
    assert_eq!(
        run.shell("unable", &report, "echo Device not supported; exit 1"),
        Some(0)
    );
    assert_eq!(
        run.shell(
            "slow",
            &["--needed", "not-to-fail", "--report", "86", "--limit", "1"],
            "sleep 60"
        ),
        Some(0)
    );
    assert_eq!(
        run.record().shortcoming(),
        Some("there is no step kernels-tests".to_owned())
    );
    assert_eq!(run.shell("reports", &report, "exit 86"), Some(1));
    let steps = run.record().steps;
    assert!(steps.iter().all(|step| step.needed == Needed::NotToFail));
    assert!(steps[0].said.contains("Device not supported"));
    // After a probe that did not pass nothing is run.
    let after = ["--after", "unable"];
    assert_eq!(run.shell("not-run", &after, "exit 1"), Some(0));
    assert_eq!(run.status("not-run"), Status::Skipped);
    let statuses: Vec<Status> = steps.iter().map(|step| step.status).collect();
    assert_eq!(
        statuses,
        [Status::Skipped, Status::TimedOut, Status::Failed]
    );
}

/// Waits for a file of a process id, and reads it.
fn pid(path: &Path) -> String {
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.ends_with('\n') {
            return text.trim().to_owned();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "no {path:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_gone(pid: &str) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie is dead; who reaps it is not known here.
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// What a step started ends with it: told to end, or when whoever started it is killed.
#[test]
fn a_signal_ends_all_that_a_step_started() {
    let run = Run::begin();
    let file = run.folder.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; wait", file.display());
    let signal = |signal: &str, pid: u32| {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {pid}")])
            .status();
        assert!(sent.expect("a shell").success());
    };
    for name in ["TERM", "INT"] {
        let mut step = run.command(&[
            "step", name, "--needed", "to-pass", "--", "sh", "-c", &script,
        ]);
        let mut step = step.stderr(Stdio::null()).spawn().expect("it runs");
        let sleeper = pid(&file);
        signal(name, step.id());
        assert_eq!(step.wait().expect("it ends").code(), Some(130));
        assert!(is_gone(&sleeper), "{name}");
        assert_eq!(run.status(name), Status::Failed);
        std::fs::remove_file(&file).expect("it was there");
    }
    // The shell between is killed, and cannot tell anybody.
    let inner = run.command(&["step", "orphan", "--", "sh", "-c", &script]);
    let quoted: Vec<String> = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut shell = Command::new("sh")
        .args(["-c", &format!("{} & wait", quoted.join(" "))])
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let sleeper = pid(&file);
    signal("KILL", shell.id());
    shell.wait().expect("it ends");
    assert!(is_gone(&sleeper));
}
