//! Making a record, step by step. Each step reads the record, adds to it and writes it again, so that what is done is on
//! the disk whatever comes next.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use serde_json::{Map, Value};
use windowkv_benches::gpu::clock::Clock;
use windowkv_benches::gpu::measure::measure;
use windowkv_benches::gpu::peer::Peers;
use windowkv_benches::record::{Ceilings, Raw, Record, SCHEMA, Skipped, Status, Step, table};
use windowkv_kernels::{Device, Error};

use super::Measured;

/// The exit code where there is no GPU.
const NO_GPU: u8 = 3;
/// What the machine says of itself.
const ABOUT: [&[&str]; 4] = [
    &["uname", "-a"],
    &["nvidia-smi"],
    &[
        "nvidia-smi",
        "--query-gpu=name,driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,clocks_throttle_reasons.active",
        "--format=csv",
    ],
    &["nvcc", "--version"],
];
/// Characters of a program's output that a record keeps.
const SAID: usize = 2000;

/// Where the record is.
#[derive(Debug, Args)]
struct Place {
    /// The record
    #[arg(short, long, value_name = "FILE", default_value = "out/record.json")]
    record: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Begin {
    #[command(flatten)]
    place: Place,
    /// Of what
    #[arg(long, default_value = "kernels")]
    topic: String,
    /// The sources that the programs were built from
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Python with PyTorch, for the rate of matrix products
    #[arg(long, default_value = "python3")]
    python: String,
    /// The peers' script
    #[arg(long, default_value = "benches/peers/gpu_pytorch.py")]
    peers: PathBuf,
    /// The emulated GPU: tries the program out
    #[arg(long)]
    emulated: bool,
}

#[derive(Debug, Args)]
pub(super) struct StepArgs {
    #[command(flatten)]
    place: Place,
    /// The step's name; its output goes to logs/NAME.txt beside the record
    name: String,
    /// The record is invalid unless it passes
    #[arg(long)]
    required: bool,
    /// Seconds after which it is stopped
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Kernels {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    measured: Measured,
    /// Seconds after which no further kernel is begun
    #[arg(long, default_value_t = 240)]
    limit: u64,
    /// Python with PyTorch
    #[arg(long, default_value = "python3")]
    python: String,
    /// The peers' script
    #[arg(long, default_value = "benches/peers/gpu_pytorch.py")]
    peers: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Finish {
    #[command(flatten)]
    place: Place,
    /// Python with PyTorch
    #[arg(long, default_value = "python3")]
    python: String,
    /// The peers' script
    #[arg(long, default_value = "benches/peers/gpu_pytorch.py")]
    peers: PathBuf,
}

fn clock(emulated: bool) -> Result<Clock, Error> {
    if emulated {
        Ok(Clock::Emulated(Device::emulated()))
    } else {
        Clock::cuda()
    }
}

fn kernel_error(error: Error) -> String {
    error.to_string()
}

/// What programs say of the machine.
fn about() -> Vec<Raw> {
    let run = |command: &&[&str]| {
        let output = Command::new(command[0]).args(&command[1..]).output();
        Raw {
            command: command.join(" "),
            output: match output {
                Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
                Err(error) => error.to_string(),
            },
        }
    };
    ABOUT.iter().map(run).collect()
}

/// The ceilings, and why a part of them is not there.
fn ceilings(
    clock: &Clock,
    peers: &mut Result<Peers, String>,
    when: &str,
    skipped: &mut Vec<Skipped>,
) -> Result<Option<Ceilings>, String> {
    let product = match peers {
        Ok(peers) => peers.product_rate(),
        Err(why) => Err(why.clone()),
    };
    if let Err(why) = &product {
        skipped.push(Skipped {
            what: format!("the rate of matrix products, at the {when}"),
            why: why.clone(),
        });
    }
    let copy = clock.copy_rate().map_err(kernel_error)?;
    Ok(copy.map(|copy_bytes_per_second| Ceilings {
        when: when.to_owned(),
        copy_bytes_per_second,
        product_operations_per_second: product.ok(),
    }))
}

impl Begin {
    pub(super) fn run(&self) -> Result<ExitCode, String> {
        let clock = match clock(self.emulated) {
            Ok(clock) => clock,
            Err(error) => {
                eprintln!("error: no GPU to measure: {error}");
                return Ok(ExitCode::from(NO_GPU));
            }
        };
        if let Some(folder) = self.place.record.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut peers = Peers::start(&self.python, &self.peers);
        let mut versions = Map::new();
        versions.insert("program".into(), env!("CARGO_PKG_VERSION").into());
        match &peers {
            Ok(peers) => versions.insert("python".into(), peers.about.clone()),
            Err(why) => versions.insert("python".into(), why.as_str().into()),
        };
        let device = match (&clock, &peers) {
            (Clock::Emulated(_), _) => "emulated".to_owned(),
            #[allow(
                unreachable_patterns,
                reason = "without CUDA there is the emulated clock alone"
            )]
            _ => gpu_name(),
        };
        let mut record = Record {
            schema: SCHEMA.to_owned(),
            topic: self.topic.clone(),
            synthetic: self.emulated,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            commit: self.commit.clone(),
            device,
            versions: Value::Object(versions),
            raw: about(),
            valid: true,
            steps: Vec::new(),
            ceilings: Vec::new(),
            lines: Vec::new(),
            skipped: Vec::new(),
            notes: Vec::new(),
        };
        let at_first = ceilings(&clock, &mut peers, "begin", &mut record.skipped)?;
        record.ceilings.extend(at_first);
        record.write(&self.place.record)?;
        eprintln!(
            "{}: begun on {}",
            self.place.record.display(),
            record.device
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// The GPU's name as nvidia-smi has it.
fn gpu_name() -> String {
    let output = Command::new("nvidia-smi")
        .args(["--query-gpu=name", "--format=csv,noheader"])
        .output();
    let name = output
        .ok()
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| "an unnamed NVIDIA GPU".to_owned())
}

impl StepArgs {
    pub(super) fn run(&self) -> Result<ExitCode, String> {
        let mut record = Record::read(&self.place.record)?;
        let logs = self.place.record.with_file_name("logs");
        std::fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
        let log = logs.join(format!("{}.txt", self.name));
        eprintln!("{}: {}", self.name, self.command.join(" "));
        let started = Instant::now();
        let status = run_limited(&self.command, &log, Duration::from_secs(self.limit));
        let (status, said) = match status {
            Ok(status) => (status, tail(&log)),
            Err(why) => (Status::Skipped, why),
        };
        let passed = status == Status::Passed;
        record.valid &= passed || !self.required;
        if status == Status::Skipped {
            record.skipped.push(Skipped {
                what: self.name.clone(),
                why: said.clone(),
            });
        }
        record.steps.push(Step {
            name: self.name.clone(),
            status,
            required: self.required,
            seconds: started.elapsed().as_secs_f64(),
            said,
        });
        record.write(&self.place.record)?;
        eprintln!(
            "{}: {status:?} in {:.0} s",
            self.name,
            started.elapsed().as_secs_f64()
        );
        Ok(if passed || !self.required {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Runs a command with its output in a file.
///
/// # Errors
/// Why it could not be run at all.
fn run_limited(command: &[String], log: &Path, limit: Duration) -> Result<Status, String> {
    let system = |error: std::io::Error| format!("{}: {error}", command[0]);
    let out = File::create(log).map_err(system)?;
    let err = out.try_clone().map_err(system)?;
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        // A group of its own, so that what the command starts ends with it.
        .process_group(0)
        .spawn()
        .map_err(system)?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(system)? {
            return Ok(if status.success() {
                Status::Passed
            } else {
                Status::Failed
            });
        }
        if started.elapsed() >= limit {
            // It may have ended by itself meanwhile.
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-9", "--", &group]).status();
            let _ = child.kill();
            let _ = child.wait();
            return Ok(Status::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The end of a file.
fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let skip = text.chars().count().saturating_sub(SAID);
    text.chars().skip(skip).collect()
}

impl Kernels {
    pub(super) fn run(&self) -> Result<ExitCode, String> {
        let mut record = Record::read(&self.place.record)?;
        let clock = clock(self.measured.emulated).map_err(kernel_error)?;
        let mut peers = Peers::start(&self.python, &self.peers);
        if let Err(why) = &peers {
            record.skipped.push(Skipped {
                what: "all peers".to_owned(),
                why: why.clone(),
            });
        }
        let ceilings = record.ceilings.first().cloned();
        let started = Instant::now();
        for job in self.measured.set.jobs() {
            let name = format!(
                "{} {} {}x{}",
                job.kernel.name(),
                job.model.name,
                job.batch,
                job.seqlen
            );
            if started.elapsed() >= Duration::from_secs(self.limit) {
                record.skipped.push(Skipped {
                    what: name,
                    why: format!("the time of {} s was up", self.limit),
                });
                continue;
            }
            let measured = measure(
                &clock,
                peers.as_mut().ok(),
                &job,
                self.measured.rounds.into(),
                ceilings.as_ref(),
                &mut record.skipped,
            );
            match measured {
                Ok(line) => {
                    let peer = line.best_peer().map_or(String::new(), |peer| {
                        format!(", {:.2} x {}", peer.ratio, peer.name)
                    });
                    eprintln!("{name}: {:.2} us{peer}", line.ours.seconds * 1e6);
                    record.lines.retain(|other| other.name() != line.name());
                    record.lines.push(line);
                }
                // Too little memory for one size says nothing about the next one.
                Err(error) => record.skipped.push(Skipped {
                    what: name,
                    why: error.to_string(),
                }),
            }
            record.write(&self.place.record)?;
        }
        record.write(&self.place.record)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Finish {
    pub(super) fn run(&self) -> Result<ExitCode, String> {
        let mut record = Record::read(&self.place.record)?;
        let clock = clock(record.device == "emulated").map_err(kernel_error)?;
        let mut peers = Peers::start(&self.python, &self.peers);
        let at_last = ceilings(&clock, &mut peers, "end", &mut record.skipped)?;
        record.ceilings.extend(at_last);
        record.raw.extend(about());
        record.write(&self.place.record)?;
        let text = table::whole(&record);
        let path = self.place.record.with_extension("md");
        std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        print!("{text}");
        Ok(if record.valid {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
