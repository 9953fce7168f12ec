//! F1 over words (English) and over segmented words (Chinese), without order.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::LazyLock;

use regex::Regex;

use super::segment::segment;
use super::words::{is_space, words};

/// Runs of what Python's `\w` matches, between which its `\b` stands.
static WORD_RUNS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("a pattern that a test has used"));

/// The marks that LongBench drops from Chinese beside the ASCII ones.
const CHINESE_PUNCTUATION: &str = "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏.";

/// LongBench's `qa_f1_score`: lower case, without ASCII punctuation and articles; from 0 to 1.
pub(super) fn english(prediction: &str, truth: &str) -> f64 {
    let (prediction, truth) = (normalized(prediction), normalized(truth));
    let prediction: Vec<_> = words(&prediction).collect();
    let truth: Vec<_> = words(&truth).collect();
    f1(&prediction, &truth)
}

/// LongBench's `qa_f1_zh_score`: jieba's words, each without punctuation and white space; from 0 to 1.
pub(super) fn chinese(prediction: &str, truth: &str) -> f64 {
    f1(&chinese_words(prediction), &chinese_words(truth))
}

fn normalized(text: &str) -> String {
    let plain: String = text
        .to_lowercase()
        .chars()
        .filter(|letter| !letter.is_ascii_punctuation())
        .collect();
    WORD_RUNS
        .replace_all(&plain, |run: &regex::Captures<'_>| match &run[0] {
            "a" | "an" | "the" => " ".to_owned(),
            word => word.to_owned(),
        })
        .into_owned()
}

fn chinese_words(text: &str) -> Vec<String> {
    let dropped = |letter: char| {
        is_space(letter) || letter.is_ascii_punctuation() || CHINESE_PUNCTUATION.contains(letter)
    };
    segment(text)
        .into_iter()
        .map(|word| {
            word.to_lowercase()
                .chars()
                .filter(|&letter| !dropped(letter))
                .collect()
        })
        .filter(|word: &String| !word.is_empty())
        .collect()
}

/// 2 p r / (p + r) over the words in common, each as often as both have it.
fn f1<T: Eq + Hash>(prediction: &[T], truth: &[T]) -> f64 {
    let mut left: HashMap<&T, usize> = HashMap::new();
    for word in truth {
        *left.entry(word).or_default() += 1;
    }
    let mut same = 0_usize;
    for word in prediction {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            same += 1;
        }
    }
    if same == 0 {
        return 0.0;
    }
    let precision = same as f64 / prediction.len() as f64;
    let recall = same as f64 / truth.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_are_whole_words() {
        assert_eq!(
            words(&normalized("The_a theory, an apple-an; A.")).collect::<Vec<_>>(),
            ["thea", "theory", "applean"]
        );
        // A combining accent is no letter to Python: the article before it goes.
        assert_eq!(normalized("a\u{301}b"), " \u{301}b");
    }

    #[test]
    fn words_count_as_often_as_both_have_them() {
        assert_eq!(english("red red blue", "red green"), 0.4);
        assert_eq!(english("x", "y"), 0.0);
        assert_eq!(english("the", "a"), 0.0, "nothing is left of either");
    }

    #[test]
    fn chinese_words_lose_their_punctuation() {
        assert_eq!(
            chinese("北京，大学。", "北京大学！"),
            f1(&["北京", "大学"], &["北京大学"])
        );
        assert_eq!(chinese("Ａ“天气”", "天气 a"), 0.5);
        assert_eq!(chinese("。", "好"), 0.0);
    }
}
