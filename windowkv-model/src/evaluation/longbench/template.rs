//! A dataset's prompt: a text with places for the context and the question.

/// A template in the form of Python's `str.format`: `{context}` and `{input}` are filled in, `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Context,
    Input,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// What is wrong with it, to follow "the template".
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let name = match (brace, rest.split_once('}')) {
                ("{", Some((name, after))) => {
                    rest = after;
                    name
                }
                ("{", None) => return Err("has a { without }; write {{ for a brace".to_owned()),
                _ => return Err("has a } without {; write }} for a brace".to_owned()),
            };
            let part = match name {
                "context" => Part::Context,
                "input" => Part::Input,
                other => {
                    return Err(format!(
                        "names the field {other:?}; there are {{context}} and {{input}}"
                    ));
                }
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(part);
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The prompt for a context and a question.
    pub fn fill(&self, context: &str, input: &str) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Context => context,
            Part::Input => input,
        });
        texts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_once_and_braces_stay() {
        let template = Template::parse("{{{context}}} {input}{input}{{").unwrap();
        assert_eq!(template.fill("{input}", "q"), "{{input}} qq{");
        assert_eq!(Template::parse("").unwrap().fill("c", "i"), "");
    }

    #[test]
    fn what_cannot_be_filled_is_refused() {
        for (text, part) in [
            ("a {question}", "\"question\""),
            ("{}", "\"\""),
            ("{context!r}", "context!r"),
            ("a {context", "{ without }"),
            ("a } b", "} without {"),
        ] {
            let reason = Template::parse(text).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }
}
