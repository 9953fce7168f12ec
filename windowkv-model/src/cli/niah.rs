//! `windowkv niah`

use std::path::Path;

use clap::Args;

use super::needle::{Defaults, NeedleArgs, summary, table, write_heat_maps, write_summary};
use super::terminal::say;
use crate::Result;

const DEFAULTS: Defaults = Defaults {
    command: "niah",
    demo_lengths: &[256, 512, 1024, 2048],
    lengths: &[1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000],
    demo_prompts: 5,
    demo_capacities: &["12%"],
    capacities: &["512"],
    methods: &[
        "fullkv",
        "windowkv",
        "pyramidkv",
        "snapkv",
        "h2o",
        "streamingllm",
    ],
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windowkv niah                                     the demo model, all methods, into ./niah-run\n  \
    windowkv niah --capacities 6%,25% --methods fullkv,windowkv,windowkv:9 --out pooled\n  \
    windowkv niah --model-dir Meta-Llama-3-8B-Instruct --haystack essays --lengths 2000,4000,8000 --capacities 512\n  \
    windowkv niah --model-dir Qwen2.5-1.5B-Instruct --needle ' The code of the vault is 4711.' \\\n    \
    --question 'What is the code of the vault?' --answer 4711 --template '{context}\\n{question}'\n  \
    windowkv niah --resume                            go on after an interruption\n  \
    windowkv niah --shard 2/8 --out part2             one of eight parts; then: windowkv merge whole part*\n\n\
    Defaults: the demo model gets lengths 256,512,1024,2048, 5 prompts each and a capacity of 12%; others get\n\
    lengths 1000 to 8000 as they fit, 1 prompt each and a capacity of 512 tokens.\n\n\
    The folder gets manifest.json, records.jsonl, summary.md and .json, and heat maps as SVG and PNG:\n\
    heatmap-<method>-<capacity> for each method, heatmaps for all of them.")]
pub(super) struct Niah {
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    needle: NeedleArgs,
}

impl Niah {
    pub(super) fn run(&self) -> Result<()> {
        match self.needle.execute(&DEFAULTS)? {
            Some(dir) => report(&dir, self.json),
            None => Ok(()),
        }
    }
}

/// Table and heat maps of a run that is whole.
pub(super) fn report(dir: &Path, json: bool) -> Result<()> {
    let summary = summary(dir, DEFAULTS.command)?;
    write_heat_maps(dir, &summary)?;
    write_summary(dir, &summary, &table(&summary), json)?;
    say(&format!(
        "{}: records, summary and heat maps",
        dir.display()
    ));
    Ok(())
}
