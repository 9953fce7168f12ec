//! Stop strings in streamed text.

/// Passes text on as it comes, except what may be the beginning of a stop string.
#[derive(Debug)]
pub(super) struct StopStrings<'a> {
    stop: &'a [String],
    held: String,
}

impl<'a> StopStrings<'a> {
    pub(super) fn new(stop: &'a [String]) -> Self {
        Self {
            stop,
            held: String::new(),
        }
    }

    /// Takes a piece; returns what can be shown, and whether a stop string ended the text.
    pub(super) fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        let ends = self.stop.iter().filter(|stop| !stop.is_empty());
        if let Some(end) = ends
            .clone()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min()
        {
            self.held.truncate(end);
            return (std::mem::take(&mut self.held), true);
        }
        let is_beginning =
            |at: &usize| ends.clone().any(|stop| stop.starts_with(&self.held[*at..]));
        let starts = self.held.char_indices().map(|(at, _)| at);
        let keep = starts
            .into_iter()
            .find(is_beginning)
            .unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back when the text ended without a stop string.
    pub(super) fn finish(self) -> String {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_string_is_found_across_pieces_and_never_shown() {
        let stop = ["END".to_owned(), "\n\n".to_owned()];
        let mut strings = StopStrings::new(&stop);
        assert_eq!(strings.push("a E"), ("a ".to_owned(), false));
        assert_eq!(strings.push("N"), (String::new(), false));
        assert_eq!(strings.push("T\n"), ("ENT".to_owned(), false));
        assert_eq!(strings.push("bEND more"), ("\nb".to_owned(), true));
    }

    #[test]
    fn what_was_held_back_comes_at_the_end() {
        let stop = ["é!".to_owned(), String::new()];
        let mut strings = StopStrings::new(&stop);
        assert_eq!(strings.push("caf"), ("caf".to_owned(), false));
        assert_eq!(strings.push("é"), (String::new(), false));
        assert_eq!(strings.finish(), "é");
    }
}
