//! `windowkv compare`

use std::path::Path;

use clap::Args;

use super::needle::{Defaults, NeedleArgs, summary, table, write_summary};
use super::output::{bytes, grouped};
use super::terminal::say;
use crate::Result;
use crate::evaluation::needle::{Summary, VariantSummary};
use crate::evaluation::picture::{self, Chart, Line};

const DEFAULTS: Defaults = Defaults {
    command: "compare",
    demo_lengths: &[1024],
    lengths: &[4000],
    demo_prompts: 5,
    demo_capacities: &["6%", "12%", "25%", "50%"],
    capacities: &["256", "512", "1024", "2048"],
    methods: &[
        "fullkv",
        "windowkv",
        "windowkv:9",
        "pyramidkv",
        "snapkv",
        "h2o",
        "streamingllm",
    ],
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windowkv compare                                  the demo model: the picture at the top of the README\n  \
    windowkv compare --methods fullkv,windowkv,snapkv --capacities 10%,20%,40% --prompts 10\n  \
    windowkv compare --model-dir Qwen2.5-1.5B-Instruct --lengths 8000 --capacities 512,1024,2048\n  \
    windowkv compare --resume                         go on after an interruption\n\n\
    The folder gets manifest.json, records.jsonl, summary.md and .json, and the charts compare-exact and\n\
    compare-rouge1 as SVG and PNG.")]
pub(super) struct Compare {
    #[command(flatten)]
    needle: NeedleArgs,
}

impl Compare {
    pub(super) fn run(&self) -> Result<()> {
        match self.needle.execute(&DEFAULTS)? {
            Some(dir) => report(&dir, self.needle.json()),
            None => Ok(()),
        }
    }
}

type Quality = fn(&VariantSummary) -> f64;

/// Table and charts of a run that is whole.
pub(super) fn report(dir: &Path, json: bool) -> Result<()> {
    let summary = summary(dir)?;
    let qualities: [(&str, &str, Quality); 2] = [
        ("compare-exact", "exact answers", |v| v.exact),
        ("compare-rouge1", "Rouge-1 F1", |v| v.rouge1),
    ];
    for (name, quality, value) in qualities {
        picture::write(dir, name, &chart(&summary, quality, value).svg())?;
    }
    let markdown = format!("{}\n{}", pivot(&summary), table(&summary));
    write_summary(dir, &summary, &markdown, json)?;
    say(&format!("{}: records, summary and charts", dir.display()));
    Ok(())
}

fn chart(summary: &Summary, quality: &str, value: Quality) -> Chart {
    let mut lines: Vec<Line> = Vec::new();
    let mut full = None;
    for variant in &summary.variants {
        let point = (variant.kv_bytes, value(variant));
        if variant.capacity == "full" {
            full = Some(point);
            continue;
        }
        match lines.iter_mut().find(|line| line.name == variant.method) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name: variant.method.clone(),
                points: vec![point],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let lengths: Vec<String> = summary.lengths.iter().map(|&n| grouped(n as u64)).collect();
    let prompts = summary
        .variants
        .first()
        .map_or(0, |variant| variant.prompts);
    Chart {
        title: format!("What a smaller KV cache costs: {quality}"),
        subtitle: format!(
            "prompts of {} tokens, {} for each point",
            lengths.join(", "),
            grouped(prompts as u64)
        ),
        quality: format!("{quality} (%)"),
        lines,
        full,
    }
}

/// Exact answers: methods down, capacities across.
fn pivot(summary: &Summary) -> String {
    let mut capacities: Vec<&str> = Vec::new();
    let mut methods: Vec<&str> = Vec::new();
    for variant in &summary.variants {
        if variant.capacity != "full" && !capacities.contains(&&*variant.capacity) {
            capacities.push(&variant.capacity);
        }
        if !methods.contains(&&*variant.method) {
            methods.push(&variant.method);
        }
    }
    let find = |method: &str, capacity: &str| {
        let same = |v: &&VariantSummary| v.method == method && v.capacity == capacity;
        summary.variants.iter().find(same)
    };
    let mut text = String::from("| exact answers at a capacity of |");
    for capacity in &capacities {
        text += &format!(" {capacity} |");
    }
    text += &format!(" full |\n|---|{}---:|\n", "---:|".repeat(capacities.len()));
    for method in methods {
        text += &format!("| {method} |");
        for capacity in capacities.iter().copied().chain(["full"]) {
            text += &match find(method, capacity) {
                Some(v) => format!(" {:.1} % |", 100.0 * v.exact),
                None => " |".to_owned(),
            };
        }
        text += "\n";
    }
    text += "| KV cache, mean over methods |";
    for capacity in capacities.iter().copied().chain(["full"]) {
        let sizes: Vec<f64> = summary
            .variants
            .iter()
            .filter(|v| v.capacity == capacity)
            .map(|v| v.kv_bytes)
            .collect();
        let mean = sizes.iter().sum::<f64>() / sizes.len().max(1) as f64;
        text += &match sizes.is_empty() {
            true => " |".to_owned(),
            false => format!(" {} |", bytes(mean as u64)),
        };
    }
    text + "\n"
}
