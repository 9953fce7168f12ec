//! The few shapes that the pictures are made of, as SVG text.

use std::fmt::Write as _;

/// The font of all text; the embedded one for PNG.
pub(super) const FONT: &str = "Inter";
/// Colour of text and axes.
pub(super) const INK: &str = "#1f2328";
/// Colour of what stands back.
pub(super) const PALE: &str = "#59636e";

/// Where text stands from its point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style<'a> {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) anchor: Anchor,
    pub(super) fill: &'a str,
    /// Degrees, clockwise.
    pub(super) turn: f64,
}

impl Style<'_> {
    pub(super) const fn plain(size: f64, anchor: Anchor) -> Self {
        Self {
            size,
            bold: false,
            anchor,
            fill: INK,
            turn: 0.0,
        }
    }
}

/// A picture on white. Coordinates are pixels from the upper left corner.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let mut svg = Self {
            width,
            height,
            body: String::new(),
        };
        svg.rect((0.0, 0.0), (width, height), "#ffffff");
        svg
    }

    /// A picture with a title and what stands below it, from `left` on.
    pub(super) fn titled(
        (width, height): (f64, f64),
        left: f64,
        title: &str,
        subtitle: &str,
    ) -> Self {
        let mut svg = Self::new(width, height);
        let bold = Style {
            bold: true,
            ..Style::plain(16.0, Anchor::Start)
        };
        svg.text((left, 26.0), bold, title);
        let pale = Style {
            fill: PALE,
            ..Style::plain(12.5, Anchor::Start)
        };
        svg.text((left, 46.0), pale, subtitle);
        svg
    }

    pub(super) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        self.element(&format!(
            r#"<rect x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" fill="{fill}"/>"#
        ));
    }

    /// A line through points; `dash` is an SVG dash array, or empty.
    pub(super) fn line(&mut self, points: &[(f64, f64)], stroke: &str, width: f64, dash: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.2},{y:.2}"))
            .collect();
        let dash = match dash {
            "" => String::new(),
            dash => format!(r#" stroke-dasharray="{dash}""#),
        };
        self.element(&format!(
            r#"<polyline points="{}" fill="none" stroke="{stroke}" stroke-width="{width}" stroke-linejoin="round"{dash}/>"#,
            points.join(" ")
        ));
    }

    /// A filled shape with a white edge.
    pub(super) fn polygon(&mut self, points: &[(f64, f64)], fill: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.2},{y:.2}"))
            .collect();
        self.element(&format!(
            r##"<polygon points="{}" fill="{fill}" stroke="#ffffff" stroke-width="1.2"/>"##,
            points.join(" ")
        ));
    }

    pub(super) fn circle(&mut self, (x, y): (f64, f64), radius: f64, fill: &str) {
        self.element(&format!(
            r##"<circle cx="{x:.2}" cy="{y:.2}" r="{radius}" fill="{fill}" stroke="#ffffff" stroke-width="1.2"/>"##
        ));
    }

    /// Text whose baseline begins, has its middle, or ends at the point.
    pub(super) fn text(&mut self, (x, y): (f64, f64), style: Style<'_>, text: &str) {
        let anchor = match style.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if style.bold { 600 } else { 400 };
        let turn = match style.turn {
            0.0 => String::new(),
            turn => format!(r#" transform="rotate({turn} {x:.2} {y:.2})""#),
        };
        let Style { size, fill, .. } = style;
        self.element(&format!(
            r#"<text x="{x:.2}" y="{y:.2}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{fill}"{turn}>{}</text>"#,
            escape(text)
        ));
    }

    fn element(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    pub(super) fn finish(self) -> String {
        let Self {
            width,
            height,
            body,
        } = self;
        let mut svg = String::new();
        write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"{FONT}, Helvetica, Arial, sans-serif\">\n{body}</svg>\n"
        )
        .expect("a string takes text");
        svg
    }
}

/// Text as XML has it; characters that XML forbids become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                escaped.push(char::REPLACEMENT_CHARACTER);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_makes_a_picture() {
        let mut svg = Svg::new(100.0, 20.0);
        let text = "</text> & \"\u{0}\u{1b}\u{ffff}\u{4f60}";
        svg.text((1.0, 9.0), Style::plain(9.0, Anchor::Start), text);
        let svg = svg.finish();
        assert!(svg.contains("&lt;/text&gt; &amp; "), "{svg}");
        let png = super::super::png(&svg);
        assert_eq!(&png[1..4], b"PNG");
    }
}
