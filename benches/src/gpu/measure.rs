//! Ours and the peers by turns.

use windowkv_kernels::Error;

use super::clock::Clock;
use super::floor::work;
use super::launch::prepare;
use super::peer::Peers;
use super::shape::Job;
use crate::record::{Ceilings, Line, PeerTimes, Skipped, Times};

/// Seconds that one round of one contender should take.
const ROUND_SECONDS: f64 = 0.02;
/// Launches of a round, at most.
const MAX_LAUNCHES: usize = 400;

/// Times a job in `rounds` rounds. In each, ours and every peer come once; every other round in the opposite order, so
/// that a drift of the clocks meets all alike (ABBA). What a peer cannot do is `skipped`.
///
/// # Errors
/// What our own launches give.
pub fn measure(
    clock: &Clock,
    peers: Option<&mut Peers>,
    job: &Job,
    rounds: usize,
    ceilings: Option<&Ceilings>,
    skipped: &mut Vec<Skipped>,
) -> Result<Line, Error> {
    let what = format!(
        "{} {} {}x{}",
        job.kernel.name(),
        job.model.name,
        job.batch,
        job.seqlen
    );
    let mut prepared = prepare(clock.device(), job, clock.is_gpu())?;
    let first = clock.batch(&mut prepared, 1)?;
    let once = clock.time(&mut prepared, &first)?;
    let launches = if clock.is_gpu() {
        ((ROUND_SECONDS / once.max(1e-7)) as usize).clamp(3, MAX_LAUNCHES)
    } else {
        1
    };
    let batch = clock.batch(&mut prepared, launches)?;
    clock.time(&mut prepared, &batch)?;

    let mut contenders: Vec<(String, Vec<f64>)> = Vec::new();
    let mut process = peers;
    if let Some(process) = &mut process {
        match process.prepare(job) {
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
    let ours = Times::new(ours);
    let work = work(job);
    let floor_seconds = ceilings
        .map(|c| work.floor_seconds(c.copy_bytes_per_second, c.product_operations_per_second));
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
        launches,
        copies: prepared.copies,
        bytes: work.bytes,
        operations: work.operations,
        part_of_floor: floor_seconds.map(|floor| floor / ours.seconds),
        floor_seconds,
        peers: peers.collect(),
        ours,
    })
}
