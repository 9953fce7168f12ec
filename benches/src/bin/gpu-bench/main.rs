//! Times the kernels on a GPU beside PyTorch, keeps the record, and shows it.

//!
//! A record is made step by step. Each step reads it, adds to it and writes it again, so that what is done is on the disk
//! whatever comes next.

mod begin;
mod ceilings;
mod finish;
mod kernels;
mod show;
mod step;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use windowkv_benches::gpu::clock::Clock;
use windowkv_kernels::{Device, Error};

#[derive(Debug, Parser)]
#[command(
    about = "Time the kernels on a GPU beside PyTorch, keep the record, and show it",
    after_help = "Examples:\n  \
        gpu-bench show record.json                         the record as Markdown\n  \
        gpu-bench roofline record.json -o roofline.svg     its kernels below the machine's roof\n  \
        gpu-bench compare old.json new.json                what became faster or slower beyond the noise\n  \
        gpu-bench check benches/record                     every GPU record there holds together\n  \
        gpu-bench readme                                   write README.md's section from the records\n  \
        gpu-bench begin -r out/record.json                 what the bundle's script does: begin,\n  \
        gpu-bench step -r out/record.json tests --needed to-pass -- ./kernels   run and note a command,\n  \
        gpu-bench kernels -r out/record.json --set main    time kernels and peers,\n  \
        gpu-bench finish -r out/record.json                end, and exit with 1 where a check did not pass\n\n\
        Exit codes: 0, 1 for a failure, 2 for a wrong command line, 3 where there is no GPU, 130 after a signal."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a record: the machine, its versions and its ceilings
    Begin(begin::Begin),
    /// Run a command with a limit of time, keep its output, and note how it ended
    Step(step::StepArguments),
    /// Time kernels, and their peers in PyTorch where python3 has it
    Kernels(kernels::Kernels),
    /// Measure the ceilings again, close the record, and print it
    Finish(finish::Finish),
    /// Print a record as Markdown
    Show {
        /// The record
        record: PathBuf,
    },
    /// Draw a record's kernels below the machine's roof
    Roofline {
        /// The record
        record: PathBuf,
        /// The picture
        #[arg(short, long, value_name = "FILE", default_value = "roofline.svg")]
        output: PathBuf,
    },
    /// Say what became faster or slower from one record to another
    Compare {
        /// The record before
        old: PathBuf,
        /// The record after
        new: PathBuf,
        /// Exit with 1 when anything became slower
        #[arg(long)]
        fail_on_slower: bool,
    },
    /// Check every GPU record below a folder
    Check {
        /// The folder
        #[arg(default_value = "benches/record")]
        folder: PathBuf,
    },
    /// Write README.md's section on GPUs from the records
    Readme {
        /// Change nothing; exit with 1 when the section is another
        #[arg(long)]
        check: bool,
    },
}

/// Where the record is.
#[derive(Debug, Args)]
struct Place {
    /// The record
    #[arg(short, long, value_name = "FILE", default_value = "out/record.json")]
    record: PathBuf,
}

/// Where the peers are.
#[derive(Debug, Args)]
struct PeersArguments {
    /// Python with PyTorch
    #[arg(long, default_value = "python3")]
    python: String,
    /// The peers' script
    #[arg(
        long,
        value_name = "FILE",
        default_value = "benches/peers/gpu_pytorch.py"
    )]
    peers: PathBuf,
}

fn clock(emulated: bool) -> Result<Clock, Error> {
    if emulated {
        Ok(Clock::Emulated(Device::emulated()))
    } else {
        Clock::cuda()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Begin(begin) => begin.run(),
        Command::Step(step) => step.run(),
        Command::Kernels(kernels) => kernels.run(),
        Command::Finish(finish) => finish.run(),
        Command::Show { record } => show::show(&record),
        Command::Roofline { record, output } => show::roofline(&record, &output),
        Command::Compare {
            old,
            new,
            fail_on_slower,
        } => show::compare(&old, &new, fail_on_slower),
        Command::Check { folder } => show::check(&folder),
        Command::Readme { check } => show::readme(check),
    };
    result.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::FAILURE
    })
}
