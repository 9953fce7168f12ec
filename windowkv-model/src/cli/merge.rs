//! `windowkv merge`

use std::path::PathBuf;

use clap::Args;

use super::longbench_report::{self, Form};
use super::terminal::say;
use super::{compare, longbench, niah};
use crate::Result;
use crate::evaluation::run;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    for i in 1 2 3 4; do windowkv niah --shard $i/4 --out part$i; done\n  \
    windowkv merge whole part1 part2 part3 part4\n\n\
    Every shard must be there once and be finished. The new folder is as if one machine had done all.")]
pub(super) struct Merge {
    /// Folder of the whole run, made if it does not exist
    out: PathBuf,
    /// Folders of all shards, in any order
    #[arg(required = true)]
    shards: Vec<PathBuf>,
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
}

impl Merge {
    pub(super) fn run(&self) -> Result<()> {
        let manifest = run::merge(&self.out, &self.shards)?;
        let (shards, cases) = (self.shards.len(), manifest.cases);
        say(&format!(
            "{}: {cases} cases of {shards} shards",
            self.out.display()
        ));
        match manifest.command.as_str() {
            "niah" => niah::report(&self.out, self.json),
            "compare" => compare::report(&self.out, self.json),
            longbench::COMMAND if self.json => longbench_report::of_run(&self.out, Form::Json),
            longbench::COMMAND => longbench_report::of_run(&self.out, Form::Markdown),
            _ => Ok(()),
        }
    }
}
