//! Colours that people with any colour vision tell apart.

/// The scale of heat maps, viridis (S. van der Walt and N. Smith, 2015, CC0): dark is 0, bright is 1.
const VIRIDIS: [[u8; 3]; 9] = [
    [0x44, 0x01, 0x54],
    [0x47, 0x2d, 0x7b],
    [0x3b, 0x52, 0x8b],
    [0x2c, 0x72, 0x8e],
    [0x21, 0x91, 0x8c],
    [0x28, 0xae, 0x80],
    [0x5e, 0xc9, 0x62],
    [0xad, 0xdc, 0x30],
    [0xfd, 0xe7, 0x25],
];

/// Colours of lines, after M. Okabe and K. Ito (2008), the yellow darkened for a white ground.
pub(super) const LINES: [&str; 8] = [
    "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#000000",
];

/// The colour of a share from 0 to 1.
pub(super) fn scale(share: f64) -> String {
    let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place.floor() as usize).min(VIRIDIS.len() - 2);
    let part = place - below as f64;
    let mix = |channel: usize| {
        let (a, b) = (VIRIDIS[below][channel], VIRIDIS[below + 1][channel]);
        (f64::from(a) + part * (f64::from(b) - f64::from(a))).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

/// The colour of text on [`scale`]'s colour.
pub(super) fn ink_on(share: f64) -> &'static str {
    if share < 0.6 { "#ffffff" } else { "#1f2328" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_has_its_ends() {
        assert_eq!(
            [0.0, 1.0, 7.0, -1.0, 0.5].map(scale),
            ["#440154", "#fde725", "#fde725", "#440154", "#21918c"]
        );
    }
}
