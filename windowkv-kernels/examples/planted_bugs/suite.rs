//! The kernels' own tests on libraries with bugs: whether they find by themselves what the cases here are made to find.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::Row;
use crate::builder::{Builder, Unit};
use crate::examine::run_limited;
use crate::means::Means;
use crate::parallel::parallel;

/// Runs `program` (the tests `kernels`) on each row's library, with the emulator's own checks, and prints what it found.
/// Fails when it finds something in a kernel as it is. A bug that only a sanitizer can see is not expected here.
pub(crate) fn run(
    builder: &Builder,
    units: &[Unit],
    means: Means,
    rows: &[Row],
    program: &Path,
    told: &(dyn Fn() + Sync),
) -> Result<ExitCode, String> {
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| !row.kernel.folder.starts_with("samples/"))
        .collect();
    let found = parallel(rows.clone(), |row| {
        let found = row.with_library(builder, units, means, |library| {
            let mut command = Command::new(program);
            command
                .arg(format!("{}::", row.kernel.folder))
                .args((row.kernel.folder == "layer").then_some("sample::"))
                .env("WINDOWKV_LIBRARY", library)
                .env("RUST_BACKTRACE", "0")
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            // A test that fails, or a program that a signal ends.
            run_limited(&mut command).map(|(code, _)| code != Some(0))
        });
        told();
        found
    })?;
    let (mut bugs, mut of_bugs, mut good) = (0, 0, true);
    for (row, &found) in rows.iter().zip(&found) {
        let word = if found { "found" } else { "-" };
        println!("{:50} {word}", row.name());
        match row.bug {
            Some(_) => {
                bugs += usize::from(found);
                of_bugs += 1;
            }
            None => good &= !found,
        }
    }
    eprintln!("the tests find {bugs} of {of_bugs} bugs by themselves");
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
