//! Builds kernels with planted bugs, under every kind of check, and prints which of them finds each:
//!
//! ```sh
//! cargo run --release -p windowkv-kernels --example planted_bugs              # all, some minutes
//! cargo run --release -p windowkv-kernels --example planted_bugs -- --unchanged # the kernels as they are
//! cargo run --release -p windowkv-kernels --example planted_bugs -- wgmma_product/no-proxy-fence
//! ```
//!
//! It fails when a bug is found by nothing, when an unchanged kernel is reported, or when something could not
//! be built. The compiler is CXX, or c++; it needs gcc's sanitizers.

mod bugs;
mod builder;
mod cases;
#[path = "../../build/compile.rs"]
mod compile;
#[path = "../../build/emulated.rs"]
mod emulated;
mod examine;
mod kernels;
mod library;
mod means;
#[path = "../../build/parallel.rs"]
mod parallel;
// The kernels' tests include it too, and make it public.
#[allow(unreachable_pub)]
mod sparse;
mod suite;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use bugs::Bug;
use builder::{Builder, Unit};
use examine::{Finding, examine};
use kernels::{KERNELS, Kernel};
use means::{MEANS, Means};
use parallel::parallel;

/// Plants bugs in kernels and prints which means finds each.
#[derive(Parser)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  planted_bugs                                all kernels, all bugs
  planted_bugs --unchanged                    all kernels as they are
  planted_bugs --first prefill                which means is the first to find each bug of prefill
  planted_bugs wgmma_product fence            bugs whose names contain both words
  planted_bugs --list prefill                 what there is for a kernel
  env $(planted_bugs environment tsan) PROGRAM   run a program that opens WINDOWKV_LIBRARY"
)]
struct Arguments {
    /// Only kernels and bugs whose `folder/name` contains each of these.
    words: Vec<String>,
    /// Only the kernels as they are.
    #[arg(long)]
    unchanged: bool,
    /// Leave a bug be once one means has found it, in the order of the table: a fraction of the time.
    #[arg(long)]
    first: bool,
    /// Name the bugs, and see that the sources still have what each changes, without building anything.
    #[arg(long)]
    list: bool,
    /// Run this program of the kernels' tests on each bug, instead of the cases that are made for the bugs; `cargo test
    /// --release -p windowkv-tests --test kernels --no-run` names it.
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["first", "list"])]
    suite: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Build the unchanged library of a means (plain, builtin, tsan, asan or ubsan) and print the environment
    /// of a program that opens it.
    Environment {
        #[arg(value_parser = Means::named)]
        means: Means,
    },
    /// Run a kernel's cases on a library.
    #[command(hide = true)]
    Child {
        library: String,
        kernel: String,
        schedules: u64,
    },
}

/// A row of the table: a kernel as it is, or with a bug.
struct Row {
    kernel: &'static Kernel,
    bug: Option<&'static Bug>,
}

impl Row {
    fn name(&self) -> String {
        let bug = self.bug.map_or("unchanged", |bug| bug.name);
        format!("{}/{bug}", self.kernel.folder)
    }

    fn what(&self) -> String {
        self.bug.map_or("unchanged".to_owned(), |bug| {
            format!("{}: {}", bug.name, bug.what)
        })
    }

    /// What `work` gives for the library of this row.
    fn with_library<T>(
        &self,
        builder: &Builder,
        units: &[Unit],
        means: Means,
        work: impl FnOnce(&Path) -> Result<T, String>,
    ) -> Result<T, String> {
        let library = match self.bug {
            None => builder.unchanged(means),
            Some(bug) => builder.plant(units, self.kernel, bug, means)?,
        };
        let result = work(&library);
        // Hundreds of them would fill the disk; their objects are kept.
        if self.bug.is_some() {
            std::fs::remove_file(&library)
                .map_err(|error| format!("{}: {error}", library.display()))?;
        }
        result
    }

    /// Whether this is what has to come out: a bug found, a kernel as it is not reported.
    fn holds(&self, findings: &[Finding]) -> bool {
        let found = findings
            .iter()
            .any(|finding| matches!(finding, Finding::Found(_)));
        let failed = findings
            .iter()
            .any(|finding| matches!(finding, Finding::Failed(_)));
        !failed && found == self.bug.is_some()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(Subcommands::Child {
            library,
            kernel,
            schedules,
        }) => examine::child(library, kernel, *schedules),
        Some(Subcommands::Environment { means }) => print_environment(*means),
        None => plant(&arguments),
    };
    result.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::FAILURE
    })
}

fn print_environment(means: Means) -> Result<ExitCode, String> {
    let builder = Builder::new()?;
    let units = build(&builder, &[means])?;
    let library = builder.link(&units, means)?;
    for (name, value) in means.environment(&builder.compiler)? {
        println!("{name}={value}");
    }
    println!("WINDOWKV_LIBRARY={}", library.display());
    Ok(ExitCode::SUCCESS)
}

fn plant(arguments: &Arguments) -> Result<ExitCode, String> {
    let rows = rows(arguments);
    if rows.is_empty() {
        return Err(format!(
            "no kernel and no bug is named by {:?}",
            arguments.words
        ));
    }
    let builder = Builder::new()?;
    if arguments.list {
        for row in &rows {
            if let Some(bug) = row.bug {
                builder
                    .changed_texts(row.kernel, bug)
                    .map_err(|error| format!("{}: {error}", row.name()))?;
            }
            println!("{:50} {}", row.name(), row.bug.map_or("", |bug| bug.what));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(program) = &arguments.suite {
        let means = Means::named("builtin")?;
        let units = build(&builder, &[means])?;
        builder.link(&units, means)?;
        let bar = progress("kernels and bugs", rows.len());
        let told = || bar.inc(1);
        let result = suite::run(&builder, &units, means, &rows, program, &told);
        bar.finish_and_clear();
        return result;
    }
    let started = Instant::now();
    let units = build(&builder, &MEANS)?;
    parallel(MEANS, |means| builder.link(&units, means))?;

    let bar = progress("bugs and means", rows.len() * MEANS.len());
    let find = |row: &Row, means| {
        let finding = find(&builder, &units, row, means).unwrap_or_else(Finding::Failed);
        bar.inc(1);
        finding
    };
    let findings = if arguments.first {
        let of_rows = parallel(rows.iter().collect::<Vec<_>>(), |row| {
            Ok(find_first(row, find))
        })?;
        of_rows.concat()
    } else {
        let tasks = rows.iter().flat_map(|row| MEANS.map(|means| (row, means)));
        parallel(tasks.collect::<Vec<_>>(), |(row, means)| {
            Ok(find(row, means))
        })?
    };
    bar.finish_and_clear();

    let good = print_table(&rows, &findings);
    eprintln!(
        "{} bugs in {} kernels, {} builds, {:.0} s",
        rows.iter().filter(|row| row.bug.is_some()).count(),
        rows.chunk_by(|a, b| a.kernel.folder == b.kernel.folder)
            .count(),
        findings
            .iter()
            .filter(|finding| !matches!(finding, Finding::Untried))
            .count(),
        started.elapsed().as_secs_f64()
    );
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The findings about a row up to the first that finds its bug. A kernel as it is has to be silent under every means.
fn find_first(row: &Row, find: impl Fn(&Row, Means) -> Finding) -> Vec<Finding> {
    let mut found = false;
    let of_means = |means| {
        if found {
            return Finding::Untried;
        }
        let finding = find(row, means);
        found = row.bug.is_some() && matches!(finding, Finding::Found(_));
        finding
    };
    MEANS.map(of_means).into()
}

/// The wanted rows. A kernel with a wanted bug has its unchanged row too.
fn rows(arguments: &Arguments) -> Vec<Row> {
    let mut rows = Vec::new();
    for kernel in KERNELS {
        let bugs = kernel.bugs.iter().map(|bug| Row {
            kernel,
            bug: Some(bug),
        });
        let wanted = |row: &Row| {
            arguments
                .words
                .iter()
                .all(|word| row.name().contains(word.as_str()))
        };
        let bugs: Vec<Row> = bugs
            .filter(|row| !arguments.unchanged && wanted(row))
            .collect();
        let unchanged = Row { kernel, bug: None };
        if !bugs.is_empty() || wanted(&unchanged) {
            rows.push(unchanged);
        }
        rows.extend(bugs);
    }
    rows
}

/// Compiles the emulated GPU for these means.
fn build(builder: &Builder, means: &[Means]) -> Result<Vec<Unit>, String> {
    let units: Vec<Unit> = means
        .iter()
        .flat_map(|&means| builder.units(means))
        .collect();
    let bar = progress("unchanged files", units.len());
    let result = parallel(&units, |unit| {
        bar.inc(1);
        builder.compile(unit)
    });
    bar.finish_and_clear();
    result.map(|_| units)
}

fn find(builder: &Builder, units: &[Unit], row: &Row, means: Means) -> Result<Finding, String> {
    row.with_library(builder, units, means, |library| {
        let unchanged = row.bug.is_none();
        examine(library, row.kernel, means, &builder.compiler, unchanged)
    })
}

/// A table for each kernel on standard output, what was found on standard error; whether all is as it must be.
fn print_table(rows: &[Row], findings: &[Finding]) -> bool {
    let mut good = true;
    let mut kernel = "";
    for (row, findings) in rows.iter().zip(findings.chunks(MEANS.len())) {
        if row.kernel.folder != kernel {
            kernel = row.kernel.folder;
            println!(
                "\n### {kernel}\n\n| planted bug | {} |",
                MEANS.map(|means| means.title).join(" | ")
            );
            println!("|---|{}|", ["---"; MEANS.len()].join("|"));
        }
        let mut cells = vec![row.what()];
        let mut failed = false;
        for (finding, means) in findings.iter().zip(MEANS) {
            let (cell, text) = match finding {
                Finding::Nothing => ("", ""),
                Finding::Untried => ("-", ""),
                Finding::Found(text) => ("found", text.as_str()),
                // It is most often the same for all.
                Finding::Failed(_) if failed => ("failed", "as above"),
                Finding::Failed(text) => ("failed", text.as_str()),
            };
            failed |= cell == "failed";
            if !text.is_empty() {
                eprintln!("{} {cell} by {}: {text}", row.name(), means.title);
            }
            cells.push(cell.to_owned());
        }
        println!("| {} |", cells.join(" | "));
        if !row.holds(findings) {
            good = false;
            let problem = match row.bug {
                Some(_) => "is found by nothing, or was not built under each means",
                None => "is reported",
            };
            eprintln!("error: {} {problem}", row.name());
        }
    }
    good
}

fn progress(what: &'static str, len: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
    let bar = ProgressBar::new(len as u64).with_message(what);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
