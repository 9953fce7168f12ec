//! Rouge-1 with Porter stemming, as the released needle evaluation scores an answer: `rouge_score` 0.1.2 with
//! `use_stemmer=True`.

use std::collections::HashMap;

use super::porter;

/// Words up to this many letters are not stemmed.
const UNSTEMMED_LEN: usize = 3;

/// F1 of the words that `prediction` and `reference` have in common, from 0 to 1; 0 where either has no word.
///
/// Words are runs of ASCII letters and digits of the text in lower case, stemmed.
pub fn f1(prediction: &str, reference: &str) -> f64 {
    let (prediction, reference) = (words(prediction), words(reference));
    let total = |words: &HashMap<String, usize>| words.values().sum::<usize>();
    let common: usize = reference
        .iter()
        .map(|(word, &count)| count.min(prediction.get(word).copied().unwrap_or(0)))
        .sum();
    if common == 0 {
        return 0.0;
    }
    let precision = common as f64 / total(&prediction) as f64;
    let recall = common as f64 / total(&reference) as f64;
    2.0 * precision * recall / (precision + recall)
}

/// How often each word occurs.
fn words(text: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let text = text.to_lowercase();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let word = match word.len() {
            0 => continue,
            len if len <= UNSTEMMED_LEN => word.to_owned(),
            _ => porter::stem(word),
        };
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_rouge_score() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/metrics.jsonl");
        let mut count = 0;
        for line in std::fs::read_to_string(golden).unwrap().lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            if case["metric"] != "needle_rouge1" {
                continue;
            }
            let text = |field: &str| case[field].as_str().unwrap().to_owned();
            let found = f1(&text("prediction"), &text("ground_truth"));
            let expected = case["score"].as_f64().unwrap();
            assert!((found - expected).abs() <= 1e-6, "{case}: {found}");
            count += 1;
        }
        assert!(count > 0, "the golden file has such cases");
    }

    #[test]
    fn words_are_counted_once_each() {
        assert_eq!(f1("", "a word"), 0.0);
        assert_eq!(f1("...", "\u{4f60}\u{597d}"), 0.0);
        assert_eq!(f1("The CATS, jumping!", "the cat jumped"), 1.0);
        assert_eq!(f1("cat cat cat cat", "cat dog cat dog"), 0.5);
    }
}
