//! Operations a second against operations a byte, below the roof of a machine.

use super::color::LINES;
use super::svg::{Anchor, PALE, Style, Svg};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 58.0;

/// One kernel at one size.
#[derive(Debug, Clone, PartialEq)]
pub struct RoofPoint {
    /// Points of one series have one colour.
    pub series: String,
    /// Operations for each byte that has to be moved, above 0.
    pub intensity: f64,
    /// Operations a second, above 0.
    pub rate: f64,
}

/// A chart; both axes are logarithmic.
#[derive(Debug, Clone, PartialEq)]
pub struct Roofline {
    /// What is shown.
    pub title: String,
    /// How it was measured.
    pub subtitle: String,
    /// Bytes a second that the machine moves.
    pub bytes_per_second: f64,
    /// Operations a second that it computes, where it is known.
    pub operations_per_second: Option<f64>,
    /// The kernels.
    pub points: Vec<RoofPoint>,
}

/// A logarithmic scale from whole powers of ten.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logs = values.filter(|value| *value > 0.0).map(f64::log10);
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| {
            (low.min(log), high.max(log))
        });
        let low = if low.is_finite() { low.floor() } else { 0.0 };
        let high = high.ceil().max(low + 1.0);
        Self {
            low,
            high,
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10f64.powi(power))
    }
}

impl Roofline {
    /// The chart as SVG.
    pub fn svg(&self) -> String {
        let ridge = self
            .operations_per_second
            .map(|operations| operations / self.bytes_per_second);
        let across = self.points.iter().map(|p| p.intensity);
        let x = Scale::new(across.chain(ridge), LEFT, WIDTH - RIGHT);
        let down = self.points.iter().map(|p| p.rate);
        let y = Scale::new(down.chain(self.operations_per_second), HEIGHT - BOTTOM, TOP);
        let mut svg = Svg::titled((WIDTH, HEIGHT), LEFT, &self.title, &self.subtitle);
        let pale = |size, anchor| Style {
            fill: PALE,
            ..Style::plain(size, anchor)
        };
        for tick in x.ticks() {
            let at = x.at(tick);
            svg.line(&[(at, TOP), (at, HEIGHT - BOTTOM)], "#e5e8eb", 1.0, "");
            let label = (at, HEIGHT - BOTTOM + 18.0);
            svg.text(label, pale(12.0, Anchor::Middle), &format!("{tick}"));
        }
        for tick in y.ticks() {
            let at = y.at(tick);
            svg.line(&[(LEFT, at), (WIDTH - RIGHT, at)], "#e5e8eb", 1.0, "");
            let label = (LEFT - 8.0, at + 4.0);
            svg.text(label, pale(12.0, Anchor::End), &format!("{}", tick / 1e12));
        }
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        svg.text(
            (middle, HEIGHT - 16.0),
            Style::plain(13.0, Anchor::Middle),
            "operations for each byte that has to be moved",
        );
        let turned = Style {
            turn: -90.0,
            ..Style::plain(13.0, Anchor::Middle)
        };
        svg.text((20.0, (TOP + HEIGHT - BOTTOM) / 2.0), turned, "TFLOP/s");
        self.roof(&mut svg, &x, &y, ridge);

        let mut series: Vec<&str> = Vec::new();
        for point in &self.points {
            let index = series.iter().position(|name| *name == point.series);
            let index = index.unwrap_or_else(|| {
                series.push(&point.series);
                series.len() - 1
            });
            let color = LINES[index % LINES.len()];
            svg.circle((x.at(point.intensity), y.at(point.rate)), 5.0, color);
        }
        for (index, name) in series.iter().enumerate() {
            let at = TOP + 14.0 + 20.0 * index as f64;
            let color = LINES[index % LINES.len()];
            svg.circle((WIDTH - RIGHT + 20.0, at - 4.0), 5.0, color);
            let label = (WIDTH - RIGHT + 32.0, at);
            svg.text(label, Style::plain(12.5, Anchor::Start), name);
        }
        svg.finish()
    }

    /// What the machine can do: along its memory's slope, then along its arithmetic's level.
    fn roof(&self, svg: &mut Svg, x: &Scale, y: &Scale, ridge: Option<f64>) {
        let (left, right) = (10f64.powf(x.low), 10f64.powf(x.high));
        let bottom = 10f64.powf(y.low);
        // Where the slope comes in from below.
        let begin = left.max(bottom / self.bytes_per_second);
        let end = ridge.unwrap_or(right).min(right);
        let mut points = vec![
            (x.at(begin), y.at(begin * self.bytes_per_second)),
            (
                x.at(end),
                y.at((end * self.bytes_per_second).min(10f64.powf(y.high))),
            ),
        ];
        if let Some(operations) = self.operations_per_second {
            points.push((x.at(right), y.at(operations)));
        }
        svg.line(&points, PALE, 2.0, "6 4");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_below_the_roof_in_the_picture_too() {
        let chart = Roofline {
            title: "a <b>".to_owned(),
            subtitle: String::new(),
            bytes_per_second: 4e12,
            operations_per_second: Some(8e14),
            points: vec![
                RoofPoint {
                    series: "decode".to_owned(),
                    intensity: 4.0,
                    rate: 1e13,
                },
                RoofPoint {
                    series: "prefill".to_owned(),
                    intensity: 2000.0,
                    rate: 6e14,
                },
            ],
        };
        let svg = chart.svg();
        assert!(svg.contains("a &lt;b&gt;") && svg.contains("prefill"));
        assert_eq!(svg.matches("<circle").count(), 4);
        // Of no points, and without arithmetic's level.
        let empty = Roofline {
            points: Vec::new(),
            operations_per_second: None,
            ..chart
        };
        assert!(empty.svg().contains("TFLOP/s"));
        let png = super::super::png(&empty.svg());
        assert_eq!(&png[1..4], b"PNG");
    }
}
