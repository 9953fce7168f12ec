//! Quality against the bytes of the KV cache, a line for each method.

use super::color::LINES;
use super::svg::{Anchor, INK, PALE, Style, Svg};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 64.0;
/// Height of a line of labels.
const LABEL: f64 = 18.0;
/// Half of a marker.
const MARKER: f64 = 5.0;

/// A method's points.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The method's name.
    pub name: String,
    /// Bytes and quality from 0 to 1, by ascending bytes.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What is shown.
    pub title: String,
    /// How it was measured.
    pub subtitle: String,
    /// What quality is.
    pub quality: String,
    /// The methods.
    pub lines: Vec<Line>,
    /// Bytes and quality of the full cache, where it was measured.
    pub full: Option<(f64, f64)>,
}

impl Chart {
    /// The chart as SVG. Bytes are on a logarithmic scale.
    pub fn svg(&self) -> String {
        let mut svg = Svg::titled((WIDTH, HEIGHT), LEFT, &self.title, &self.subtitle);
        let axis = Axis::new(self);
        axis.draw(&mut svg, &self.quality);

        let mut labels = Vec::new();
        if let Some((bytes, quality)) = self.full {
            let y = axis.y(quality);
            svg.line(&[(LEFT, y), (axis.x(bytes), y)], PALE, 1.5, "6 4");
            svg.circle((axis.x(bytes), y), MARKER, PALE);
            labels.push(Label {
                from: (axis.x(bytes), y),
                y,
                color: PALE,
                text: "full cache".to_owned(),
            });
        }
        for (index, line) in self.lines.iter().enumerate() {
            let color = LINES[index % LINES.len()];
            let points: Vec<_> = line
                .points
                .iter()
                .map(|&(bytes, quality)| (axis.x(bytes), axis.y(quality)))
                .collect();
            svg.line(&points, color, 2.2, "");
            for &point in &points {
                marker(&mut svg, index, point, color);
            }
            if let Some(&last) = points.last() {
                labels.push(Label {
                    from: last,
                    y: last.1,
                    color,
                    text: line.name.clone(),
                });
            }
        }
        place(&mut labels);
        let x = WIDTH - RIGHT + 24.0;
        for label in &labels {
            svg.line(
                &[
                    (label.from.0 + MARKER + 2.0, label.from.1),
                    (x - 5.0, label.y),
                ],
                label.color,
                0.8,
                "2 3",
            );
            let style = Style {
                fill: label.color,
                bold: true,
                ..Style::plain(13.0, Anchor::Start)
            };
            svg.text((x, label.y + 4.5), style, &label.text);
        }
        svg.finish()
    }
}

struct Label<'a> {
    from: (f64, f64),
    y: f64,
    color: &'a str,
    text: String,
}

/// Moves labels apart so that none overlaps, in the order of their lines' ends.
fn place(labels: &mut [Label<'_>]) {
    labels.sort_by(|a, b| a.y.total_cmp(&b.y));
    let bottom = HEIGHT - BOTTOM;
    for index in 1..labels.len() {
        labels[index].y = labels[index].y.max(labels[index - 1].y + LABEL);
    }
    let mut limit = bottom;
    for label in labels.iter_mut().rev() {
        label.y = label.y.min(limit);
        limit = label.y - LABEL;
    }
}

/// Each line has a shape of its own beside its colour.
fn marker(svg: &mut Svg, index: usize, (x, y): (f64, f64), color: &str) {
    let r = MARKER;
    match index % 4 {
        0 => svg.circle((x, y), r, color),
        1 => svg.polygon(
            &[
                (x - r, y - r),
                (x + r, y - r),
                (x + r, y + r),
                (x - r, y + r),
            ],
            color,
        ),
        2 => svg.polygon(
            &[(x, y - 1.3 * r), (x + 1.2 * r, y + r), (x - 1.2 * r, y + r)],
            color,
        ),
        _ => svg.polygon(
            &[
                (x, y - 1.4 * r),
                (x + 1.4 * r, y),
                (x, y + 1.4 * r),
                (x - 1.4 * r, y),
            ],
            color,
        ),
    }
}

/// Where bytes and quality lie in the picture.
struct Axis {
    /// Logarithms to base 2 of the least and the most bytes.
    low: f64,
    high: f64,
}

impl Axis {
    fn new(chart: &Chart) -> Self {
        let bytes = chart
            .lines
            .iter()
            .flat_map(|line| line.points.iter())
            .chain(&chart.full)
            .map(|(bytes, _)| bytes.max(1.0).log2());
        let (low, high) = bytes.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        });
        if low > high {
            return Self {
                low: 10.0,
                high: 11.0,
            };
        }
        let margin = ((high - low) * 0.04).max(0.1);
        Self {
            low: low - margin,
            high: high + margin,
        }
    }

    fn x(&self, bytes: f64) -> f64 {
        let share = (bytes.max(1.0).log2() - self.low) / (self.high - self.low);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, quality: f64) -> f64 {
        TOP + (1.0 - quality) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, svg: &mut Svg, quality: &str) {
        let label = |anchor| Style {
            fill: PALE,
            ..Style::plain(12.0, anchor)
        };
        let right = WIDTH - RIGHT;
        for percent in [0, 20, 40, 60, 80, 100] {
            let y = self.y(f64::from(percent) / 100.0);
            svg.line(&[(LEFT, y), (right, y)], "#e6e8eb", 1.0, "");
            svg.text(
                (LEFT - 10.0, y + 4.0),
                label(Anchor::End),
                &format!("{percent} %"),
            );
        }
        let bottom = HEIGHT - BOTTOM;
        // A tick for each power of two, or fewer when there are many.
        let every = ((self.high - self.low) / 8.0).ceil().max(1.0) as usize;
        for exponent in (self.low.ceil() as i32..=self.high.floor() as i32).step_by(every) {
            let x = self.x(f64::from(exponent).exp2());
            svg.line(&[(x, bottom), (x, bottom + 6.0)], INK, 1.0, "");
            svg.text(
                (x, bottom + 22.0),
                label(Anchor::Middle),
                &power_of_two(exponent),
            );
        }
        svg.line(&[(LEFT, bottom), (right, bottom)], INK, 1.0, "");
        let below = ((LEFT + right) / 2.0, bottom + 46.0);
        svg.text(
            below,
            Style::plain(13.0, Anchor::Middle),
            "KV cache of a prompt (log scale)",
        );
        let turned = Style {
            turn: -90.0,
            ..Style::plain(13.0, Anchor::Middle)
        };
        svg.text((20.0, (TOP + bottom) / 2.0), turned, quality);
    }
}

/// `2^exponent` bytes with their unit.
fn power_of_two(exponent: i32) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let exponent = exponent.clamp(0, 59);
    format!(
        "{} {}",
        1 << (exponent % 10),
        UNITS[(exponent / 10) as usize]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap_and_stay_inside() {
        for ys in [
            [70.0; 7],
            [410.0; 7],
            [100.0, 101.0, 300.0, 301.0, 302.0, 410.0, 415.0],
        ] {
            let mut labels: Vec<Label<'_>> = ys
                .into_iter()
                .map(|y| Label {
                    from: (0.0, y),
                    y,
                    color: INK,
                    text: String::new(),
                })
                .collect();
            place(&mut labels);
            for pair in labels.windows(2) {
                assert!(pair[1].y - pair[0].y >= LABEL - 1e-9);
            }
            assert!(
                labels
                    .iter()
                    .all(|label| label.y >= 0.0 && label.y <= HEIGHT - BOTTOM)
            );
        }
    }

    #[test]
    fn a_chart_of_one_point_or_none_is_drawn() {
        let mut chart = Chart {
            title: "T".to_owned(),
            subtitle: String::new(),
            quality: "exact".to_owned(),
            lines: Vec::new(),
            full: None,
        };
        assert!(!chart.svg().contains("NaN"));
        chart.full = Some((1e6, 1.0));
        let svg = chart.svg();
        assert!(
            svg.contains("full cache") && !svg.contains("NaN") && !svg.contains("inf"),
            "{svg}"
        );
    }

    #[test]
    fn ticks_have_units() {
        assert_eq!(
            [9, 10, 19, 20, 31].map(power_of_two),
            ["512 B", "1 KiB", "512 KiB", "1 MiB", "2 GiB"]
        );
    }
}
