//! Text as Python sees it: what the metrics' published numbers rest on.

use std::sync::LazyLock;

use regex::Regex;

/// What Python's `\d` matches: decimal digits of any script.
static DIGITS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\p{Nd}+").expect("a pattern that a test has used"));

/// Whether Python's `str.split` splits there: Unicode white space and the four ASCII separators.
pub(super) fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

/// The words between white space, as Python's `str.split()` gives them.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The runs of digits in `text`, as Python's `re.findall(r"\d+", text)` gives them.
pub(super) fn numbers(text: &str) -> impl Iterator<Item = &str> {
    DIGITS.find_iter(text).map(|found| found.as_str())
}

/// The share of the numbers in `text` that are `wanted`, compared as they are written; 0 without any.
pub(super) fn share_of_numbers(text: &str, wanted: &str) -> f64 {
    let (mut right, mut all) = (0_usize, 0_usize);
    for number in numbers(text) {
        right += usize::from(number == wanted);
        all += 1;
    }
    right as f64 / all.max(1) as f64
}

/// The number that follows `label` where it first does, as `re.findall(label + r"(\d+)", text)[0]`.
pub(super) fn number_after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.match_indices(label).find_map(|(at, _)| {
        let rest = &text[at + label.len()..];
        DIGITS
            .find(rest)
            .filter(|found| found.start() == 0)
            .map(|found| found.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_pythons() {
        let found: Vec<_> = words(" a\u{a0}b\u{1c}c\u{3000}d\r\n").collect();
        assert_eq!(found, ["a", "b", "c", "d"]);
        assert_eq!(words(" \t").count(), 0);
    }

    #[test]
    fn numbers_are_compared_as_they_are_written() {
        assert_eq!(
            numbers("1.50 and x07, ٣").collect::<Vec<_>>(),
            ["1", "50", "07", "٣"]
        );
        assert_eq!(share_of_numbers("7 07 7", "7"), 2.0 / 3.0);
        assert_eq!(share_of_numbers("none", "7"), 0.0);
    }

    #[test]
    fn the_first_label_with_a_number_counts() {
        let text = "Paragraph x, Paragraph 12, Paragraph 3";
        assert_eq!(number_after(text, "Paragraph "), Some("12"));
        assert_eq!(number_after("Paragraph  3", "Paragraph "), None);
        assert_eq!(number_after("段落7。", "段落"), Some("7"));
    }
}
