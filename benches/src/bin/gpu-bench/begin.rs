//! Beginning a record: the machine, its versions and its ceilings.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use serde_json::{Map, Value};
use windowkv_benches::gpu::clock::Clock;
use windowkv_benches::gpu::machine;
use windowkv_benches::gpu::peer::Peers;
use windowkv_benches::record::{Record, SCHEMA};

use super::{PeersArguments, Place, ceilings};

/// The exit code where there is no GPU.
const NO_GPU: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct Begin {
    #[command(flatten)]
    place: Place,
    /// Of what
    #[arg(long, default_value = "kernels")]
    topic: String,
    /// What the programs were built from and with: lines of `name: value`, `commit` among them
    #[arg(long, value_name = "FILE")]
    build: Option<PathBuf>,
    /// Seconds that PyTorch may take to answer
    #[arg(long, default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    peers: PeersArguments,
    /// The emulated GPU: tries the program out
    #[arg(long)]
    emulated: bool,
}

/// The lines of a BUILD file.
fn build(path: &Path) -> Result<Map<String, Value>, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect())
}

impl Begin {
    pub(super) fn run(&self) -> Result<ExitCode, String> {
        let clock = match super::clock(self.emulated) {
            Ok(clock) => clock,
            Err(error) => {
                eprintln!("error: no GPU to measure: {error}");
                return Ok(ExitCode::from(NO_GPU));
            }
        };
        let build = self.build.as_deref().map(build).transpose()?;
        let build = build.unwrap_or_default();
        let path = &self.place.record;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut record = Record {
            schema: SCHEMA.to_owned(),
            topic: self.topic.clone(),
            synthetic: self.emulated,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            commit: build
                .get("commit")
                .and_then(Value::as_str)
                .unwrap_or("unknown")
                .to_owned(),
            device: clock.name(),
            versions: versions(&clock, build),
            raw: vec![machine::system()],
            valid: false,
            steps: Vec::new(),
            ceilings: Vec::new(),
            lines: Vec::new(),
            skipped: Vec::new(),
            notes: Vec::new(),
        };
        record.raw.extend(machine::gpu(clock.uuid().as_deref()));
        record.write(path)?;
        eprintln!("{}: begun on {}", path.display(), record.device);

        let until = Instant::now() + Duration::from_secs(self.limit);
        let peers = Peers::start(&self.peers.python, &self.peers.peers, until);
        record.versions["python"] = match &peers {
            Ok(peers) => peers.about.clone(),
            Err(why) => why.as_str().into(),
        };
        ceilings::measure(&clock, "begin", &mut record, || peers);
        record.write(path)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn versions(clock: &Clock, build: Map<String, Value>) -> Value {
    let mut versions = Map::new();
    versions.insert("program".into(), env!("CARGO_PKG_VERSION").into());
    versions.insert("build".into(), build.into());
    if clock.is_gpu() {
        let driver = machine::driver(clock.uuid().as_deref()).unwrap_or_else(|why| why);
        versions.insert("driver".into(), driver.into());
    }
    versions.into()
}
