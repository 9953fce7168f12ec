//! Heat maps in the paper's form: lengths across, depths down, one colour scale, the mean in the title.

use super::color::{ink_on, scale};
use super::svg::{Anchor, PALE, Style, Svg};

/// Room around the cells of a map.
const LEFT: f64 = 62.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 50.0;
const GAP: f64 = 22.0;
/// Room for the colour scale.
const SCALE_WIDTH: f64 = 84.0;
/// About the width of a character of a title.
const TITLE_CHARACTER: f64 = 8.2;
/// Maps in a row of an overview.
const COLUMNS: usize = 3;
/// The least cell that a number fits in.
const NUMBERED: (f64, f64) = (24.0, 14.0);
/// Labels of an axis that are at least so far apart.
const LABEL_ACROSS: f64 = 46.0;
const LABEL_DOWN: f64 = 14.0;

/// One method.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// The method and its capacity.
    pub title: String,
    /// Labels across.
    pub across: Vec<String>,
    /// Labels down.
    pub down: Vec<String>,
    /// Values from 0 to 1, a row for each label down; `None` where nothing was measured.
    pub values: Vec<Vec<Option<f64>>>,
    /// The mean, from 0 to 1.
    pub mean: f64,
}

/// What a map's axes and colours mean.
#[derive(Debug, Clone, Copy)]
struct Axes {
    across: &'static str,
    down: &'static str,
    scale: &'static str,
}

const AXES: Axes = Axes {
    across: "prompt length (tokens)",
    down: "depth of the needle (%)",
    scale: "Rouge-1 F1",
};

/// One map, as SVG.
pub fn heat_map(map: &HeatMap) -> String {
    let cell = cell(map, 520.0, 330.0);
    let (width, height) = size(map, cell);
    let picture = (width + GAP + SCALE_WIDTH).max(title_width(map));
    let mut svg = Svg::new(LEFT + picture, TOP + height + BOTTOM);
    draw(&mut svg, map, (LEFT, TOP), cell, true);
    color_scale(&mut svg, (LEFT + width + GAP, TOP), height);
    svg.finish()
}

/// All maps in one picture with one colour scale, as SVG. The maps have the same labels.
///
/// # Panics
/// When there is no map.
pub fn heat_maps(maps: &[HeatMap]) -> String {
    let columns = maps.len().min(COLUMNS);
    let rows = maps.len().div_ceil(columns);
    let cell = cell(&maps[0], 270.0, 200.0);
    let (width, height) = size(&maps[0], cell);
    let title = maps.iter().map(title_width).fold(0.0, f64::max);
    let (step_x, step_y) = (LEFT + width.max(title) + GAP, TOP + height + BOTTOM);
    let mut svg = Svg::new(columns as f64 * step_x + SCALE_WIDTH, rows as f64 * step_y);
    for (index, map) in maps.iter().enumerate() {
        let (column, row) = (index % columns, index / columns);
        let at = (column as f64 * step_x + LEFT, row as f64 * step_y + TOP);
        draw(&mut svg, map, at, cell, column == 0);
    }
    color_scale(&mut svg, (columns as f64 * step_x, TOP), height);
    svg.finish()
}

/// A cell's size, such that the map has about the size that is wanted.
fn cell(map: &HeatMap, width: f64, height: f64) -> (f64, f64) {
    let fit = |room: f64, cells: usize, least: f64, most: f64| {
        (room / cells.max(1) as f64).floor().clamp(least, most)
    };
    (
        fit(width, map.across.len(), 4.0, 96.0),
        fit(height, map.down.len(), 4.0, 48.0),
    )
}

fn title_width(map: &HeatMap) -> f64 {
    map.title.chars().count() as f64 * TITLE_CHARACTER
}

fn size(map: &HeatMap, cell: (f64, f64)) -> (f64, f64) {
    (
        cell.0 * map.across.len() as f64,
        cell.1 * map.down.len() as f64,
    )
}

/// Draws a map with the upper left corner of its cells at `(x, y)`.
fn draw(svg: &mut Svg, map: &HeatMap, (x, y): (f64, f64), cell: (f64, f64), name_down: bool) {
    let (width, height) = size(map, cell);
    let title = Style {
        bold: true,
        ..Style::plain(14.0, Anchor::Start)
    };
    svg.text((x, y - 26.0), title, &map.title);
    let mean = format!("mean {} {:.1}", AXES.scale, 100.0 * map.mean);
    svg.text((x, y - 9.0), Style::plain(12.0, Anchor::Start), &mean);
    for (row, values) in map.values.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            let at = (x + column as f64 * cell.0, y + row as f64 * cell.1);
            let Some(value) = *value else {
                svg.rect(at, cell, "#e6e8eb");
                continue;
            };
            svg.rect(at, cell, &scale(value));
            if cell.0 >= NUMBERED.0 && cell.1 >= NUMBERED.1 {
                let style = Style {
                    fill: ink_on(value),
                    ..Style::plain((cell.1 * 0.62).min(11.0), Anchor::Middle)
                };
                let center = (at.0 + cell.0 / 2.0, at.1 + cell.1 / 2.0 + style.size * 0.36);
                svg.text(center, style, &format!("{:.0}", 100.0 * value));
            }
        }
    }
    let label = |anchor| Style {
        fill: PALE,
        ..Style::plain(11.0, anchor)
    };
    for (index, text) in spaced(&map.across, cell.0, LABEL_ACROSS) {
        let center = x + (index as f64 + 0.5) * cell.0;
        svg.text((center, y + height + 16.0), label(Anchor::Middle), text);
    }
    for (index, text) in spaced(&map.down, cell.1, LABEL_DOWN) {
        let center = y + (index as f64 + 0.5) * cell.1;
        svg.text((x - 8.0, center + 4.0), label(Anchor::End), text);
    }
    let below = (x + width / 2.0, y + height + 36.0);
    svg.text(below, Style::plain(12.0, Anchor::Middle), AXES.across);
    if name_down {
        let turned = Style {
            turn: -90.0,
            ..Style::plain(12.0, Anchor::Middle)
        };
        svg.text((x - 44.0, y + height / 2.0), turned, AXES.down);
    }
}

/// The labels that stand at least `least` apart.
fn spaced(labels: &[String], cell: f64, least: f64) -> impl Iterator<Item = (usize, &String)> {
    let step = (least / cell).ceil().max(1.0) as usize;
    labels.iter().enumerate().step_by(step)
}

fn color_scale(svg: &mut Svg, (x, y): (f64, f64), height: f64) {
    const STEPS: usize = 100;
    let step = height / STEPS as f64;
    for index in 0..STEPS {
        let share = 1.0 - (index as f64 + 0.5) / STEPS as f64;
        // Each a little into the next, so that no line shows between them.
        let overlap = if index + 1 < STEPS { 0.5 } else { 0.0 };
        svg.rect(
            (x, y + index as f64 * step),
            (14.0, step + overlap),
            &scale(share),
        );
    }
    for tick in [0, 25, 50, 75, 100] {
        let at = y + height * (1.0 - f64::from(tick) / 100.0);
        let style = Style {
            fill: PALE,
            ..Style::plain(11.0, Anchor::Start)
        };
        svg.text((x + 20.0, at + 4.0), style, &tick.to_string());
    }
    let turned = Style {
        turn: 90.0,
        ..Style::plain(12.0, Anchor::Middle)
    };
    svg.text((x + 50.0, y + height / 2.0), turned, AXES.scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(across: usize, down: usize) -> HeatMap {
        let labels = |count: usize| (0..count).map(|label| label.to_string()).collect();
        HeatMap {
            title: "Method".to_owned(),
            across: labels(across),
            down: labels(down),
            values: vec![vec![Some(0.5); across]; down],
            mean: 0.5,
        }
    }

    #[test]
    fn every_cell_is_drawn_and_the_mean_is_told() {
        let mut with_gap = map(3, 4);
        with_gap.values[1][2] = None;
        let svg = heat_map(&with_gap);
        assert_eq!(svg.matches("#e6e8eb").count(), 1);
        assert_eq!(
            svg.matches(">50</text>").count(),
            3 * 4 - 1 + 1,
            "and the scale's tick"
        );
        assert!(svg.contains("mean Rouge-1 F1 50.0"), "{svg}");
        assert_eq!(
            heat_maps(&[map(3, 4), map(3, 4)])
                .matches("mean Rouge-1")
                .count(),
            2
        );
    }

    #[test]
    fn many_cells_have_fewer_labels() {
        let svg = heat_map(&map(200, 50));
        assert!(svg.matches("<text").count() < 80, "labels do not overlap");
    }
}
