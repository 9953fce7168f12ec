//! Closing a record.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use windowkv_benches::gpu::machine;
use windowkv_benches::gpu::peer::Peers;
use windowkv_benches::record::{Record, table};

use super::{PeersArguments, Place, ceilings};

#[derive(Debug, Args)]
pub(super) struct Finish {
    #[command(flatten)]
    place: Place,
    /// Seconds that PyTorch may take to answer
    #[arg(long, default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    peers: PeersArguments,
}

impl Finish {
    pub(super) fn run(&self) -> Result<ExitCode, String> {
        let path = &self.place.record;
        let mut record = Record::read(path)?;
        match super::clock(record.device == "emulated") {
            Ok(clock) => {
                let until = Instant::now() + Duration::from_secs(self.limit);
                ceilings::measure(&clock, "end", &mut record, || {
                    Peers::start(&self.peers.python, &self.peers.peers, until)
                });
                record.raw.extend(machine::gpu(clock.uuid().as_deref()));
            }
            Err(error) => record.skip("the ceilings of the end", &error.to_string()),
        }
        let shortcoming = record.shortcoming();
        record.valid = shortcoming.is_none();
        record.write(path)?;
        print!("{}", table::whole(&record));
        Ok(match shortcoming {
            None => ExitCode::SUCCESS,
            Some(why) => {
                eprintln!("error: {}: the record is not valid: {why}", path.display());
                ExitCode::FAILURE
            }
        })
    }
}
