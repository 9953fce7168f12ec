//! Whether a record holds together.

use super::{Line, Needed, Record, SCHEMA, Status, Times};

/// The steps without which no record is valid, in their order: the tests on the device, the proof that they ran there,
/// and the kernels at the main shapes.
pub const REQUIRED_STEPS: [&str; 6] = [
    "kernels-tests",
    "ptx-tests",
    "samples-tests",
    "graph-tests",
    "device-ran",
    "kernels-main",
];

impl Record {
    /// Why it may not be called valid: a required step that is not there or did not pass, a step that must not fail and
    /// did, no kernel that was timed, or a ceiling that was not measured at both ends of the run. Nothing where it may.
    pub fn shortcoming(&self) -> Option<String> {
        let missing = REQUIRED_STEPS
            .iter()
            .find(|name| !self.steps.iter().any(|step| step.name == **name));
        if let Some(name) = missing {
            return Some(format!("there is no step {name}"));
        }
        for step in &self.steps {
            let must_pass =
                step.needed == Needed::ToPass || REQUIRED_STEPS.contains(&step.name.as_str());
            if must_pass && step.status != Status::Passed {
                return Some(format!("the step {} did not pass", step.name));
            }
            if step.needed == Needed::NotToFail && step.status == Status::Failed {
                return Some(format!("the step {} failed", step.name));
            }
        }
        if self.lines.is_empty() {
            return Some("no kernel was timed".to_owned());
        }
        let missing = ["begin", "end"]
            .into_iter()
            .find(|when| !self.ceilings.iter().any(|c| c.when == *when));
        missing.map(|when| format!("there are no ceilings of the {when}"))
    }

    /// Whether it holds together: the form's name, times that are times, medians and ratios that follow from the
    /// rounds, floors that follow from the ceilings, no line or step twice, and `valid` only without a
    /// [shortcoming](Self::shortcoming).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("schema is {:?}, not {SCHEMA:?}", self.schema));
        }
        if humantime::parse_rfc3339(&self.date).is_err() {
            return Err(format!("date is {:?}, not of RFC 3339", self.date));
        }
        if let (true, Some(shortcoming)) = (self.valid, self.shortcoming()) {
            return Err(format!("valid, but {shortcoming}"));
        }
        for ceilings in &self.ceilings {
            let product = ceilings.product_operations_per_second.unwrap_or(1.0);
            if !(ceilings.copy_bytes_per_second > 0.0 && product > 0.0) {
                return Err(format!("a ceiling is not above 0: {ceilings:?}"));
            }
        }
        let steps = self.steps.iter().map(|step| step.name.clone());
        once("steps", steps.collect())?;
        let ceilings = self.ceilings.iter().map(|ceilings| ceilings.when.clone());
        once("ceilings", ceilings.collect())?;
        once("lines", self.lines.iter().map(Line::name).collect())?;
        for line in &self.lines {
            self.check_line(line)
                .map_err(|what| format!("{}: {what}", line.name()))?;
        }
        Ok(())
    }

    fn check_line(&self, line: &Line) -> Result<(), String> {
        check_times(&line.ours)?;
        if line.bytes == 0 {
            return Err("no bytes".to_owned());
        }
        if line.copies == 0 || line.copies > line.launches {
            return Err(format!(
                "{} launches cannot take turns with {} copies",
                line.launches, line.copies
            ));
        }
        let begin = self.ceilings.iter().find(|c| c.when == "begin");
        let floor = begin.and_then(|c| c.floor_seconds(line.bytes, line.operations));
        check_same("floor_seconds", line.floor_seconds, floor)?;
        let part = floor.map(|floor| floor / line.ours.seconds);
        check_same("part_of_floor", line.part_of_floor, part)?;
        for peer in &line.peers {
            let wrong = |what: String| format!("{}: {what}", peer.name);
            check_times(&peer.times).map_err(wrong)?;
            let ratio = peer.times.seconds / line.ours.seconds;
            check_close("ratio", peer.ratio, ratio).map_err(wrong)?;
        }
        Ok(())
    }
}

fn once(what: &str, mut names: Vec<String>) -> Result<(), String> {
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two {what} for {}", pair[0])),
        None => Ok(()),
    }
}

fn check_times(times: &Times) -> Result<(), String> {
    if times.rounds.is_empty() || times.rounds.iter().any(|s| !(*s > 0.0 && s.is_finite())) {
        return Err(format!("rounds are {:?}", times.rounds));
    }
    check_close(
        "the median",
        times.seconds,
        Times::new(times.rounds.clone()).seconds,
    )
}

fn check_same(what: &str, found: Option<f64>, expected: Option<f64>) -> Result<(), String> {
    match (found, expected) {
        (None, None) => Ok(()),
        (Some(found), Some(expected)) => check_close(what, found, expected),
        _ => Err(format!(
            "{what} is {found:?}, its numbers give {expected:?}"
        )),
    }
}

fn check_close(what: &str, found: f64, expected: f64) -> Result<(), String> {
    if (found - expected).abs() <= 1e-6 * expected.abs() {
        Ok(())
    } else {
        Err(format!("{what} is {found}, its numbers give {expected}"))
    }
}
