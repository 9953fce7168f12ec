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

/// What two records have to say of each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The lines of both, the greatest changes first.
    pub changes: Vec<Change>,
    /// What should be known before they are believed: a record that is not valid.
    pub doubts: Vec<String>,
    /// Names of lines that only the old record has.
    pub only_old: Vec<String>,
    /// Names of lines that only the new record has.
    pub only_new: Vec<String>,
}

/// Compares them.
///
/// # Errors
/// Records of different devices: their times say nothing about the program.
pub fn compare(old: &Record, new: &Record) -> Result<Comparison, String> {
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
    let doubts = [("old", old), ("new", new)]
        .into_iter()
        .filter_map(|(which, record)| {
            let why = record.shortcoming();
            let why = why.unwrap_or_else(|| "it was not finished".to_owned());
            (!record.valid).then(|| format!("The {which} record is not valid: {why}."))
        });
    Ok(Comparison {
        changes,
        doubts: doubts.collect(),
        only_old: only(old, new),
        only_new: only(new, old),
    })
}

/// Names of lines that `this` has and `other` has not.
fn only(this: &Record, other: &Record) -> Vec<String> {
    let names = this.lines.iter().map(Line::name);
    names
        .filter(|name| !other.lines.iter().any(|line| line.name() == *name))
        .collect()
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

/// As Markdown: what changed, how many did not, and what could not be compared.
pub fn markdown(comparison: &Comparison) -> String {
    let Comparison {
        changes,
        doubts,
        only_old,
        only_new,
    } = comparison;
    let mut text = String::new();
    for doubt in doubts {
        text += &format!("{doubt}\n\n");
    }
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
    text += &format!(
        "{same} of {} lines are the same within the noise.\n",
        changes.len()
    );
    for (names, title) in [(only_old, "old"), (only_new, "new")] {
        if !names.is_empty() {
            text += &format!("\nOnly in the {title} record:\n\n");
            names.iter().for_each(|name| text += &format!("- {name}\n"));
        }
    }
    text
}
