//! The page: one HTML file that holds its data, its style and its script, and loads nothing.
//!
//! The data is the JSON of [`Inspection`] with what is long packed, so that a prompt of many thousand tokens opens at
//! once. `arrays` are base64: scores as little-endian f32, and for heads that keep different tokens `ceil(heads / 8)`
//! bytes a token, whose bit `h` says whether head `h` keeps it. Equal arrays (SnapKV and PyramidKV score alike) are
//! stored once. Kept runs are flat lists of starts and ends.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::report::{Inspection, Layer, MethodView, Similarity, Span};

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(
    include_str!("page/data.js"),
    "\n",
    include_str!("page/text.js"),
    "\n",
    include_str!("page/overview.js"),
    "\n",
    include_str!("page/layers.js"),
    "\n",
    include_str!("page/main.js"),
);

/// How a page begins: what `windowkv inspect` may write over.
pub const MARK: &str = "<!doctype html>\n<!-- Made by windowkv inspect -->\n";

/// The page that shows an inspection. Any text is safe in it.
pub fn html(inspection: &Inspection) -> String {
    let data = packed(inspection).to_string();
    // The only letter by which data could end its element or begin a comment; it stands in JSON strings alone.
    let data = data.replace('<', "\\u003c");
    let parts = [
        ("/* page.css */", STYLE),
        ("/* data */", &data),
        ("/* page.js */", SCRIPT),
    ];
    let mut page = String::with_capacity(TEMPLATE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = TEMPLATE;
    for (place, part) in parts {
        let (before, after) = rest.split_once(place).expect("the template has this place");
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    page
}

/// Base64 strings, each once.
#[derive(Default)]
struct Arrays {
    index: HashMap<String, usize>,
}

impl Arrays {
    fn add(&mut self, bytes: &[u8]) -> usize {
        let next = self.index.len();
        *self
            .index
            .entry(BASE64_STANDARD.encode(bytes))
            .or_insert(next)
    }

    fn finish(self) -> Vec<String> {
        let mut arrays: Vec<_> = self.index.into_iter().collect();
        arrays.sort_unstable_by_key(|&(_, index)| index);
        arrays.into_iter().map(|(array, _)| array).collect()
    }
}

fn packed(inspection: &Inspection) -> Value {
    let mut arrays = Arrays::default();
    let tokens = inspection.prompt.pieces.len();
    let methods: Vec<Value> = inspection
        .methods
        .iter()
        .map(|method| packed_method(method, tokens, &mut arrays))
        .collect();
    json!({
        "version": inspection.version, "model": inspection.model, "prompt": inspection.prompt,
        "task": inspection.task, "notes": inspection.notes, "methods": methods, "arrays": arrays.finish(),
    })
}

fn packed_method(method: &MethodView, tokens: usize, arrays: &mut Arrays) -> Value {
    let layers: Vec<Value> = method
        .layers
        .iter()
        .map(|layer| packed_layer(layer, tokens, arrays))
        .collect();
    let similarity: Vec<Value> = method.similarity.iter().map(packed_similarity).collect();
    json!({
        "method": method.method, "title": method.title, "unit": method.unit, "windows": method.windows,
        "always_kept": method.always_kept, "groups": method.groups, "layers": layers, "similarity": similarity,
    })
}

fn packed_layer(layer: &Layer, tokens: usize, arrays: &mut Arrays) -> Value {
    let flat = |spans: &[Span]| json!({"heads": 1, "spans": spans.iter().flat_map(|span| [span.0, span.1]).collect::<Vec<_>>()});
    let kept = match layer.kept.as_slice() {
        [spans] => flat(spans),
        heads => json!({"heads": heads.len(), "mask": arrays.add(&mask(heads, tokens))}),
    };
    let scores = layer.scores.as_ref().map(|scores| {
        let bytes: Vec<u8> = scores
            .iter()
            .flat_map(|score| score.to_le_bytes())
            .collect();
        arrays.add(&bytes)
    });
    json!({
        "kept_tokens": layer.kept_tokens, "kept": kept, "own": layer.own.as_deref().map(flat), "scores": scores,
    })
}

/// `ceil(heads / 8)` bytes a token.
fn mask(heads: &[Vec<Span>], tokens: usize) -> Vec<u8> {
    let stride = heads.len().div_ceil(8);
    let mut mask = vec![0; tokens * stride];
    for (head, spans) in heads.iter().enumerate() {
        for token in spans.iter().flat_map(|span| span.0..span.1) {
            mask[token * stride + head / 8] |= 1 << (head % 8);
        }
    }
    mask
}

/// Three decimals: more than a colour shows.
fn packed_similarity(similarity: &Similarity) -> Value {
    let rounded =
        |value: &Option<f32>| value.map(|value| (f64::from(value) * 1000.0).round() / 1000.0);
    let matrix: Vec<Vec<_>> = similarity
        .matrix
        .iter()
        .map(|row| row.iter().map(rounded).collect())
        .collect();
    json!({
        "budgets": similarity.budgets, "mean_inside": similarity.mean_inside,
        "mean_across": similarity.mean_across, "matrix": matrix,
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::{ModelInfo, Prompt};
    use super::*;

    fn inspection(pieces: &[&str]) -> Inspection {
        Inspection {
            version: "0",
            model: ModelInfo {
                name: "</script><script>alert(1)</script>".to_owned(),
                num_layers: 1,
                num_heads_q: 1,
                num_heads_kv: 1,
                head_dim: 2,
            },
            prompt: Prompt {
                source: "<!--<script>".to_owned(),
                pieces: pieces.iter().map(|&piece| piece.to_owned()).collect(),
                ..Prompt::default()
            },
            task: None,
            task_score: None,
            methods: Vec::new(),
            notes: vec!["/* page.js */".to_owned()],
        }
    }

    fn data_of(page: &str) -> &str {
        let (_, rest) = page.split_once("id=\"data\">").unwrap();
        rest.split_once("</script>").unwrap().0
    }

    #[test]
    fn no_text_leaves_its_place() {
        let pieces = [
            "</script>",
            "<!--",
            "\0\u{1b}\r\n",
            "\u{2028}\u{fffd}\u{202e}",
            "/* page.js */",
            "&lt;\"'",
        ];
        let page = html(&inspection(&pieces));
        assert_eq!(page.matches("</script").count(), 2);
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("<!--").count(), 1);
        assert!(!page.contains('\0') && !page.contains('\u{1b}') && !page.contains('\r'));
        let data: Value = serde_json::from_str(data_of(&page)).unwrap();
        assert_eq!(data["prompt"]["pieces"], json!(pieces));
        assert_eq!(data["notes"], json!(["/* page.js */"]));
        assert!(page.starts_with(MARK));
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = html(&inspection(&["a"]));
        for outside in [
            "http:",
            "https:",
            "src=",
            "@import",
            "url(",
            "<link",
            "fetch(",
            "XMLHttpRequest",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn masks_have_a_bit_for_each_head() {
        let mut heads = vec![vec![]; 9];
        heads[0] = vec![Span(0, 2)];
        heads[8] = vec![Span(1, 3)];
        assert_eq!(mask(&heads, 3), [1, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn equal_arrays_are_stored_once() {
        let mut arrays = Arrays::default();
        let indices = [arrays.add(b"one"), arrays.add(b"two"), arrays.add(b"one")];
        assert_eq!(indices, [0, 1, 0]);
        assert_eq!(arrays.finish(), ["b25l", "dHdv"]);
    }
}
