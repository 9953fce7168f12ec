//! Two records: what became faster or slower beyond the noise.

use super::{Line, Record};

/// Differences below this share are noise, whatever the rounds say.
const NOISE: f64 = 0.01;

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The slowest round of the new record is faster than the fastest of the old one.
    Faster,
    /// The other way round.
    Slower,
    /// The rounds of both overlap, or differ by less than a hundredth.
    Same,
}

/// A line that both records have.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// Old time over new time.
    pub ratio: f64,
    /// What became of it.
    pub verdict: Verdict,
}

/// The lines of both records, the greatest changes first.
///
/// # Errors
/// Records of different devices: their times say nothing about the program.
pub fn changes(old: &Record, new: &Record) -> Result<Vec<Change>, String> {
    if old.device != new.device {
        return Err(format!(
            "the records are of {} and {}: compare records of one device",
            old.device, new.device
        ));
    }
    let mut changes: Vec<Change> = new
        .lines
        .iter()
        .filter_map(|line| {
            let before = old.lines.iter().find(|other| other.name() == line.name())?;
            Some(change(before, line))
        })
        .collect();
    changes.sort_by(|a, b| b.ratio.ln().abs().total_cmp(&a.ratio.ln().abs()));
    Ok(changes)
}

fn change(old: &Line, new: &Line) -> Change {
    let ratio = old.ours.seconds / new.ours.seconds;
    let ((old_least, old_most), (new_least, new_most)) = (old.ours.range(), new.ours.range());
    let verdict = if ratio > 1.0 + NOISE && new_most < old_least {
        Verdict::Faster
    } else if ratio < 1.0 - NOISE && new_least > old_most {
        Verdict::Slower
    } else {
        Verdict::Same
    };
    Change {
        name: new.name(),
        ratio,
        verdict,
    }
}

/// As Markdown: what changed, and how many did not.
pub fn markdown(changes: &[Change]) -> String {
    let mut text = String::new();
    for (verdict, title) in [(Verdict::Faster, "Faster"), (Verdict::Slower, "Slower")] {
        let those: Vec<&Change> = changes.iter().filter(|c| c.verdict == verdict).collect();
        if those.is_empty() {
            continue;
        }
        text += &format!("{title}:\n\n| line | old / new |\n|---|---:|\n");
        for change in those {
            text += &format!("| {} | {:.3} |\n", change.name, change.ratio);
        }
        text.push('\n');
    }
    let same = changes
        .iter()
        .filter(|c| c.verdict == Verdict::Same)
        .count();
    text + &format!(
        "{same} of {} lines are the same within the noise.\n",
        changes.len()
    )
}
