//! A record as Markdown.

use super::{Clocks, Line, Record, Status};

/// Seconds below which a floor says nothing: no launch is that short.
const LEAST_FLOOR: f64 = 1e-6;

/// The mark of a line whose launches may find their inputs in the L2 cache.
const WARM: &str = "(L2-warm)";

/// Seconds as a person reads them.
fn time(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{:.2} us", seconds * 1e6)
    } else {
        format!("{:.3} ms", seconds * 1e3)
    }
}

/// How fast: operations a second where they matter, else bytes.
fn rate(line: &Line) -> String {
    let (bytes, operations) = (line.bytes as f64, line.operations as f64);
    if operations > 64.0 * bytes {
        format!("{:.0} TFLOP/s", operations / line.ours.seconds / 1e12)
    } else {
        format!("{:.2} TB/s", bytes / line.ours.seconds / 1e12)
    }
}

/// One row a line: time, spread, rate, part of the floor, the best peer; below, what its marks mean.
pub fn lines(record: &Record) -> String {
    let mut text = String::from(
        "| kernel | layer | batch x tokens | time | least to most | rate | of the floor | best peer | peer / ours |\n\
         |---|---|---:|---:|---:|---:|---:|---|---:|\n",
    );
    for line in &record.lines {
        let (least, most) = line.ours.range();
        let part = line
            .floor_seconds
            .filter(|floor| *floor >= LEAST_FLOOR)
            .and(line.part_of_floor)
            .map_or("-".to_owned(), |part| format!("{:.0} %", 100.0 * part));
        let warm = if line.is_l2_warm() {
            format!(" {WARM}")
        } else {
            String::new()
        };
        let (peer, ratio) = line.best_peer().map_or(("-", "-".to_owned()), |peer| {
            (peer.name.as_str(), format!("{:.2}", peer.ratio))
        });
        text += &format!(
            "| {} | {} | {} x {} | {}{warm} | {} to {} | {} | {part} | {peer} | {ratio} |\n",
            line.kernel,
            line.model,
            line.batch,
            line.seqlen,
            time(line.ours.seconds),
            time(least),
            time(most),
            rate(line),
        );
    }
    if record.lines.iter().any(Line::is_l2_warm) {
        text += &format!("\n{WARM}: all copies of the memory together fit the L2 cache.\n");
    }
    text
}

/// The range of the clocks under load, where they were read.
fn clocks(record: &Record) -> Option<String> {
    let clocks = || record.lines.iter().filter_map(|line| line.clocks.as_ref());
    clocks().next()?;
    let range = |of: fn(&Clocks) -> f64| {
        let least = clocks().map(of).fold(f64::INFINITY, f64::min);
        format!("{least:.0} to {:.0}", clocks().map(of).fold(0.0, f64::max))
    };
    Some(format!(
        "Under load: SM {} MHz, memory {} MHz, {} W, {} degrees C.\n",
        range(|c| c.sm_mhz),
        range(|c| c.memory_mhz),
        range(|c| c.watts),
        range(|c| c.celsius)
    ))
}

/// The whole record: what it is of, checks, ceilings, lines, what was left out.
pub fn whole(record: &Record) -> String {
    let mut text = format!(
        "# {} on {}, {}\n\ncommit {}{}{}\n\n",
        record.topic,
        record.device,
        record.date,
        record.commit,
        if record.synthetic {
            "; SYNTHETIC: nobody measured these numbers"
        } else {
            ""
        },
        if record.valid {
            ""
        } else {
            "; NOT VALID: a check did not pass or was not made"
        },
    );
    if !record.steps.is_empty() {
        text += "| step | | seconds |\n|---|---|---:|\n";
        for step in &record.steps {
            let status = match step.status {
                Status::Passed => "passed",
                Status::Failed => "failed",
                Status::TimedOut => "timed out",
                Status::Skipped => "skipped",
            };
            let said = match step.status {
                Status::Passed => String::new(),
                _ => format!(": {}", step.said.lines().last().unwrap_or_default()),
            };
            text += &format!("| {} | {status}{said} | {:.0} |\n", step.name, step.seconds);
        }
        text.push('\n');
    }
    for ceilings in &record.ceilings {
        let product = ceilings
            .product_operations_per_second
            .map_or(String::new(), |rate| {
                format!(", bf16 product {:.0} TFLOP/s", rate / 1e12)
            });
        text += &format!(
            "Ceilings at the {}: copy {:.2} TB/s{product}.\n",
            ceilings.when,
            ceilings.copy_bytes_per_second / 1e12
        );
    }
    text += &clocks(record).unwrap_or_default();
    text += "\n";
    text += &lines(record);
    if !record.skipped.is_empty() {
        text += "\nNot run:\n\n";
        for skipped in &record.skipped {
            text += &format!("- {}: {}\n", skipped.what, skipped.why);
        }
    }
    text
}
