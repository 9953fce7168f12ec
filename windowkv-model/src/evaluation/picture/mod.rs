//! Pictures as SVG, and as PNG drawn from the same SVG with an embedded font, so that a machine needs none.

mod chart;
mod color;
mod growth;
mod heatmap;
mod roofline;
mod svg;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, fontdb};

pub use chart::{Chart, Line};
pub use growth::{Growth, Series};
pub use heatmap::{HeatMap, heat_map, heat_maps};
pub use roofline::{RoofPoint, Roofline};

use crate::{Result, files};

/// Pixels of a PNG for each unit of the SVG: sharp on dense screens and in print.
const SCALE: f32 = 2.0;

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(include_bytes!("../../../assets/inter/Inter-Regular.ttf").to_vec());
    fonts.load_font_data(include_bytes!("../../../assets/inter/Inter-SemiBold.ttf").to_vec());
    Arc::new(fonts)
});

/// Writes the picture `svg` as `<name>.svg` and `<name>.png` in the folder `dir`, over files of that name.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
///
/// # Panics
/// For text that is no SVG: a bug in the code that made it.
pub fn write(dir: &Path, name: &str, svg: &str) -> Result<()> {
    for (extension, bytes) in [("svg", svg.as_bytes()), ("png", &png(svg))] {
        let path = dir.join(format!("{name}.{extension}"));
        files::write_whole(&path, bytes)?;
    }
    Ok(())
}

/// The picture as PNG.
fn png(svg: &str) -> Vec<u8> {
    let options = usvg::Options {
        fontdb: FONTS.clone(),
        font_family: svg::FONT.to_owned(),
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(svg, &options).expect("the program writes valid SVG");
    let size = tree
        .size()
        .to_int_size()
        .scale_by(SCALE)
        .expect("a size above 0");
    let mut pixels = Pixmap::new(size.width(), size.height()).expect("a size above 0");
    resvg::render(
        &tree,
        Transform::from_scale(SCALE, SCALE),
        &mut pixels.as_mut(),
    );
    pixels.encode_png().expect("pixels make a PNG")
}
