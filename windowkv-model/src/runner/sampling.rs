//! Choosing the next token from the logits.

use std::cmp::Ordering;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Error, Result};

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Sampling {
    /// 0 takes the most probable token; otherwise logits are divided by this.
    pub temperature: f32,
    /// Only this many of the most probable tokens are considered; 0 considers all.
    pub top_k: usize,
    /// Only the most probable tokens whose probabilities sum up to this are considered; 1 considers all.
    pub top_p: f32,
    /// Same seed, same text.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            seed: 42,
        }
    }
}

/// A [`Sampling`] at work on one sequence.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Sampler {
    /// Starts with the seed.
    ///
    /// # Errors
    /// [`Error::Setting`] for a temperature below 0 or a `top_p` outside `(0, 1]`.
    pub fn new(sampling: Sampling) -> Result<Self> {
        let wrong = |name, value: f32, expected| {
            Err(Error::Setting {
                name,
                value: value.to_string(),
                expected,
            })
        };
        if !(sampling.temperature >= 0.0 && sampling.temperature.is_finite()) {
            return wrong(
                "temperature",
                sampling.temperature,
                "a number from 0 (greedy) up",
            );
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            return wrong(
                "top-p",
                sampling.top_p,
                "above 0 and at most 1 (1 considers all tokens)",
            );
        }
        Ok(Self {
            sampling,
            random: ChaCha8Rng::seed_from_u64(sampling.seed),
        })
    }

    /// The next token. Ties go to the lower id.
    ///
    /// # Errors
    /// [`Error::NanLogit`]: the model's weights are broken.
    pub fn next(&mut self, logits: &[f32]) -> Result<u32> {
        if let Some(token) = logits.iter().position(|logit| logit.is_nan()) {
            return Err(Error::NanLogit { token });
        }
        let better = |&a: &usize, &b: &usize| {
            logits[b]
                .partial_cmp(&logits[a])
                .unwrap_or(Ordering::Equal)
                .then(a.cmp(&b))
        };
        if self.sampling.temperature == 0.0 {
            return Ok((0..logits.len()).min_by(better).unwrap_or(0) as u32);
        }
        let mut tokens: Vec<usize> = (0..logits.len()).collect();
        let top_k = self.sampling.top_k;
        if (1..tokens.len()).contains(&top_k) {
            tokens.select_nth_unstable_by(top_k - 1, better);
            tokens.truncate(top_k);
        }
        tokens.sort_unstable_by(better);
        let max = f64::from(logits[tokens[0]]);
        if !max.is_finite() {
            return Err(Error::NanLogit { token: tokens[0] });
        }
        let temperature = f64::from(self.sampling.temperature);
        let mut weights: Vec<f64> = tokens
            .iter()
            .map(|&token| ((f64::from(logits[token]) - max) / temperature).exp())
            .collect();
        let wanted = f64::from(self.sampling.top_p) * weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let nucleus = weights.iter().position(|weight| {
            sum += weight;
            sum >= wanted
        });
        weights.truncate(nucleus.map_or(weights.len(), |last| last + 1));
        let mut left = self.random.random::<f64>() * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        Ok(tokens[chosen.unwrap_or(weights.len() - 1)] as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(sampling: Sampling, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling).unwrap();
        (0..count).map(|_| sampler.next(logits).unwrap()).collect()
    }

    #[test]
    fn greedy_takes_the_lower_id_of_a_tie() {
        assert_eq!(draw(Sampling::default(), &[0.0, 3.0, 3.0, 1.0], 2), [1, 1]);
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let sampling = Sampling {
            temperature: 1.0,
            seed: 7,
            ..Sampling::default()
        };
        let logits = [0.0, 0.5, 1.0, 0.2];
        assert_eq!(draw(sampling, &logits, 50), draw(sampling, &logits, 50));
        assert_ne!(
            draw(sampling, &logits, 50),
            draw(
                Sampling {
                    seed: 8,
                    ..sampling
                },
                &logits,
                50
            )
        );
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let sampling = Sampling {
            temperature: 2.0,
            ..Sampling::default()
        };
        let tokens = draw(sampling, &[0.0, 2.0 * 3f32.ln()], 4000);
        let share = tokens.iter().filter(|&&token| token == 1).count() as f64 / 4000.0;
        assert!(
            (share - 0.75).abs() < 0.03,
            "expected e^(logit / 2), 3 to 1, got {share}"
        );
    }

    #[test]
    fn top_k_and_top_p_leave_the_rest_out() {
        let logits = [1.0, 3.0, 2.0, 0.0];
        let top_k = Sampling {
            temperature: 5.0,
            top_k: 2,
            ..Sampling::default()
        };
        assert!(
            draw(top_k, &logits, 500)
                .iter()
                .all(|token| [1, 2].contains(token))
        );
        // The two most probable hold 0.88 of the mass at temperature 1, the first alone 0.64.
        let top_p = Sampling {
            temperature: 1.0,
            top_p: 0.7,
            ..Sampling::default()
        };
        let tokens = draw(top_p, &logits, 500);
        assert!(tokens.iter().all(|token| [1, 2].contains(token)) && tokens.contains(&2));
    }

    #[test]
    fn bad_settings_and_nan_are_errors() {
        let error = |sampling| Sampler::new(sampling).unwrap_err().to_string();
        assert!(
            error(Sampling {
                temperature: -1.0,
                ..Sampling::default()
            })
            .contains("-1")
        );
        assert!(
            error(Sampling {
                temperature: f32::NAN,
                ..Sampling::default()
            })
            .contains("NaN")
        );
        assert!(
            error(Sampling {
                top_p: 0.0,
                ..Sampling::default()
            })
            .contains("top-p")
        );
        let mut sampler = Sampler::new(Sampling::default()).unwrap();
        assert!(matches!(
            sampler.next(&[0.0, f32::NAN]),
            Err(Error::NanLogit { token: 1 })
        ));
    }
}
