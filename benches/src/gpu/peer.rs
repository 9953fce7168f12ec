//! The same jobs in PyTorch: a Python process that prepares a job and times it when it is asked, so that ours and the
//! peers can take turns on one GPU while neither waits for the other.
//!
//! One JSON object a line in both directions; see `benches/peers/gpu_pytorch.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use super::floor::{KEPT, LAYERS, SUFFIX_LEN, WINDOW_LEN, kept};
use super::shape::Job;

/// The process. It is ended when this is dropped.
pub struct Peers {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What Python says of itself: versions and the GPU.
    pub about: Value,
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

impl Peers {
    /// Starts `script` with `python`.
    ///
    /// # Errors
    /// Why there are no peers: no Python, no PyTorch, no GPU for it.
    pub fn start(python: &str, script: &Path) -> Result<Self, String> {
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{python}: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{python}: no pipes"));
        };
        let mut peers = Self {
            child,
            input,
            output: BufReader::new(output),
            about: Value::Null,
        };
        peers.about = peers.answer()?;
        Ok(peers)
    }

    /// One line of the process; an object with `error` is one.
    fn answer(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => return Err("the peers' process ended".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("the peers' process: {error}")),
        }
        let answer: Value =
            serde_json::from_str(&line).map_err(|error| format!("{error} in {line:?}"))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }

    fn ask(&mut self, question: &Value) -> Result<Value, String> {
        writeln!(self.input, "{question}")
            .and_then(|()| self.input.flush())
            .map_err(|error| format!("the peers' process: {error}"))?;
        self.answer()
    }

    /// Prepares a job in every form that there is.
    ///
    /// # Errors
    /// A process that has ended or says something else.
    pub fn prepare(&mut self, job: &Job) -> Result<OfJob, String> {
        let model = &job.model;
        let (kept_tokens, kept_windows) = kept(job.seqlen);
        let answer = self.ask(&json!({"prepare": {
            "kernel": job.kernel.name(), "batch": job.batch, "seqlen": job.seqlen,
            "num_heads_q": model.num_heads_q, "num_heads_kv": model.num_heads_kv, "head_dim": model.head_dim,
            "hidden": model.hidden, "intermediate": model.intermediate, "vocab": model.vocab,
            "suffix_len": SUFFIX_LEN, "window_len": WINDOW_LEN, "layers": LAYERS, "capacity": KEPT,
            "kept_tokens": kept_tokens, "kept_windows": kept_windows,
        }}))?;
        serde_json::from_value(answer).map_err(|error| error.to_string())
    }

    /// Seconds of one launch of a peer of the prepared job.
    ///
    /// # Errors
    /// What went wrong in the process.
    pub fn time(&mut self, name: &str) -> Result<f64, String> {
        let answer = self.ask(&json!({"time": name}))?;
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
        let answer = self.ask(&json!({"product": 8192}))?;
        let rate = answer["operations_per_second"].as_f64();
        rate.ok_or_else(|| format!("{answer} has no rate"))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // A peer that hangs must not keep the program from its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
