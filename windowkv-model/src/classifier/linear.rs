//! The embedded classifier: one weight for each feature, made by the project's own training program.

use windowkv_ref::policy::Task;

use super::features::{BUCKETS, Features, is_ideograph};

/// `task-classifier/weights.bin`.
pub(crate) static WEIGHTS: &[u8] = include_bytes!("../../task-classifier/weights.bin");

/// First bytes of a file of weights; the digit is the version of features and format.
const MAGIC: [u8; 8] = *b"WKVTASK1";
/// Length of a file of weights: magic, the scale as little-endian f32, one i8 for each feature.
pub const WEIGHTS_BYTES: usize = 12 + BUCKETS;

/// A prompt whose margin is below this is taken as localization, whatever the sign. Of the held-out phrasings'
/// prompts 2 in 100 lie so low.
pub const LEAST_MARGIN: f32 = 0.1;

/// A prompt of fewer words is no instruction: its few features say more about what else shares their places.
const LEAST_WORDS: usize = 4;

/// A linear classifier: `margin = scale * sum(weight * feature)`, above 0 for aggregation. There is no bias: a prompt
/// of which nothing is known has the margin 0.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearClassifier {
    weights: Vec<i8>,
    scale: f32,
}

/// What the classifier says of a prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearOutput {
    /// Distance from the boundary: below 0 localization, above 0 aggregation; the training aims at 1.
    pub margin: f32,
    /// The task; localization where the margin is small.
    pub task: Task,
    /// Whether the margin is small, or the prompt of a few words.
    pub uncertain: bool,
}

impl LinearClassifier {
    /// The classifier that is part of the program.
    ///
    /// # Panics
    /// Never: a test reads the embedded file.
    pub fn embedded() -> Self {
        Self::from_bytes(WEIGHTS).expect("the embedded weights are of this version")
    }

    /// From weights as trained: they are rounded to 8 bits, the largest to 127.
    ///
    /// # Panics
    /// If there are not [`BUCKETS`] of them.
    pub fn from_weights(weights: &[f32]) -> Self {
        assert_eq!(weights.len(), BUCKETS);
        let largest = weights
            .iter()
            .fold(0.0_f32, |most, weight| most.max(weight.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        Self {
            weights: weights
                .iter()
                .map(|weight| (weight / scale).round() as i8)
                .collect(),
            scale,
        }
    }

    /// Reads a file of weights; `None` if it is not one of this version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (scale, weights) = rest.split_first_chunk::<4>()?;
        let scale = f32::from_le_bytes(*scale);
        let sound = *magic == MAGIC && weights.len() == BUCKETS && scale.is_finite();
        sound.then(|| Self {
            weights: weights.iter().map(|&byte| byte as i8).collect(),
            scale,
        })
    }

    /// The file of weights, [`WEIGHTS_BYTES`] long.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.scale.to_le_bytes());
        bytes.extend(self.weights.iter().map(|&weight| weight as u8));
        bytes
    }

    /// The margin of a feature vector.
    pub fn margin(&self, features: &Features) -> f32 {
        let sum: f32 = features
            .iter()
            .map(|(place, value)| f32::from(self.weights[place]) * value)
            .sum();
        self.scale * sum
    }

    /// Classifies a prompt.
    pub fn classify(&self, prompt: &str) -> LinearOutput {
        let margin = self.margin(&Features::new(prompt));
        let uncertain = margin.abs() < LEAST_MARGIN || !has_words(prompt, LEAST_WORDS);
        let task = if margin > 0.0 && !uncertain {
            Task::Aggregation
        } else {
            Task::Localization
        };
        LinearOutput {
            margin,
            task,
            uncertain,
        }
    }
}

/// Whether a text has so many words; an ideograph is one.
fn has_words(text: &str, least: usize) -> bool {
    let mut inside = false;
    let begins = text.chars().filter(|&letter| {
        let begins = is_ideograph(letter) || letter.is_alphanumeric() && !inside;
        inside = letter.is_alphanumeric() && !is_ideograph(letter);
        begins
    });
    begins.take(least).count() == least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_weights_are_of_this_version_and_fit_the_limit() {
        assert_eq!(LinearClassifier::embedded().to_bytes(), WEIGHTS);
        const { assert!(WEIGHTS_BYTES <= 256 * 1024) };
        assert_eq!(WEIGHTS.len(), WEIGHTS_BYTES);
    }

    #[test]
    fn broken_weights_are_refused() {
        let mut bytes = LinearClassifier::embedded().to_bytes();
        assert!(LinearClassifier::from_bytes(&bytes[1..]).is_none());
        assert!(LinearClassifier::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        assert!(LinearClassifier::from_bytes(b"WKV").is_none());
        bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(LinearClassifier::from_bytes(&bytes).is_none());
    }

    #[test]
    fn a_small_margin_is_localization_and_says_so() {
        const PROMPT: &str = "four words make it";
        let place = Features::new(PROMPT).iter().next().unwrap();
        let margin = |weight: f32| {
            let mut weights = vec![0.0; BUCKETS];
            weights[place.0] = weight / place.1;
            LinearClassifier::from_weights(&weights).classify(PROMPT)
        };
        let cases = [
            (1.0, Task::Aggregation, false),
            (-1.0, Task::Localization, false),
            (LEAST_MARGIN / 2.0, Task::Localization, true),
            (-LEAST_MARGIN / 2.0, Task::Localization, true),
        ];
        for (weight, task, uncertain) in cases {
            let output = margin(weight);
            assert_eq!(
                (output.task, output.uncertain),
                (task, uncertain),
                "{output:?}"
            );
        }
        assert_eq!(margin(0.0).task, Task::Localization);
    }

    #[test]
    fn a_few_words_are_no_instruction() {
        for (text, enough) in [
            ("", false),
            ("zzz, 12!", false),
            ("one two  three", false),
            ("one two-three four", true),
            ("总结全", false),
            ("总结全文", true),
            ("word 全文 x", true),
        ] {
            assert_eq!(has_words(text, LEAST_WORDS), enough, "{text:?}");
        }
    }
}
