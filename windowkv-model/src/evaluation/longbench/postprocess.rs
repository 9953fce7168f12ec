//! What of a model's text counts as its answer.

use super::Dataset;

/// The answer in `text`: of datasets with one-line answers the first line that is not empty, else all of it.
pub fn answer(dataset: Dataset, text: &str) -> &str {
    if dataset.is_one_line() {
        let text = text.trim_start_matches('\n');
        text.split('\n').next().unwrap_or(text)
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_that_go_on_are_cut() {
        let text = "\n\nlocation\nQuestion: more\n";
        for dataset in Dataset::all() {
            let expected = match dataset.name() {
                "trec" | "triviaqa" | "samsum" | "lsht" => "location",
                _ => text,
            };
            assert_eq!(answer(dataset, text), expected, "{dataset}");
        }
        assert_eq!(answer("trec".parse().unwrap(), ""), "");
        assert_eq!(answer("trec".parse().unwrap(), " \nx"), " ");
    }
}
