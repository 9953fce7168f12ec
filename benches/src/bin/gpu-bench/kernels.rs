//! Timing kernels and their peers into a record.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use windowkv_benches::gpu::measure::measure;
use windowkv_benches::gpu::peer::Peers;
use windowkv_benches::gpu::shape::JobSet;
use windowkv_benches::record::Record;

use super::{PeersArguments, Place};

#[derive(Debug, Args)]
pub(super) struct Kernels {
    #[command(flatten)]
    place: Place,
    /// Which kernels and sizes
    #[arg(long, value_enum, default_value = "main")]
    set: JobSet,
    /// Rounds of each: at least 5 to be quoted, and even, so that each order comes equally often
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The emulated GPU, whose times mean nothing: tries the program out
    #[arg(long)]
    emulated: bool,
    /// Seconds after which no further kernel is begun
    #[arg(long, default_value_t = 240)]
    limit: u64,
    #[command(flatten)]
    peers: PeersArguments,
}

impl Kernels {
    /// Fails where a kernel failed otherwise than for want of memory: after such an error nothing can be believed.
    pub(super) fn run(&self) -> Result<ExitCode, String> {
        let path = &self.place.record;
        let mut record = Record::read(path)?;
        let clock = super::clock(self.emulated).map_err(|error| error.to_string())?;
        let until = Instant::now() + Duration::from_secs(self.limit);
        let mut peers = Peers::start(&self.peers.python, &self.peers.peers, until);
        if let Err(why) = &peers {
            record.skip("all peers", why);
        }
        let ceilings = record.ceilings.first().cloned();
        for job in self.set.jobs() {
            let name = job.name();
            if Instant::now() >= until {
                record.skip(&name, "the time was up");
                continue;
            }
            let measured = measure(
                &clock,
                peers.as_mut().ok(),
                &job,
                self.rounds.into(),
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
                Err(failure) => {
                    record.skip(&name, &failure.to_string());
                    if failure.is_final() {
                        record.write(path)?;
                        return Err(format!("{name}: {failure}"));
                    }
                }
            }
            record.write(path)?;
        }
        record.write(path)?;
        Ok(ExitCode::SUCCESS)
    }
}
