//! The conversation with the peers' process, with scripts in the place of PyTorch.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use windowkv_benches::gpu::peer::Peers;
use windowkv_benches::gpu::shape::{Job, JobSet};

/// Answers as `gpu_pytorch.py` does; `{}` goes into the loop, where `q` is the question and `say` answers it.
const SCRIPT: &str = r#"
import json, os, sys, time
def say(number, **answer):
    print(json.dumps({"id": number, **answer}), flush=True)
say(0, torch="none")
for line in sys.stdin:
    q = json.loads(line)
    n = q["id"]
{}
    if "prepare" in q:
        say(n, peers=["a", "b"], skipped=[["c", "why"]])
    else:
        say(n, seconds={"a": 1.0, "b": 2.0}.get(q.get("time"), 0))
"#;

fn job() -> Job {
    JobSet::Tiny.jobs()[0]
}

fn soon(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn start(folder: &Path, inserted: &str, seconds: u64) -> Result<Peers, String> {
    let script = folder.join("peers.py");
    std::fs::write(&script, SCRIPT.replace("{}", inserted)).expect("a file");
    Peers::start("python3", &script, soon(seconds))
}

#[test]
fn peers_are_prepared_and_timed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut peers = start(folder.path(), "", 60).expect("they start");
    assert_eq!(peers.about["torch"], "none");
    let of_job = peers.prepare(&job(), 3, (0.01, 10)).expect("an answer");
    assert_eq!(of_job.peers, ["a", "b"]);
    assert_eq!(of_job.skipped, [("c".to_owned(), "why".to_owned())]);
    assert_eq!((peers.time("a"), peers.time("b")), (Ok(1.0), Ok(2.0)));
    assert!(peers.time("c").is_err(), "a time of 0 is none");
}

/// A stray line must never shift the answers by one: b's time would be taken for a's.
#[test]
fn an_answer_to_another_question_is_none_and_the_next_job_has_peers_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let stray = r#"
    if q.get("time") == "a": say(n - 1, seconds=9.0)
"#;
    let mut peers = start(folder.path(), stray, 60).expect("they start");
    for _ in 0..2 {
        assert!(peers.prepare(&job(), 3, (0.01, 10)).is_ok());
        let error = peers.time("a").expect_err("that was no answer to it");
        assert!(error.contains("does not answer question"), "{error}");
        assert!(
            peers.time("b").is_err(),
            "the process is gone until the next job"
        );
    }
    let talk = "    if q.get('time') == 'a': print('hello', flush=True)\n";
    let mut peers = start(folder.path(), talk, 60).expect("they start");
    assert!(peers.prepare(&job(), 3, (0.01, 10)).is_ok());
    assert!(peers.time("a").is_err());
    assert!(peers.prepare(&job(), 3, (0.01, 10)).is_ok());
    assert_eq!(peers.time("b"), Ok(2.0));
}

#[test]
fn a_process_that_dies_is_started_again_but_not_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let dies = "    if 'time' in q: os._exit(1)\n";
    let mut peers = start(folder.path(), dies, 60).expect("they start");
    for _ in 0..4 {
        assert!(peers.prepare(&job(), 3, (0.01, 10)).is_ok());
        assert!(peers.time("a").is_err());
    }
    let error = peers
        .prepare(&job(), 3, (0.01, 10))
        .expect_err("it is enough");
    assert!(error.contains("lost 4 times"), "{error}");
}

/// With little time left nobody waits long: neither for an answer nor for an import that hangs.
#[test]
fn a_process_that_hangs_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let hangs = "    if 'time' in q: time.sleep(600)\n";
    let started = Instant::now();
    let mut peers = start(folder.path(), hangs, 3).expect("they start");
    assert!(peers.prepare(&job(), 3, (0.01, 10)).is_ok());
    let error = peers.time("a").expect_err("it hangs");
    assert!(error.contains("no answer"), "{error}");
    let script = folder.path().join("import.py");
    std::fs::write(&script, "import time; time.sleep(600)\n").expect("a file");
    let error = Peers::start("python3", &script, soon(1)).err();
    assert!(error.expect("it hangs").contains("no answer"));
    assert!(started.elapsed() < Duration::from_secs(30));
}

/// The script itself, with a `torch` that talks on standard output and then has no GPU, or breaks.
#[test]
fn the_script_says_why_there_is_no_pytorch_whatever_else_is_printed() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/gpu_pytorch.py");
    let folder = tempfile::tempdir().expect("a folder");
    let torch = folder.path().join("torch");
    std::fs::create_dir_all(torch.join("nn")).expect("a folder");
    for file in ["nn/functional.py", "nn/__init__.py"] {
        std::fs::write(torch.join(file), "").expect("a file");
    }
    let attention = "SDPBackend = sdpa_kernel = None\n";
    std::fs::write(torch.join("nn/attention.py"), attention).expect("a file");
    // A Python with this torch.
    let python: PathBuf = folder.path().join("python");
    let text = format!(
        "#!/bin/sh\nPYTHONPATH={} exec python3 \"$@\"\n",
        folder.path().display()
    );
    std::fs::write(&python, text).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&python, mode).expect("a file of ours");
    let told = |init: &str| {
        std::fs::write(torch.join("__init__.py"), init).expect("a file");
        let python = python.to_str().expect("UTF-8");
        Peers::start(python, &script, soon(60))
            .err()
            .expect("no GPU")
    };
    let talks = "import os\nprint('hello', flush=True)\nos.system('echo from C')\n";
    let no_gpu = "class cuda:\n    is_available = staticmethod(lambda: False)\n";
    let error = told(&format!("{talks}{no_gpu}"));
    assert!(error.contains("PyTorch sees no GPU"), "{error}");
    let error = told(&format!("{talks}raise OSError('libcudart is broken')\n"));
    assert!(error.contains("OSError: libcudart is broken"), "{error}");
}
