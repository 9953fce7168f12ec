//! A prompt as a sparse vector: hashed word and character n-grams of its first and last 2,000 characters.
//!
//! Instructions stand at the edges of a prompt and the context between them, so an n-gram counts by its distance
//! d (in characters) from the nearer edge: (200 / (200 + d))^2. Each n-gram counts once, where it stands nearest.
//! The vector has length 1. Only sums, products, quotients and square roots: the same bits on every machine.

use std::ops::Range;

/// How many characters of each end of a prompt are read.
pub const EDGE_CHARS: usize = 2000;
/// Length of the vector: n-grams are hashed to this many places.
pub const BUCKETS: usize = 1 << 17;

/// Distance from the edge, in characters, at which an n-gram counts a quarter.
const QUARTER_CHARS: f32 = 200.0;
/// Longest sequence of words that is one feature. A Chinese character is a word.
const MAX_WORDS: usize = 4;
/// Letters of the parts of words that are features: they bring `summarise` and `summary` together.
const PART_LETTERS: [usize; 2] = [4, 6];
/// Words at the very end that are features of their own: what the answer is to begin with.
const LAST_WORDS: usize = 4;

/// Letters of a word that are read: longer runs are data, or a text without spaces.
const MAX_LETTERS: usize = 24;

/// The places that are not zero, in the order of the text, and their values.
#[derive(Debug, Clone, PartialEq)]
pub struct Features(Vec<(u32, f32)>);

impl Features {
    /// The features of a prompt.
    pub fn new(prompt: &str) -> Self {
        let mut table = Table {
            values: vec![0.0; BUCKETS],
            places: Vec::with_capacity(1 << 13),
        };
        let (head, tail) = edges(prompt);
        table.edge(head, |start, _| start);
        table.edge(tail, |_, end| end);
        table.last_words(tail);
        let squares: f32 = table
            .places
            .iter()
            .map(|&place| table.values[place as usize].powi(2))
            .sum();
        let scale = if squares > 0.0 {
            1.0 / squares.sqrt()
        } else {
            0.0
        };
        let value = |place: u32| (place, table.values[place as usize] * scale);
        Self(table.places.iter().copied().map(value).collect())
    }

    /// Place and value of each feature.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.0.iter().map(|&(place, value)| (place as usize, value))
    }
}

/// The first and the last characters of a prompt; they overlap in a short one. What lies between is not touched.
fn edges(prompt: &str) -> (&str, &str) {
    let head_end = prompt
        .char_indices()
        .nth(EDGE_CHARS)
        .map_or(prompt.len(), |(at, _)| at);
    let tail_start = prompt
        .char_indices()
        .rev()
        .nth(EDGE_CHARS - 1)
        .map_or(0, |(at, _)| at);
    (&prompt[..head_end], &prompt[tail_start..])
}

struct Table {
    values: Vec<f32>,
    places: Vec<u32>,
}

/// A word in lower case: its letters' place in [`Words::letters`], and its distances in characters from the
/// beginning and the end of its edge.
struct Word {
    letters: Range<usize>,
    from_start: usize,
    to_end: usize,
}

/// The words of an edge.
struct Words {
    letters: Vec<char>,
    words: Vec<Word>,
}

impl Table {
    fn add(&mut self, hash: u64, weight: f32) {
        // The high bits of a product are its best mixed ones.
        let place = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BUCKETS.ilog2())) as u32;
        let value = &mut self.values[place as usize];
        if *value == 0.0 {
            self.places.push(place);
        }
        *value = value.max(weight);
    }

    fn edge(&mut self, text: &str, distance: impl Fn(usize, usize) -> usize) {
        let words = Words::new(text);
        for (index, word) in words.words.iter().enumerate() {
            let d = distance(word.from_start, word.to_end) as f32;
            let near = QUARTER_CHARS / (QUARTER_CHARS + d);
            let weight = near * near;
            let mut hash = 1;
            for following in words.words.iter().skip(index).take(MAX_WORDS) {
                hash = words.hash(following, hash);
                self.add(hash, weight);
            }
            words.parts(word, |part| self.add(part, weight));
        }
    }

    fn last_words(&mut self, tail: &str) {
        let words = Words::new(tail);
        let mut hash = 2;
        for word in words.words.iter().rev().take(LAST_WORDS) {
            hash = words.hash(word, hash);
            self.add(hash, 1.0);
        }
    }
}

impl Words {
    fn new(text: &str) -> Self {
        let len = text.chars().count();
        let mut words: Vec<Word> = Vec::with_capacity(len / 2);
        let mut letters = Vec::with_capacity(len);
        let mut open = false;
        for (at, letter) in text.chars().enumerate() {
            let alone = is_ideograph(letter) || matches!(letter, '?' | ':' | '？' | '：');
            if !alone && !letter.is_alphanumeric() {
                open = false;
                continue;
            }
            let letter = match letter {
                '？' => '?',
                '：' => ':',
                other => other.to_lowercase().next().unwrap_or(other),
            };
            match words.last_mut() {
                Some(word) if open && !alone => {
                    word.to_end = len - at - 1;
                    if word.letters.len() < MAX_LETTERS {
                        letters.push(letter);
                        word.letters.end += 1;
                    }
                }
                _ => {
                    words.push(Word {
                        letters: letters.len()..letters.len() + 1,
                        from_start: at,
                        to_end: len - at - 1,
                    });
                    letters.push(letter);
                }
            }
            open = !alone;
        }
        Self { letters, words }
    }

    fn letters(&self, word: &Word) -> &[char] {
        &self.letters[word.letters.clone()]
    }

    /// Continues the hash of the words before.
    fn hash(&self, word: &Word, before: u64) -> u64 {
        let start = step(before, ' ');
        self.letters(word)
            .iter()
            .fold(start, |hash, &letter| step(hash, letter))
    }

    /// Hashes of the parts of a word that is long enough; its edges count as letters.
    fn parts(&self, word: &Word, mut add: impl FnMut(u64)) {
        let letters = self.letters(word);
        if letters.len() < PART_LETTERS[0] {
            return;
        }
        let mut edged = ['<'; MAX_LETTERS + 2];
        edged[1..=letters.len()].copy_from_slice(letters);
        edged[letters.len() + 1] = '>';
        for len in PART_LETTERS {
            for part in edged[..letters.len() + 2].windows(len) {
                add(part.iter().fold(3, |hash, &letter| step(hash, letter)));
            }
        }
    }
}

/// FNV-1a over characters.
fn step(hash: u64, letter: char) -> u64 {
    (hash ^ u64::from(u32::from(letter))).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Characters that are written without spaces between words.
pub(super) fn is_ideograph(letter: char) -> bool {
    matches!(u32::from(letter), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff
        | 0x20000..=0x323af)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_and_ideographs_stand_alone() {
        let words = Words::new("Give a Summary，总结：ok?");
        let texts: Vec<String> = words
            .words
            .iter()
            .map(|word| words.letters(word).iter().collect())
            .collect();
        assert_eq!(texts, ["give", "a", "summary", "总", "结", ":", "ok", "?"]);
        let words = Words::new("ab cd").words;
        assert_eq!((words[0].from_start, words[0].to_end), (0, 3));
        assert_eq!((words[1].from_start, words[1].to_end), (3, 0));
        let run = Words::new(&"x".repeat(100));
        assert_eq!(run.letters(&run.words[0]).len(), MAX_LETTERS);
    }

    #[test]
    fn only_the_edges_are_read() {
        let edge = "问 what is it? ".repeat(200);
        let edge: String = edge.chars().take(EDGE_CHARS).collect();
        let with = |middle: &str| Features::new(&format!("{edge}{middle}{edge}"));
        assert_eq!(
            with("one middle"),
            with("quite another, much longer middle")
        );
        assert_ne!(with(""), Features::new(&format!("{edge}x")));
    }

    #[test]
    fn the_vector_has_length_one_and_an_empty_prompt_none() {
        for prompt in ["a", "what is it?", "总结", &"long text ".repeat(1000)] {
            let squares: f32 = Features::new(prompt)
                .iter()
                .map(|(_, value)| value * value)
                .sum();
            assert!((squares - 1.0).abs() < 1e-4, "{squares}");
        }
        for prompt in ["", " \n\t", "!!!"] {
            assert_eq!(Features::new(prompt).iter().count(), 0);
        }
    }

    #[test]
    fn an_n_gram_counts_where_it_stands_nearest_to_an_edge() {
        let far = format!("{} needle {}", "x ".repeat(300), "x ".repeat(900));
        let near = format!("needle {far}");
        let place = Features::new("needle").0[0].0;
        let value = |prompt: &str| {
            let features = Features::new(prompt);
            let value = features.iter().find(|(at, _)| *at == place as usize);
            value.expect("the word is there").1
        };
        assert!(
            value(&near) > 4.0 * value(&far),
            "{} {}",
            value(&near),
            value(&far)
        );
    }
}
