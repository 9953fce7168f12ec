//! Naming one class out of a list.

/// LongBench's `classification_score`: 1 / n where the truth is among the n classes that the prediction
/// names, else 0.
///
/// Classes whose names are a part of the truth's are taken off the list while it is walked, as LongBench's
/// code does in place: after each that goes, the next one is not looked at and stays.
pub(super) fn share(prediction: &str, truth: &str, classes: &[String]) -> f64 {
    let mut named: Vec<&str> = classes
        .iter()
        .map(String::as_str)
        .filter(|class| prediction.contains(class))
        .collect();
    let mut at = 0;
    while let Some(&class) = named.get(at) {
        if class != truth && truth.contains(class) {
            // Of equal names the first goes, as from a Python list.
            let first = named.iter().position(|&other| other == class);
            named.remove(first.expect("it stands in the list"));
        }
        at += 1;
    }
    if named.contains(&truth) {
        1.0 / named.len() as f64
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_truth_shares_with_what_else_is_named() {
        let all = classes(&["red door", "blue door", "tower"]);
        assert_eq!(share("red door", "red door", &all), 1.0);
        assert_eq!(share("red door or tower", "red door", &all), 0.5);
        assert_eq!(share("tower", "red door", &all), 0.0);
        assert_eq!(share("", "red door", &all), 0.0);
    }

    #[test]
    fn the_class_after_one_that_goes_stays() {
        let all = classes(&["door", "red", "red door"]);
        assert_eq!(share("red door", "red door", &all), 0.5);
        let all = classes(&["door", "red door"]);
        assert_eq!(share("red door", "red door", &all), 1.0);
    }
}
