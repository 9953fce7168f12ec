//! The same jobs in PyTorch: a Python process that prepares a job and times it when it is asked, so that ours and the
//! peers can take turns on one GPU while neither waits for the other.
//!
//! One JSON object a line in both directions; each question has a number, which its answer repeats. A process that
//! answers anything else, or nothing in time, is ended, and another one started for the next job. See
//! `benches/peers/gpu_pytorch.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::floor::{KEPT, LAYERS, SUFFIX_LEN, WINDOW_LEN, kept};
use super::shape::{Job, Kernel};

/// Until Python has imported PyTorch.
const START: Duration = Duration::from_secs(90);
/// Until a job's tensors, graphs and, for one job, compiled code are there.
const PREPARE: Duration = Duration::from_secs(60);
/// Until a round is over.
const TIME: Duration = Duration::from_secs(20);
/// The shortest wait, however little time is left.
const LEAST: Duration = Duration::from_secs(2);
/// Processes that are started, the first one among them.
const STARTS: usize = 4;
/// The prompt at which score is timed against compiled code too: to compile takes long.
const COMPILED_SEQLEN: usize = 16384;

/// The peers, and the process that they run in. It is ended when this is dropped.
pub struct Peers {
    python: String,
    script: PathBuf,
    /// No answer is waited for beyond this.
    until: Instant,
    starts_left: usize,
    process: Option<Process>,
    /// What Python says of itself: versions and the GPU.
    pub about: Value,
}

struct Process {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    asked: u64,
}

/// The peers of one job.
#[derive(Debug, Default, Deserialize)]
pub struct OfJob {
    /// Names of those that can run it.
    pub peers: Vec<String>,
    /// Those that cannot, and why.
    #[serde(default)]
    pub skipped: Vec<(String, String)>,
}

/// How an answer went wrong.
enum Trouble {
    /// The process says that it cannot, and goes on.
    Told(String),
    /// The process is of no use any more.
    Broken(String),
}

impl Peers {
    /// Starts `script` with `python`; no answer is waited for beyond `until`.
    ///
    /// # Errors
    /// Why there are no peers: no Python, no PyTorch, no GPU for it, no answer.
    pub fn start(python: &str, script: &Path, until: Instant) -> Result<Self, String> {
        let mut peers = Self {
            python: python.to_owned(),
            script: script.to_owned(),
            until,
            starts_left: STARTS,
            process: None,
            about: Value::Null,
        };
        peers.revive()?;
        Ok(peers)
    }

    /// Starts a process where there is none.
    fn revive(&mut self) -> Result<(), String> {
        if self.process.is_some() {
            return Ok(());
        }
        if self.starts_left == 0 {
            return Err(format!("the peers' process was lost {STARTS} times"));
        }
        self.starts_left -= 1;
        let mut process = Process::start(&self.python, &self.script)?;
        let about = process.answer(self.wait(START));
        self.about = about.map_err(|trouble| match trouble {
            Trouble::Told(why) | Trouble::Broken(why) => why,
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn wait(&self, limit: Duration) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        limit.min(left.max(LEAST))
    }

    fn ask(&mut self, question: Value, limit: Duration) -> Result<Value, String> {
        let wait = self.wait(limit);
        let process = self.process.as_mut();
        let process = process.ok_or("the peers' process was lost")?;
        match process.ask(question, wait) {
            Ok(answer) => Ok(answer),
            Err(Trouble::Told(why)) => Err(why),
            Err(Trouble::Broken(why)) => {
                self.process = None;
                Err(why)
            }
        }
    }

    /// Prepares a job in every form that there is, each over `copies` copies of its tensors, in graphs of at most
    /// `launches` launches that take `seconds`. Starts the process again where it was lost.
    ///
    /// # Errors
    /// A process that has ended or says something else.
    pub fn prepare(
        &mut self,
        job: &Job,
        copies: usize,
        (seconds, launches): (f64, usize),
    ) -> Result<OfJob, String> {
        self.revive()?;
        let model = &job.model;
        let (kept_tokens, kept_windows) = kept(job.seqlen);
        let question = json!({"prepare": {
            "kernel": job.kernel.name(), "batch": job.batch, "seqlen": job.seqlen,
            "num_heads_q": model.num_heads_q, "num_heads_kv": model.num_heads_kv, "head_dim": model.head_dim,
            "hidden": model.hidden, "intermediate": model.intermediate, "vocab": model.vocab,
            "suffix_len": SUFFIX_LEN, "window_len": WINDOW_LEN, "layers": LAYERS, "capacity": KEPT,
            "kept_tokens": kept_tokens, "kept_windows": kept_windows,
            "copies": copies, "seconds": seconds, "launches": launches,
            "compile": job.kernel == Kernel::Score && job.seqlen == COMPILED_SEQLEN,
        }});
        let answer = self.ask(question, PREPARE)?;
        serde_json::from_value(answer).map_err(|error| error.to_string())
    }

    /// Seconds of one launch of a peer of the prepared job.
    ///
    /// # Errors
    /// What went wrong in the process.
    pub fn time(&mut self, name: &str) -> Result<f64, String> {
        let answer = self.ask(json!({"time": name}), TIME)?;
        answer["seconds"]
            .as_f64()
            .filter(|seconds| *seconds > 0.0)
            .ok_or_else(|| format!("{name}: {answer} has no seconds"))
    }

    /// Operations a second of a bf16 product of 8,192 x 8,192 x 8,192.
    ///
    /// # Errors
    /// What went wrong in the process.
    pub fn product_rate(&mut self) -> Result<f64, String> {
        self.revive()?;
        let answer = self.ask(json!({"product": 8192}), PREPARE)?;
        let rate = answer["operations_per_second"].as_f64();
        rate.ok_or_else(|| format!("{answer} has no rate"))
    }
}

impl Process {
    fn start(python: &str, script: &Path) -> Result<Self, String> {
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{python}: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{python}: no pipes"));
        };
        let (sender, answers) = channel();
        // It ends with the process' output, or when nobody listens any more.
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Ok(Self {
            child,
            input,
            answers,
            asked: 0,
        })
    }

    fn ask(&mut self, mut question: Value, limit: Duration) -> Result<Value, Trouble> {
        self.asked += 1;
        question["id"] = self.asked.into();
        writeln!(self.input, "{question}")
            .and_then(|()| self.input.flush())
            .map_err(|error| Trouble::Broken(format!("the peers' process: {error}")))?;
        self.answer(limit)
    }

    /// The answer to the last question; the first one comes without any, with number 0.
    fn answer(&mut self, limit: Duration) -> Result<Value, Trouble> {
        let line = self.answers.recv_timeout(limit).map_err(|why| {
            Trouble::Broken(match why {
                RecvTimeoutError::Timeout => {
                    format!(
                        "no answer of the peers' process within {:.0} s",
                        limit.as_secs_f64()
                    )
                }
                RecvTimeoutError::Disconnected => "the peers' process ended".to_owned(),
            })
        })?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| Trouble::Broken(format!("{error} in {line:?}")))?;
        if answer["id"].as_u64() != Some(self.asked) {
            return Err(Trouble::Broken(format!(
                "{line:?} does not answer question {}",
                self.asked
            )));
        }
        match answer["error"].as_str() {
            Some(error) => Err(Trouble::Told(error.to_owned())),
            None => Ok(answer),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A peer that hangs must not keep the program from its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
