//! What is made of records.

use std::path::Path;
use std::process::ExitCode;

use windowkv_benches::record::{Record, compare as comparison, readme as section, roofline, table};

pub(super) fn show(path: &Path) -> Result<ExitCode, String> {
    print!("{}", table::whole(&Record::read(path)?));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn roofline(path: &Path, output: &Path) -> Result<ExitCode, String> {
    let chart = roofline::chart(&Record::read(path)?);
    let chart = chart.map_err(|error| format!("{}: {error}", path.display()))?;
    std::fs::write(output, chart.svg())
        .map_err(|error| format!("{}: {error}", output.display()))?;
    eprintln!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn compare(old: &Path, new: &Path, fail_on_slower: bool) -> Result<ExitCode, String> {
    let compared = comparison::compare(&Record::read(old)?, &Record::read(new)?)?;
    print!("{}", comparison::markdown(&compared));
    if compared.changes.is_empty() {
        return Err("the records have no line in common".to_owned());
    }
    let slower = |change: &comparison::Change| change.verdict == comparison::Verdict::Slower;
    Ok(if fail_on_slower && compared.changes.iter().any(slower) {
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
