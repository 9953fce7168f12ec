//! How the embedded classifier's weights are made, and how a classifier is measured.
//!
//! Averaged stochastic gradient descent on the modified Huber loss with margin m = y w·x:
//! (1 - m)^2 for m >= -1 and below 1, -4m below -1, 0 from 1 on. Each kind of instruction in each language weighs the same
//! within its task, and both tasks weigh the same. One thread, no transcendental functions: the same seed gives
//! the same bits on every machine.

use std::collections::HashMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;
use windowkv_ref::policy::Task;

use super::TaskClassifier;
use super::corpus::{LabelledPrompt, Split, prompts};
use super::features::{BUCKETS, Features};
use super::linear::LinearClassifier;
use crate::Result;

/// What training depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingSettings {
    /// Of the prompts and of their order.
    pub seed: u64,
    /// Prompts of each phrasing.
    pub variants: usize,
    /// Times that every prompt is seen.
    pub epochs: usize,
    /// Step size at the beginning; it falls to zero.
    pub rate: f32,
    /// Share of a weight that is lost each epoch.
    pub decay: f32,
}

impl Default for TrainingSettings {
    /// Those of the embedded weights.
    fn default() -> Self {
        Self {
            seed: 1,
            variants: 40,
            epochs: 4,
            rate: 0.5,
            decay: 0.1,
        }
    }
}

/// Trains a classifier on the corpus; `progress` is told each epoch that is done.
pub fn train(settings: &TrainingSettings, progress: &mut dyn FnMut(usize)) -> LinearClassifier {
    let prompts = prompts(Split::Train, settings.variants, settings.seed);
    let importance = importance(&prompts);
    let examples: Vec<(Features, f32, f32)> = prompts
        .iter()
        .zip(importance)
        .map(|(prompt, importance)| {
            let label = match prompt.task {
                Task::Localization => -1.0,
                Task::Aggregation => 1.0,
            };
            (Features::new(&prompt.prompt), label, importance)
        })
        .collect();
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed ^ 0x5eed);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut weights = vec![0.0_f32; BUCKETS];
    let mut sum = vec![0.0_f32; BUCKETS];
    let steps = (settings.epochs * examples.len()) as f32;
    let mut step = 0.0_f32;
    for epoch in 0..settings.epochs {
        shuffle(&mut order, &mut random);
        for &index in &order {
            let (features, label, importance) = &examples[index];
            let margin = features
                .iter()
                .map(|(place, value)| weights[place] * value)
                .sum::<f32>();
            let slope = loss_slope(label * margin) * label;
            let rate = settings.rate * (1.0 - step / steps);
            let change = -rate * importance * slope;
            for (place, value) in features.iter() {
                weights[place] += change * value;
            }
            step += 1.0;
        }
        for weight in &mut weights {
            *weight *= 1.0 - settings.decay;
        }
        for (sum, weight) in sum.iter_mut().zip(&weights) {
            *sum += weight;
        }
        progress(epoch + 1);
    }
    let epochs = settings.epochs.max(1) as f32;
    for weight in &mut sum {
        *weight /= epochs;
    }
    LinearClassifier::from_weights(&sum)
}

/// The slope of the loss at a margin.
fn loss_slope(margin: f32) -> f32 {
    if margin >= 1.0 {
        0.0
    } else if margin >= -1.0 {
        -2.0 * (1.0 - margin)
    } else {
        -4.0
    }
}

/// How much each prompt weighs: the mean is 1.
fn importance(prompts: &[LabelledPrompt]) -> Vec<f32> {
    let group = |prompt: &LabelledPrompt| (prompt.kind.clone(), prompt.language, prompt.task);
    let mut sizes: HashMap<_, usize> = HashMap::new();
    for prompt in prompts {
        *sizes.entry(group(prompt)).or_default() += 1;
    }
    let groups = |task| sizes.keys().filter(|(_, _, of)| *of == task).count();
    let of_task = [Task::Localization, Task::Aggregation].map(|task| (task, groups(task) as f32));
    prompts
        .iter()
        .map(|prompt| {
            let size = sizes[&group(prompt)] as f32;
            let groups = of_task
                .iter()
                .find(|(task, _)| *task == prompt.task)
                .map_or(1.0, |(_, groups)| *groups);
            prompts.len() as f32 / (2.0 * groups * size)
        })
        .collect()
}

/// Fisher and Yates.
fn shuffle(order: &mut [usize], random: &mut ChaCha8Rng) {
    for last in (1..order.len()).rev() {
        order.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
    }
}

/// How often a classifier was right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Prompts by true task (localization, aggregation) and chosen task.
    pub matrix: [[usize; 2]; 2],
    /// How many were taken as localization because the margin was small.
    pub uncertain: usize,
}

impl Confusion {
    /// All prompts.
    pub fn total(&self) -> usize {
        self.matrix.iter().flatten().sum()
    }

    /// Share of prompts with the right task; 1 of none.
    pub fn accuracy(&self) -> f64 {
        let right = self.matrix[0][0] + self.matrix[1][1];
        match self.total() {
            0 => 1.0,
            total => right as f64 / total as f64,
        }
    }

    /// Counts one prompt.
    pub fn add(&mut self, truth: Task, chosen: Task, uncertain: bool) {
        let index = |task| usize::from(task == Task::Aggregation);
        self.matrix[index(truth)][index(chosen)] += 1;
        self.uncertain += usize::from(uncertain);
    }
}

/// Measures a classifier on prompts; `progress` is told each.
///
/// # Errors
/// As [`TaskClassifier::classify`].
pub fn measure<'a>(
    classifier: &TaskClassifier,
    prompts: impl IntoIterator<Item = (&'a str, Task)>,
    progress: &mut dyn FnMut(),
) -> Result<Confusion> {
    let mut confusion = Confusion::default();
    for (prompt, truth) in prompts {
        let decision = classifier.classify(prompt)?;
        confusion.add(truth, decision.task, decision.uncertain);
        progress();
    }
    Ok(confusion)
}
