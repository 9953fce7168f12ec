//! Two panels over the prompt's length: speed and memory, a line for each series.

use super::color::LINES;
use super::svg::{Anchor, INK, Style, Svg};

const WIDTH: f64 = 980.0;
const HEIGHT: f64 = 420.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = 56.0;
const LEFT: f64 = 80.0;
const GAP: f64 = 90.0;
const LEGEND: f64 = 190.0;
/// Ticks of the vertical axis.
const TICKS: usize = 4;

/// One line in both panels.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it is of.
    pub name: String,
    /// Prompt length, left value, right value, by ascending length.
    pub points: Vec<(f64, f64, f64)>,
}

/// The picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    /// What is shown.
    pub title: String,
    /// How it was measured.
    pub subtitle: String,
    /// What the left and the right panel show.
    pub axes: [String; 2],
    /// The lines.
    pub series: Vec<Series>,
}

impl Growth {
    /// The picture as SVG. Lengths are on a logarithmic scale, values from 0 on.
    pub fn svg(&self) -> String {
        let mut svg = Svg::titled((WIDTH, HEIGHT), LEFT, &self.title, &self.subtitle);
        let width = (WIDTH - LEFT - GAP - LEGEND) / 2.0;
        for panel in 0..2 {
            self.panel(&mut svg, panel, LEFT + panel as f64 * (width + GAP), width);
        }
        for (index, series) in self.series.iter().enumerate() {
            let (x, y) = (WIDTH - LEGEND + 30.0, TOP + 12.0 + 20.0 * index as f64);
            let color = LINES[index % LINES.len()];
            svg.line(&[(x, y - 4.0), (x + 18.0, y - 4.0)], color, 2.2, "");
            svg.text(
                (x + 24.0, y),
                Style::plain(12.5, Anchor::Start),
                &series.name,
            );
        }
        svg.finish()
    }

    fn panel(&self, svg: &mut Svg, panel: usize, left: f64, width: f64) {
        let value = |point: &(f64, f64, f64)| if panel == 0 { point.1 } else { point.2 };
        let points = || self.series.iter().flat_map(|series| &series.points);
        let largest = points().map(value).fold(f64::MIN_POSITIVE, f64::max);
        let first = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let last = points().map(|point| point.0).fold(first, f64::max);
        let span = (last / first).ln();
        let x = |length: f64| match span > 0.0 {
            true => left + width * (length / first).ln() / span,
            false => left + width / 2.0,
        };
        let height = HEIGHT - TOP - BOTTOM;
        let y = |value: f64| TOP + height * (1.0 - value / largest);
        svg.text(
            (left, TOP - 10.0),
            Style::plain(12.5, Anchor::Start),
            &self.axes[panel],
        );
        for tick in 0..=TICKS {
            let value = largest * tick as f64 / TICKS as f64;
            svg.line(
                &[(left, y(value)), (left + width, y(value))],
                "#e4e4e4",
                1.0,
                "",
            );
            let label = match largest < 10.0 {
                true => format!("{value:.2}"),
                false => format!("{value:.0}"),
            };
            svg.text(
                (left - 8.0, y(value) + 4.0),
                Style::plain(11.0, Anchor::End),
                &label,
            );
        }
        let mut lengths: Vec<f64> = points().map(|point| point.0).collect();
        lengths.sort_by(f64::total_cmp);
        lengths.dedup();
        for length in lengths {
            let style = Style {
                fill: INK,
                ..Style::plain(11.0, Anchor::Middle)
            };
            svg.text(
                (x(length), HEIGHT - BOTTOM + 18.0),
                style,
                &format!("{length}"),
            );
        }
        let below = (left + width / 2.0, HEIGHT - BOTTOM + 40.0);
        svg.text(
            below,
            Style::plain(12.0, Anchor::Middle),
            "tokens of the prompt",
        );
        for (index, series) in self.series.iter().enumerate() {
            let color = LINES[index % LINES.len()];
            let line: Vec<_> = series
                .points
                .iter()
                .map(|p| (x(p.0), y(value(p))))
                .collect();
            svg.line(&line, color, 2.2, "");
            for &point in &line {
                svg.circle(point, 4.0, color);
            }
        }
    }
}
