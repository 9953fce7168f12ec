//! What the machine says of itself.

use std::time::Duration;

use super::Failure;
use super::clock::{Batch, Clock};
use super::command::{Running, output, read};
use super::launch::Prepared;
use crate::record::{Clocks, Raw};

/// A program that has not answered by then does not.
const LIMIT: Duration = Duration::from_secs(10);
/// The clocks, as [`Clocks`] has them.
const CLOCKS: &str = "clocks.sm,clocks.mem,power.draw,temperature.gpu";

fn nvidia_smi(uuid: Option<&str>, query: &str, format: &str) -> Vec<String> {
    let mut command = vec!["nvidia-smi".to_owned()];
    if let Some(uuid) = uuid {
        command.extend(["-i".to_owned(), uuid.to_owned()]);
    }
    command.push(format!("--query-gpu={query}"));
    command.push(format!("--format={format}"));
    command
}

/// What the system says of itself.
pub fn system() -> Raw {
    raw(vec!["uname".to_owned(), "-a".to_owned()])
}

fn raw(command: Vec<String>) -> Raw {
    Raw {
        output: output(&command, LIMIT).unwrap_or_else(|why| why),
        command: command.join(" "),
    }
}

/// What `nvidia-smi` says of the GPU now, also where it fails.
pub fn gpu(uuid: Option<&str>) -> Vec<Raw> {
    let query = |query| nvidia_smi(uuid, query, "csv");
    let commands = [
        vec!["nvidia-smi".to_owned()],
        query("name,uuid,driver_version,memory.total,memory.used"),
        query(CLOCKS),
        // Older drivers do not know it and would refuse the others with it.
        query("clocks_event_reasons.active"),
    ];
    commands.into_iter().map(raw).collect()
}

/// The version of the driver.
///
/// # Errors
/// Why it is not known.
pub fn driver(uuid: Option<&str>) -> Result<String, String> {
    output(&nvidia_smi(uuid, "driver_version", "csv,noheader"), LIMIT)
        .map(|text| text.trim().to_owned())
}

/// The clocks of a GPU while it is kept busy with a batch; nothing for the emulated one.
///
/// # Errors
/// In the inner result, why they are not known; in the outer, what a launch gives.
pub fn clocks_under(
    clock: &Clock,
    prepared: &mut Prepared,
    batch: &Batch,
) -> Result<Result<Option<Clocks>, String>, Failure> {
    if !clock.is_gpu() {
        return Ok(Ok(None));
    }
    let command = nvidia_smi(clock.uuid().as_deref(), CLOCKS, "csv,noheader,nounits");
    let started = tempfile::tempfile()
        .map_err(|error| error.to_string())
        .and_then(|out| Ok((Running::start(&command, &out)?, out)));
    let (mut running, mut out) = match started {
        Ok(started) => started,
        Err(why) => return Ok(Err(why)),
    };
    let begun = std::time::Instant::now();
    clock.run_while(prepared, batch, || {
        begun.elapsed() < LIMIT && matches!(running.ended(), Ok(None))
    })?;
    drop(running);
    Ok(read(&mut out).and_then(|text| parse_clocks(&text).map(Some)))
}

/// `1980, 3201, 512.25, 48`, as nvidia-smi gives them.
fn parse_clocks(text: &str) -> Result<Clocks, String> {
    let numbers: Vec<f64> = text
        .trim()
        .split(',')
        .filter_map(|number| number.trim().parse().ok())
        .collect();
    let [sm_mhz, memory_mhz, watts, celsius] = numbers[..] else {
        return Err(format!("nvidia-smi says {:?}", text.trim()));
    };
    Ok(Clocks {
        sm_mhz,
        memory_mhz,
        watts,
        celsius,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_read_and_what_is_none_is_told() {
        let clocks = parse_clocks("1980, 3201, 512.25, 48\n").expect("four numbers");
        assert_eq!((clocks.sm_mhz, clocks.watts), (1980.0, 512.25));
        let error = parse_clocks("No devices were found\n").expect_err("no numbers");
        assert!(error.contains("No devices"), "{error}");
        assert!(parse_clocks("1980, 3201, [N/A], 48").is_err());
    }
}
