//! `windowkv compare`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::compression::TUNING;
use super::needle::{Defaults, NEEDLE, NeedleArgs, summary, table, write_summary};
use super::output::{bytes, grouped};
use super::terminal::{print, say};
use crate::Result;
use crate::evaluation::longbench::Prediction;
use crate::evaluation::needle::{Summary, VariantSummary};
use crate::evaluation::picture::{self, Chart, Line};
use crate::evaluation::run::{Finished, Manifest};

const DEFAULTS: Defaults = Defaults {
    command: "compare",
    demo_lengths: &[1024],
    lengths: &[4000],
    demo_prompts: 18,
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
    windowkv compare --resume                         go on after an interruption\n  \
    windowkv longbench LongBench --datasets qasper,trec --capacities 256,512,1024 --out lb\n  \
    windowkv compare --longbench lb                   LongBench's scores instead of needles\n\n\
    Defaults: the demo model gets length 1024, 18 prompts for each depth and capacities 6%,12%,25%,50%; others get\n\
    length 4000, 1 prompt for each depth and capacities 256,512,1024,2048.\n\n\
    The folder gets manifest.json, records.jsonl, summary.md and .json, and the charts compare-exact and\n\
    compare-rouge1 (with --longbench: compare-longbench) as SVG and PNG.")]
pub(super) struct Compare {
    /// Run nothing: compare by the scores of a run of `windowkv longbench`, the folder that it is in
    #[arg(long, value_name = "DIR", conflicts_with_all = TUNING, conflicts_with_all = NEEDLE)]
    longbench: Option<PathBuf>,
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    needle: NeedleArgs,
}

impl Compare {
    pub(super) fn run(&self) -> Result<()> {
        if let Some(dir) = &self.longbench {
            return report_longbench(dir, self.json);
        }
        match self.needle.execute(&DEFAULTS)? {
            Some(dir) => report(&dir, self.json),
            None => Ok(()),
        }
    }
}

/// A method at a capacity.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Point {
    method: String,
    /// As it was given; `full` for the full cache.
    capacity: String,
    /// From 0 to 1.
    quality: f64,
    /// Mean over the prompts.
    kv_bytes: f64,
    prompts: usize,
}

/// Table and charts of a run that is whole.
pub(super) fn report(dir: &Path, json: bool) -> Result<()> {
    let summary = summary(dir, DEFAULTS.command)?;
    let lengths: Vec<String> = summary.lengths.iter().map(|&n| grouped(n as u64)).collect();
    let what = format!(
        "{}, prompts of {} tokens",
        model_name(dir)?,
        lengths.join(", ")
    );
    let exact = points(&summary, |v| v.exact);
    for (name, quality, points) in [
        ("compare-exact", "exact answers", &exact),
        (
            "compare-rouge1",
            "Rouge-1 F1",
            &points(&summary, |v| v.rouge1),
        ),
    ] {
        picture::write(dir, name, &chart(points, quality, &what).svg())?;
    }
    let markdown = format!("{}\n{}", pivot(&exact, "exact answers"), table(&summary));
    write_summary(dir, &summary, &markdown, json)?;
    say(&format!("{}: records, summary and charts", dir.display()));
    Ok(())
}

/// Table and chart of a run of `windowkv longbench`.
fn report_longbench(dir: &Path, json: bool) -> Result<()> {
    let run = Finished::<Prediction>::read(dir, "longbench")?;
    let predictions: Vec<&Prediction> = run.records.iter().map(|record| &record.record).collect();
    let mut names: Vec<(&str, &str)> = Vec::new();
    for prediction in &predictions {
        let name = (prediction.method.as_str(), capacity_of(prediction));
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut points = Vec::new();
    for (method, capacity) in names {
        let own = |p: &&&Prediction| p.method == method && capacity_of(p) == capacity;
        let own: Vec<&Prediction> = predictions.iter().filter(own).copied().collect();
        let mut by_dataset = BTreeMap::new();
        for prediction in &own {
            let scored = prediction.scored();
            let (sum, count) = by_dataset.entry(scored.dataset).or_insert((0.0, 0.0));
            *sum += scored.score;
            *count += 1.0;
        }
        let scores: Vec<f64> = by_dataset
            .values()
            .map(|(sum, count)| sum / count)
            .collect();
        points.push(Point {
            method: method.to_owned(),
            capacity: capacity.to_owned(),
            quality: mean(&scores),
            kv_bytes: mean(&own.iter().map(|p| p.kv_bytes as f64).collect::<Vec<_>>()),
            prompts: own.len(),
        });
    }
    let datasets: BTreeSet<_> = predictions.iter().map(|p| p.dataset.to_string()).collect();
    let datasets: Vec<String> = datasets.into_iter().collect();
    let shown = match datasets.as_slice() {
        few if few.len() <= 4 => few.join(", "),
        many => format!("{} datasets", many.len()),
    };
    let mut what = format!("{}, {shown}", model_name(dir)?);
    let (done, all) = (run.records.len(), run.manifest.cases);
    if done < all {
        what += &format!(", {done} of {all} cases");
        say(&format!(
            "{}: {done} of the run's {all} cases; --resume finishes a part, `windowkv merge` joins them",
            dir.display()
        ));
    }
    picture::write(
        dir,
        "compare-longbench",
        &chart(&points, "LongBench score", &what).svg(),
    )?;
    if json {
        let text = serde_json::to_string_pretty(&points).expect("points have text keys");
        print(&(text + "\n"))?;
    } else {
        print(&pivot(&points, "LongBench score"))?;
    }
    say(&format!("{}: chart", dir.display()));
    Ok(())
}

fn capacity_of(prediction: &Prediction) -> &str {
    prediction.capacity.as_deref().unwrap_or("full")
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

/// The model that a run is of.
fn model_name(dir: &Path) -> Result<String> {
    let manifest = Manifest::read(dir)?;
    let name = manifest
        .as_ref()
        .and_then(|m| m.labels.get("model")?.as_str());
    Ok(match name {
        Some(crate::demo::NAME) => "demo model".to_owned(),
        name => name.unwrap_or("model").to_owned(),
    })
}

fn points(summary: &Summary, quality: impl Fn(&VariantSummary) -> f64) -> Vec<Point> {
    let point = |variant: &VariantSummary| Point {
        method: variant.method.clone(),
        capacity: variant.capacity.clone(),
        quality: quality(variant),
        kv_bytes: variant.kv_bytes,
        prompts: variant.prompts,
    };
    summary.variants.iter().map(point).collect()
}

fn chart(points: &[Point], quality: &str, what: &str) -> Chart {
    let mut lines: Vec<Line> = Vec::new();
    let mut full = None;
    for point in points {
        let place = (point.kv_bytes, point.quality);
        if point.capacity == "full" {
            full = Some(place);
            continue;
        }
        match lines.iter_mut().find(|line| line.name == point.method) {
            Some(line) => line.points.push(place),
            None => lines.push(Line {
                name: point.method.clone(),
                points: vec![place],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let prompts = points.first().map_or(0, |point| point.prompts);
    Chart {
        title: format!("What a smaller KV cache costs: {quality}"),
        subtitle: format!("{what}, {} for each point", grouped(prompts as u64)),
        quality: format!("{quality} (%)"),
        lines,
        full,
    }
}

/// Methods down, capacities across.
fn pivot(points: &[Point], quality: &str) -> String {
    let mut capacities: Vec<&str> = Vec::new();
    let mut methods: Vec<&str> = Vec::new();
    for point in points {
        if point.capacity != "full" && !capacities.contains(&&*point.capacity) {
            capacities.push(&point.capacity);
        }
        if !methods.contains(&&*point.method) {
            methods.push(&point.method);
        }
    }
    let columns: Vec<&str> = capacities.iter().copied().chain(["full"]).collect();
    let mut text = format!("| {quality} at a capacity of |");
    for capacity in &columns {
        text += &format!(" {capacity} |");
    }
    text += &format!("\n|---|{}\n", "---:|".repeat(columns.len()));
    for method in methods {
        text += &format!("| {method} |");
        for capacity in &columns {
            let same = |p: &&Point| p.method == method && p.capacity == *capacity;
            text += &match points.iter().find(same) {
                Some(point) => format!(" {:.1} % |", 100.0 * point.quality),
                None => " |".to_owned(),
            };
        }
        text += "\n";
    }
    text += "| KV cache, mean over methods |";
    for capacity in columns {
        let same = points.iter().filter(|point| point.capacity == capacity);
        let sizes: Vec<f64> = same.map(|point| point.kv_bytes).collect();
        text += &match sizes.is_empty() {
            true => " |".to_owned(),
            false => format!(" {} |", bytes(mean(&sizes) as u64)),
        };
    }
    text + "\n"
}
