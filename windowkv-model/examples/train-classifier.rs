//! Trains the embedded task classifier and prints how it does on the phrasings that its settings are chosen by.
//!
//! ```sh
//! cargo run --release -p windowkv-model --example train-classifier
//! ```
//! writes `windowkv-model/task-classifier/weights.bin`, which the next build embeds. The same seed gives the same
//! file. How it does on phrasings that nothing was chosen by, `windowkv classify accuracy` says.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use windowkv_model::classifier::TaskClassifier;
use windowkv_model::classifier::corpus::{Split, different_instructions, prompts};
use windowkv_model::classifier::training::{TrainingSettings, measure, train};

/// Train the embedded task classifier.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the weights go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/task-classifier/weights.bin"))]
    output: PathBuf,
    /// Of prompts and their order
    #[arg(long, default_value_t = TrainingSettings::default().seed)]
    seed: u64,
    /// Prompts of each phrasing
    #[arg(long, default_value_t = TrainingSettings::default().variants)]
    variants: usize,
    /// Times that every prompt is seen
    #[arg(long, default_value_t = TrainingSettings::default().epochs)]
    epochs: usize,
    /// Step size at the beginning
    #[arg(long, default_value_t = TrainingSettings::default().rate)]
    rate: f32,
    /// Share of a weight that is lost each epoch
    #[arg(long, default_value_t = TrainingSettings::default().decay)]
    decay: f32,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let settings = TrainingSettings {
        seed: arguments.seed,
        variants: arguments.variants,
        epochs: arguments.epochs,
        rate: arguments.rate,
        decay: arguments.decay,
    };
    let trained_on = prompts(Split::Train, settings.variants, settings.seed);
    eprintln!(
        "{} prompts, {} different instructions",
        trained_on.len(),
        different_instructions(&trained_on)
    );
    let start = Instant::now();
    let classifier = train(&settings, &mut |epoch| {
        eprintln!("epoch {epoch} of {}", settings.epochs)
    });
    std::fs::write(&arguments.output, classifier.to_bytes())?;
    eprintln!(
        "{} in {:.1} s",
        arguments.output.display(),
        start.elapsed().as_secs_f64()
    );
    let classifier = TaskClassifier::Embedded(classifier);
    for (name, split) in [
        ("trained phrasings, new fillings", Split::Train),
        ("development phrasings", Split::Development),
    ] {
        let prompts = prompts(split, 8, settings.seed + 1);
        let labelled = prompts.iter().map(|p| (p.prompt.as_str(), p.task));
        let confusion = measure(&classifier, labelled, &mut || ())?;
        println!(
            "{name}: {:.2} % of {} right, {} with a small margin, matrix {:?}",
            100.0 * confusion.accuracy(),
            confusion.total(),
            confusion.uncertain,
            confusion.matrix
        );
    }
    Ok(())
}
