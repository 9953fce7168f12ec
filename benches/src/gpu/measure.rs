//! Ours and the peers by turns.

use super::Failure;
use super::clock::Clock;
use super::floor::work;
use super::launch::{copies, prepare};
use super::machine::clocks_under;
use super::peer::Peers;
use super::shape::Job;
use crate::record::{Ceilings, Line, PeerTimes, Skipped, Times};

/// Seconds that one round of one contender should take.
pub const ROUND_SECONDS: f64 = 0.01;
/// Launches of a round, at most.
const MAX_LAUNCHES: usize = 4000;

/// Times a job in `rounds` rounds, after a check of what it writes. In each, ours and every peer come once; every other
/// round in the opposite order, so that a drift of the clocks meets all alike (ABBA). What a peer cannot do is `skipped`.
///
/// # Errors
/// What our own launches give, and [`Failure::Wrong`].
pub fn measure(
    clock: &Clock,
    peers: Option<&mut Peers>,
    job: &Job,
    rounds: usize,
    ceilings: Option<&Ceilings>,
    skipped: &mut Vec<Skipped>,
) -> Result<Line, Failure> {
    let what = job.name();
    let copies = if clock.is_gpu() { copies(job) } else { 1 };
    let mut prepared = prepare(clock.device(), job, copies)?;
    prepared.launch(0)?;
    prepared.check()?;
    let batch = clock.batch(&mut prepared, ROUND_SECONDS, MAX_LAUNCHES)?;

    let mut contenders: Vec<(String, Vec<f64>)> = Vec::new();
    let mut process = peers;
    if let Some(process) = &mut process {
        match process.prepare(job, copies, (ROUND_SECONDS, MAX_LAUNCHES)) {
            Ok(of_job) => {
                contenders = of_job.peers.into_iter().map(|p| (p, Vec::new())).collect();
                skipped.extend(of_job.skipped.into_iter().map(|(peer, why)| Skipped {
                    what: format!("{what}: {peer}"),
                    why,
                }));
            }
            Err(why) => skipped.push(Skipped {
                what: format!("{what}: peers"),
                why,
            }),
        }
    }
    // Only now: while the peers got ready the GPU may have been idle.
    clock.warm_up(&mut prepared, &batch)?;
    let mut ours = Vec::new();
    let mut failed: Vec<usize> = Vec::new();
    for round in 0..rounds {
        let backwards = round % 2 == 1;
        if !backwards {
            ours.push(clock.time(&mut prepared, &batch)?);
        }
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if backwards {
            order.reverse();
        }
        for index in order
            .into_iter()
            .filter(|index| !failed.contains(index))
            .collect::<Vec<_>>()
        {
            let (name, times) = &mut contenders[index];
            let process = process.as_deref_mut().expect("it prepared the job");
            match process.time(name) {
                Ok(seconds) => times.push(seconds),
                Err(why) => {
                    failed.push(index);
                    skipped.push(Skipped {
                        what: format!("{what}: {name}"),
                        why,
                    });
                }
            }
        }
        if backwards {
            ours.push(clock.time(&mut prepared, &batch)?);
        }
    }
    let clocks = clocks_under(clock, &mut prepared, &batch)?.unwrap_or_else(|why| {
        // The reason is that of all lines.
        let what = "the clocks under load".to_owned();
        let note = Skipped { what, why };
        if !skipped.contains(&note) {
            skipped.push(note);
        }
        None
    });
    let ours = Times::new(ours);
    let work = work(job);
    let floor_seconds = ceilings.and_then(|c| c.floor_seconds(work.bytes, work.operations));
    let peers = contenders.into_iter().enumerate();
    let peers = peers.filter(|(index, _)| !failed.contains(index));
    let peers = peers.map(|(_, (name, times))| {
        let times = Times::new(times);
        PeerTimes {
            ratio: times.seconds / ours.seconds,
            name,
            times,
        }
    });
    Ok(Line {
        kernel: job.kernel.name().to_owned(),
        model: job.model.name.to_owned(),
        batch: job.batch,
        seqlen: job.seqlen,
        dtype: "bf16".to_owned(),
        launches: batch.launches(),
        copies: prepared.copies.min(batch.launches()),
        bytes: work.bytes,
        operations: work.operations,
        part_of_floor: floor_seconds.map(|floor| floor / ours.seconds),
        floor_seconds,
        clocks,
        peers: peers.collect(),
        ours,
    })
}

#[cfg(test)]
mod tests {
    use windowkv_kernels::{Device, Faults};

    use super::super::shape::JobSet;
    use super::*;

    fn measured(faults: Faults) -> Result<Line, Failure> {
        let clock = Clock::Emulated(Device::emulated_with(faults));
        let job = &JobSet::Tiny.jobs()[0];
        measure(&clock, None, job, 2, None, &mut Vec::new())
    }

    /// A lack of memory is told from a device that answers no more, wherever that happens.
    #[test]
    fn a_device_that_fails_is_the_end_and_one_that_is_full_is_not() {
        let line = measured(Faults::default()).expect("it works");
        assert_eq!(line.ours.rounds.len(), 2);
        let full = measured(Faults {
            memory_bytes: Some(1000),
            ..Faults::default()
        });
        assert!(full.is_err_and(|failure| !failure.is_final()));
        for launches in [0, 1, 3] {
            let broken = measured(Faults {
                launches: Some(launches),
                ..Faults::default()
            });
            assert!(
                broken.is_err_and(|failure| failure.is_final()),
                "{launches}"
            );
        }
    }
}
