//! ROUGE-L as the Python package `rouge` 1.0 computes it for summaries, which is what LongBench reports.
//!
//! A text is its sentences between full stops; each has its words between single spaces. With the
//! sets H and R of all different words of both texts, and U the union over all pairs of sentences of the
//! words in their longest common subsequence:
//!
//! p = |U| / |H|, r = |U| / |R|, f = 2 p r / (p + r + 1e-8)
//!
//! Of several longest common subsequences it matters which is taken, since U is a set of words: ties are
//! broken as the package does. Its recursion ends in an error on sentences of together a thousand words, for
//! which LongBench then reports 0; here they have their score.

use std::collections::HashSet;

use super::segment::segment;
use super::words::words;

/// LongBench's `rouge_score`, from 0 to 1 (reached up to 5e-9); 0 where a text is empty.
///
/// Takes time and bits of memory in proportion to the product of the longest sentences' words.
pub(super) fn english(prediction: &str, truth: &str) -> f64 {
    let (prediction, truth) = (sentences(prediction), sentences(truth));
    if prediction.is_empty() || truth.is_empty() {
        return 0.0;
    }
    let mut union = HashSet::new();
    for reference in &truth {
        for evaluated in &prediction {
            common_words(reference, evaluated, &mut union);
        }
    }
    let different = |sentences: &[Vec<&str>]| {
        let words: HashSet<&str> = sentences.iter().flatten().copied().collect();
        words.len() as f64
    };
    let precision = union.len() as f64 / different(&prediction);
    let recall = union.len() as f64 / different(&truth);
    2.0 * (precision * recall / (precision + recall + 1e-8))
}

/// LongBench's `rouge_zh_score`: the same over jieba's words.
pub(super) fn chinese(prediction: &str, truth: &str) -> f64 {
    english(&segment(prediction).join(" "), &segment(truth).join(" "))
}

/// Sentences as lists of words; one of white space alone has a single, empty word.
fn sentences(text: &str) -> Vec<Vec<&str>> {
    text.split('.')
        .filter(|sentence| !sentence.is_empty())
        .map(|sentence| {
            let mut found: Vec<_> = words(sentence).collect();
            if found.is_empty() {
                found.push("");
            }
            found
        })
        .collect()
}

/// Adds the words of the longest common subsequence of `reference` and `evaluated` to `union`.
fn common_words<'a>(reference: &[&'a str], evaluated: &[&str], union: &mut HashSet<&'a str>) {
    let width = evaluated.len();
    // Whether the step back from a pair of words that differ leads to the row above.
    let mut up = vec![0_u64; (reference.len() * width).div_ceil(64)];
    let mut above = vec![0_u32; width + 1];
    let mut row = vec![0_u32; width + 1];
    for (i, word) in reference.iter().enumerate() {
        for (j, other) in evaluated.iter().enumerate() {
            row[j + 1] = if word == other {
                above[j] + 1
            } else {
                if above[j + 1] > row[j] {
                    let cell = i * width + j;
                    up[cell / 64] |= 1 << (cell % 64);
                }
                above[j + 1].max(row[j])
            };
        }
        std::mem::swap(&mut above, &mut row);
    }
    let (mut i, mut j) = (reference.len(), width);
    while i > 0 && j > 0 {
        let cell = (i - 1) * width + j - 1;
        if reference[i - 1] == evaluated[j - 1] {
            union.insert(reference[i - 1]);
            i -= 1;
            j -= 1;
        } else if up[cell / 64] >> (cell % 64) & 1 == 1 {
            i -= 1;
        } else {
            j -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn f(same: f64, prediction: f64, truth: f64) -> f64 {
        let (p, r) = (same / prediction, same / truth);
        2.0 * (p * r / (p + r + 1e-8))
    }

    #[test]
    fn words_are_counted_once() {
        assert_eq!(english("a a b", "a b b"), f(2.0, 2.0, 2.0));
    }

    #[test]
    fn a_sentence_of_white_space_has_one_empty_word() {
        // The package's own arithmetic: both texts have an empty word, and it is common.
        assert_eq!(english("a. ", "b. "), f(1.0, 2.0, 2.0));
        assert_eq!(english("a. .", "b"), 0.0);
        assert_eq!(english(" ", " "), f(1.0, 1.0, 1.0));
        assert_eq!(english("..", "b"), 0.0);
    }

    #[test]
    fn ties_between_subsequences_go_as_in_the_package() {
        // Both "b a" and "c a" are longest; going left first takes the one nearer the truth's end.
        let mut union = HashSet::new();
        common_words(&["b", "c", "a"], &["c", "b", "a"], &mut union);
        assert_eq!(union, HashSet::from(["c", "a"]));
    }

    #[test]
    fn thousands_of_words_in_one_sentence_have_a_score() {
        let text: Vec<String> = (0..3000).map(|word| word.to_string()).collect();
        let text = text.join(" ");
        assert_eq!(english(&text, &text), f(1.0, 1.0, 1.0));
    }

    /// The length of the longest common subsequence, by the recursion that defines it.
    fn longest(x: &[&str], y: &[&str]) -> usize {
        match (x.split_last(), y.split_last()) {
            (Some((a, x_rest)), Some((b, y_rest))) if a == b => 1 + longest(x_rest, y_rest),
            (Some((_, x_rest)), Some((_, y_rest))) => longest(x_rest, y).max(longest(x, y_rest)),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn the_words_are_those_of_a_longest_common_subsequence(
            // Different words, so that the set of words is as large as the subsequence is long.
            x in Just(vec!["a", "b", "c", "d", "e", "f", "g"]).prop_shuffle(),
            y in Just(vec!["a", "b", "c", "d", "e", "f", "g"]).prop_shuffle(),
            drop in 0..7_usize,
        ) {
            let y = &y[drop..];
            let mut union = HashSet::new();
            common_words(&x, y, &mut union);
            prop_assert_eq!(union.len(), longest(&x, y));
        }

        #[test]
        fn a_score_is_a_share(x in "[abc. ]{0,20}", y in "[abc. ]{0,20}") {
            let score = english(&x, &y);
            prop_assert!((0.0..=1.0).contains(&score));
            prop_assert!(score < 1.0, "the package's epsilon keeps it below 1");
        }
    }
}
