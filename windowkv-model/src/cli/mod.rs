//! The command line of `windowkv`: text on standard output, everything else on standard error.

mod allocator;
mod bench;
mod classify;
mod compare;
mod compression;
mod demo;
mod device;
mod generate;
mod info;
mod input;
mod inspect;
mod longbench;
mod longbench_report;
mod merge;
mod needle;
mod niah;
mod output;
mod prompt;
mod run;
mod task;
mod terminal;

use std::ops::RangeInclusive;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{Error, Result};

/// Compress the KV cache of a language model by whole windows of the prompt, and generate text.
#[derive(Debug, Parser)]
#[command(
    name = "windowkv",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        windowkv demo                                   a long prompt, full cache and WindowKV side by side\n  \
        windowkv generate --prompt-file book.txt --model-dir Llama-3.2-1B-Instruct\n  \
        windowkv niah                                   the demo model, every method, with heat maps\n  \
        windowkv info Llama-3.2-1B-Instruct             budgets and memory of a model\n  \
        windowkv inspect prompt.txt                     a page that shows what is kept of it\n  \
        windowkv classify --prompt-file prompt.txt      the kind of task that it asks for\n\n\
        Exit codes: 0, 1 for a failure, 2 for a wrong command line."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// More about what happens, on standard error (-vv for every layer)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Threads to compute with [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer a prompt with a compressed cache
    Generate(Box<generate::Generate>),
    /// Say what a model is, what its layers may keep, and how much memory a prompt takes
    Info(Box<info::Info>),
    /// Write a page that shows what each method keeps of a prompt
    Inspect(Box<inspect::Inspect>),
    /// Say which kind of task prompts ask for, and measure the classifier that decides it
    Classify(Box<classify::Classify>),
    /// Try the embedded demo model: no download, no GPU
    Demo(Box<demo::Demo>),
    /// Time prefill and decode on a device: methods x batches x prompt lengths
    Bench(Box<bench::Bench>),
    /// Needle in a haystack: lengths x depths x methods, with heat maps
    Niah(Box<niah::Niah>),
    /// Evaluate methods on LongBench: predictions, scores, and a table like the paper's
    Longbench(Box<longbench::LongBench>),
    /// Quality against KV bytes: methods x capacities, as a chart and a table
    Compare(Box<compare::Compare>),
    /// Join the folders of a run that was split with --shard
    Merge(merge::Merge),
    /// Print the completion script of a shell
    #[command(
        after_help = "Example:\n  windowkv completions bash > ~/.local/share/bash-completion/completions/windowkv"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the program on the process's arguments.
pub fn run() -> ExitCode {
    allocator::return_large_blocks();
    // A wrong command line ends here with code 2, --help and --version with 0.
    let cli = Cli::parse();
    terminal::trace(cli.verbose);
    if let Some(threads) = cli.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        // Fails only when a pool exists already, and nothing has run before this.
        let _ = pool.build_global();
    }
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe has had enough: `windowkv ... | head` is no failure.
        Err(Error::Stream { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            terminal::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Parses a count that must lie in a range; the message of a wrong one names the limits.
fn count(text: &str, range: RangeInclusive<usize>) -> std::result::Result<usize, String> {
    let (least, most) = (range.start(), range.end());
    text.parse()
        .ok()
        .filter(|count| range.contains(count))
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Generate(generate) => generate.run(),
        Command::Info(info) => info.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Classify(classify) => classify.run(),
        Command::Demo(demo) => demo.run(),
        Command::Bench(bench) => bench.run(),
        Command::Niah(niah) => niah.run(),
        Command::Longbench(longbench) => longbench.run(),
        Command::Compare(compare) => compare.run(),
        Command::Merge(merge) => merge.run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "windowkv", &mut script);
            terminal::print_bytes(&script)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nothing is run, no option of a run is ignored in silence.
    #[test]
    fn what_is_only_looked_at_takes_no_option_of_a_run() {
        let command = Cli::command();
        let output = ["json", "csv", "out", "longbench_e", "help"];
        for (name, mode) in [("compare", "longbench"), ("longbench", "score")] {
            let command = command.find_subcommand(name).expect("a command");
            let mode = command.get_arguments().find(|a| a.get_id() == mode);
            let conflicts = command.get_arg_conflicts_with(mode.expect("its option"));
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let takes = output.contains(&id) && !(name == "compare" && id == "out");
                let global = argument.is_global_set();
                if takes || global || Some(argument) == mode {
                    continue;
                }
                assert!(conflicts.contains(&argument), "{name}: {id} is ignored");
            }
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
