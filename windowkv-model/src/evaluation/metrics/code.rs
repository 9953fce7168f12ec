//! Similarity of one line of code.

/// LongBench's `code_sim_score`: the first line of the prediction that holds no comment and no back quote,
/// against the truth, by fuzzywuzzy's `ratio`; whole hundredths from 0 to 1.
pub(super) fn similarity(prediction: &str, truth: &str) -> f64 {
    let line = prediction
        .trim_start_matches('\n')
        .split('\n')
        .find(|line| !line.contains(['`', '#']) && !line.contains("//"))
        .unwrap_or("");
    ratio(line, truth) / 100.0
}

/// fuzzywuzzy's `ratio` with its Levenshtein library: 100 for equal texts, 0 if one is empty, else
/// 100 (1 - d / n) rounded, half to even, where d counts the characters to insert and delete and n all
/// characters.
fn ratio(left: &str, right: &str) -> f64 {
    if left == right {
        return 100.0;
    }
    if left.is_empty() || right.is_empty() {
        return 0.0;
    }
    let distance = rapidfuzz::distance::indel::distance(left.chars(), right.chars());
    let letters = left.chars().count() + right.chars().count();
    (100.0 * (1.0 - distance as f64 / letters as f64)).round_ties_even()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_line_of_code_counts() {
        assert_eq!(similarity("\n\n# note\nx = 1\ny = 2", "x = 1"), 1.0);
        assert_eq!(
            similarity("\n \nx", "x"),
            0.0,
            "a line of white space is a line"
        );
        assert_eq!(similarity("// only\n`comments`", "x"), 0.0);
        assert_eq!(similarity("# c", ""), 1.0, "nothing equals nothing");
        assert_eq!(similarity("x", ""), 0.0);
    }

    #[test]
    fn a_half_is_rounded_to_even() {
        // 1 - 14 / 16 = 0.125
        assert_eq!(ratio("abcdefgh", "hxyzuvwt"), 12.0);
        // 1 - 6 / 16 = 0.625
        assert_eq!(ratio("abcdefgh", "abcdexyz"), 62.0);
    }

    /// Characters that both have in this order, at most.
    fn common(x: &[char], y: &[char]) -> usize {
        let mut row = vec![0; y.len() + 1];
        for a in x {
            let mut diagonal = 0;
            for (j, b) in y.iter().enumerate() {
                let above = row[j + 1];
                row[j + 1] = if a == b {
                    diagonal + 1
                } else {
                    above.max(row[j])
                };
                diagonal = above;
            }
        }
        row[y.len()]
    }

    proptest! {
        #[test]
        fn the_ratio_is_twice_the_common_part(x in "[abcé ]{1,90}", y in "[abcé ]{1,90}") {
            let (a, b): (Vec<_>, Vec<_>) = (x.chars().collect(), y.chars().collect());
            let exact = 200.0 * common(&a, &b) as f64 / (a.len() + b.len()) as f64;
            prop_assert!((ratio(&x, &y) - exact).abs() <= 0.5 + 1e-9);
        }
    }
}
