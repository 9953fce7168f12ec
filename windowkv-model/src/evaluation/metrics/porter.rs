//! Porter's stemmer as NLTK has it: M. F. Porter, "An algorithm for suffix stripping" (1980), with the extensions of
//! NLTK's default mode, which `rouge_score` uses. Snowball's stemmers, the ones that crates offer, differ from it.

/// Words with a stem of their own.
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Suffixes of step 2 and what comes in their place; the first that fits is the only one tried.
const STEP_2: [(&str, &str); 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

const STEP_3: [(&str, &str); 7] = [
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

const STEP_4: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou",
    "ism", "ate", "iti", "ous", "ive", "ize",
];

/// The stem of a word of lower-case ASCII letters and digits.
pub(super) fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == word) {
        return (*stem).to_owned();
    }
    if word.len() <= 2 {
        return word.to_owned();
    }
    let word = step_1a(word.to_owned());
    let word = step_1b(word);
    let word = step_1c(word);
    let word = step_2(word);
    let word = replace_first(word, &STEP_3, |stem| measure(stem) > 0);
    let word = step_4(word);
    let word = step_5a(word);
    step_5b(word)
}

fn step_1a(word: String) -> String {
    if word.len() == 4 && word.ends_with("ies") {
        return cut(&word, 1);
    }
    let rules = [("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];
    replace_first(word, &rules, |_| true)
}

fn step_1b(word: String) -> String {
    if word.ends_with("ied") {
        return cut(&word, if word.len() == 4 { 1 } else { 2 });
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return if measure(stem) > 0 {
            cut(&word, 1)
        } else {
            word
        };
    }
    let stem = ["ed", "ing"]
        .iter()
        .filter_map(|suffix| word.strip_suffix(suffix))
        .find(|stem| has_vowel(stem));
    let Some(stem) = stem else { return word };
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        return format!("{stem}e");
    }
    if ends_double_consonant(stem) {
        return if stem.ends_with(['l', 's', 'z']) {
            stem.to_owned()
        } else {
            cut(stem, 1)
        };
    }
    if measure(stem) == 1 && ends_cvc(stem) {
        return format!("{stem}e");
    }
    stem.to_owned()
}

/// The `y` after a consonant, unless that is the whole stem.
fn step_1c(word: String) -> String {
    match word.strip_suffix('y') {
        Some(stem) if stem.len() > 1 && consonants(stem).last() == Some(&true) => {
            format!("{stem}i")
        }
        _ => word,
    }
}

fn step_2(word: String) -> String {
    if let Some(stem) = word.strip_suffix("alli")
        && measure(stem) > 0
    {
        return step_2(format!("{stem}al"));
    }
    if STEP_2.iter().all(|(suffix, _)| !word.ends_with(suffix)) {
        // The `l` counts as the stem's, so that `geology` is stemmed like `archaeology`.
        return match word.strip_suffix("logi") {
            Some(_) if measure(&word[..word.len() - 3]) > 0 => cut(&word, 1),
            _ => word,
        };
    }
    replace_first(word, &STEP_2, |stem| measure(stem) > 0)
}

fn step_4(word: String) -> String {
    let Some(suffix) = STEP_4.iter().find(|suffix| word.ends_with(**suffix)) else {
        return word;
    };
    let stem = &word[..word.len() - suffix.len()];
    if measure(stem) > 1 && (*suffix != "ion" || stem.ends_with(['s', 't'])) {
        return stem.to_owned();
    }
    word
}

fn step_5a(word: String) -> String {
    match word.strip_suffix('e') {
        Some(stem) if measure(stem) > 1 || (measure(stem) == 1 && !ends_cvc(stem)) => {
            stem.to_owned()
        }
        _ => word,
    }
}

fn step_5b(word: String) -> String {
    if word.ends_with("ll") && measure(&word[..word.len() - 1]) > 1 {
        return cut(&word, 1);
    }
    word
}

/// Replaces the first suffix that the word has, if its stem fulfils the condition.
fn replace_first(word: String, rules: &[(&str, &str)], condition: impl Fn(&str) -> bool) -> String {
    let found = rules
        .iter()
        .find_map(|(suffix, replacement)| Some((word.strip_suffix(suffix)?, replacement)));
    match found {
        Some((stem, replacement)) if condition(stem) => format!("{stem}{replacement}"),
        _ => word,
    }
}

/// The word without its last `bytes`.
fn cut(word: &str, bytes: usize) -> String {
    word[..word.len() - bytes].to_owned()
}

/// Whether each letter is a consonant: all but a, e, i, o, u and a `y` after a consonant.
fn consonants(word: &str) -> Vec<bool> {
    let mut flags: Vec<bool> = Vec::with_capacity(word.len());
    for byte in word.bytes() {
        flags.push(match byte {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => !flags.last().copied().unwrap_or(false),
            _ => true,
        });
    }
    flags
}

/// Porter's m: how often a vowel is followed by a consonant.
fn measure(stem: &str) -> usize {
    let pairs = consonants(stem);
    pairs.windows(2).filter(|pair| !pair[0] && pair[1]).count()
}

fn has_vowel(stem: &str) -> bool {
    consonants(stem).contains(&false)
}

fn ends_double_consonant(word: &str) -> bool {
    let bytes = word.as_bytes();
    let [.., before, last] = bytes else {
        return false;
    };
    before == last && consonants(word).last() == Some(&true)
}

/// Consonant, vowel, consonant at the end, the last not w, x or y; or a word of a vowel and a consonant.
fn ends_cvc(word: &str) -> bool {
    match consonants(word).as_slice() {
        [.., true, false, true] => !word.ends_with(['w', 'x', 'y']),
        [false, true] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::stem;

    /// Words for every rule and every condition, with the stems that NLTK 3.10.4 gives.
    #[test]
    fn stems_are_those_of_nltk() {
        let pairs = include_str!("porter_nltk.txt");
        let mut count = 0;
        for line in pairs.lines() {
            let (word, expected) = line.split_once(' ').expect("a word and its stem");
            assert_eq!(stem(word), expected, "{word}");
            count += 1;
        }
        assert!(count > 500, "{count} words");
    }
}
