//! A record as Markdown.

use super::{Line, Record, Status};

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

/// One row a line: time, spread, rate, part of the floor, the best peer.
pub fn lines(record: &Record) -> String {
    let mut text = String::from(
        "| kernel | layer | batch x tokens | time | least to most | rate | of the floor | best peer | peer / ours |\n\
         |---|---|---:|---:|---:|---:|---:|---|---:|\n",
    );
    for line in &record.lines {
        let (least, most) = line.ours.range();
        let part = line
            .part_of_floor
            .map_or("-".to_owned(), |part| format!("{:.0} %", 100.0 * part));
        let (peer, ratio) = line.best_peer().map_or(("-", "-".to_owned()), |peer| {
            (peer.name.as_str(), format!("{:.2}", peer.ratio))
        });
        text += &format!(
            "| {} | {} | {} x {} | {} | {} to {} | {} | {part} | {peer} | {ratio} |\n",
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
    text
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
            "; NOT VALID: a check did not pass"
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
