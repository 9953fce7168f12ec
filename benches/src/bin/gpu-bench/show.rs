//! What is made of records.

use std::path::Path;
use std::process::ExitCode;

use windowkv_benches::record::{Record, compare as comparison, readme as section, table};
use windowkv_model::evaluation::picture::{RoofPoint, Roofline};

pub(super) fn show(path: &Path) -> Result<ExitCode, String> {
    print!("{}", table::whole(&Record::read(path)?));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn roofline(path: &Path, output: &Path) -> Result<ExitCode, String> {
    let record = Record::read(path)?;
    let ceilings = record
        .ceilings
        .first()
        .ok_or_else(|| format!("{}: no ceilings, so there is no roof", path.display()))?;
    let points = record.lines.iter().filter(|line| line.operations > 0);
    let chart = Roofline {
        title: format!("Kernels on {}", record.device),
        subtitle: format!(
            "{}{}, commit {}",
            if record.synthetic { "SYNTHETIC, " } else { "" },
            &record.date[..10],
            record.commit
        ),
        bytes_per_second: ceilings.copy_bytes_per_second,
        operations_per_second: ceilings.product_operations_per_second,
        points: points
            .map(|line| RoofPoint {
                series: format!("{}, {}", line.kernel, line.model),
                intensity: line.operations as f64 / line.bytes as f64,
                rate: line.operations as f64 / line.ours.seconds,
            })
            .collect(),
    };
    std::fs::write(output, chart.svg())
        .map_err(|error| format!("{}: {error}", output.display()))?;
    eprintln!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn compare(old: &Path, new: &Path, fail_on_slower: bool) -> Result<ExitCode, String> {
    let changes = comparison::changes(&Record::read(old)?, &Record::read(new)?)?;
    if changes.is_empty() {
        return Err("the records have no line in common".to_owned());
    }
    print!("{}", comparison::markdown(&changes));
    let slower = |change: &comparison::Change| change.verdict == comparison::Verdict::Slower;
    Ok(if fail_on_slower && changes.iter().any(slower) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

pub(super) fn check(folder: &Path) -> Result<ExitCode, String> {
    let records = section::records(folder)?;
    println!("{} GPU records, and all hold together", records.len());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn readme(check: bool) -> Result<ExitCode, String> {
    let path = Path::new("README.md");
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{}: {error}; run it in the project's root", path.display()))?;
    let updated = section::updated(&text, &section::records(Path::new("benches/record"))?)?;
    if updated == text {
        return Ok(ExitCode::SUCCESS);
    }
    if check {
        return Err(
            "README.md's section on GPUs is not what the records say: run `gpu-bench readme`"
                .into(),
        );
    }
    std::fs::write(path, updated).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}
