//! What each method keeps of a prompt, to be looked at: one prefill, shown to every method.
//!
//! Prefill attends over the full prompt whatever is kept afterwards, so all methods choose from the same queries and
//! keys, to the bit, as in runs of their own: [`inspect`] makes the choices with the methods' own selectors and keeps no cache.
//! For WindowKV every layer is scored besides, to compare what the layers of a group would have chosen alone (the
//! paper's figure 2).
//!
//! ```text
//! inspect: prompt -> observe (choices of every layer) -> similarity -> Inspection -> JSON, or page::html
//! ```

mod bits;
mod estimate;
mod observe;
pub mod page;
mod report;
mod similarity;

use windowkv_ref::methods::{MethodKind, WindowKv};
use windowkv_ref::policy::{BudgetRule, WindowKvConfig, Windows};

pub use estimate::Estimate;
pub use report::{
    Budgets, Cut, Group, Inspection, Layer, MethodView, ModelInfo, Prompt, Similarity, Span, Unit,
    WindowGeometry,
};

use crate::Result;
use crate::runner::{LayerVisitor, Model};
use crate::settings::Compression;
use observe::{Choices, Observer};

/// Runs the prompt once and asks each method what it keeps.
///
/// `progress` is told the share of the work that is done, between 0 and 1.
///
/// # Errors
/// A prompt that does not fit the model, a method that does not fit the prompt, weights that changed or are broken.
pub fn inspect(
    model: &Model,
    ids: &[u32],
    prompt: Prompt,
    compressions: &[Compression],
    progress: &mut dyn FnMut(f64),
) -> Result<Inspection> {
    let seqlen = ids.len();
    let shape = model.llama.shape();
    let mut observers = Vec::new();
    for compression in compressions {
        observers.push(Observer::new(&*compression.method(seqlen), shape, seqlen)?);
        if compression.kind == MethodKind::WindowKv {
            let config = compression.window_config(seqlen);
            let equal = WindowKvConfig {
                budget_rule: BudgetRule::Uniform,
                ..config.clone()
            };
            for config in [config, equal] {
                observers.push(Observer::new(
                    &WindowKv::every_layer(config),
                    shape,
                    seqlen,
                )?);
            }
        }
    }
    let mut visitors: Vec<&mut dyn LayerVisitor> = Vec::new();
    visitors.extend(
        observers
            .iter_mut()
            .map(|observer| observer as &mut dyn LayerVisitor),
    );
    model.llama.visit_layers(ids, &mut visitors, progress)?;
    let mut choices = observers.into_iter().map(Observer::finish);
    let methods = compressions.iter().map(|compression| {
        let mut next = || choices.next().expect("one for each method that was added");
        match compression.kind {
            MethodKind::WindowKv => {
                let (shared, own, equal) = (next(), next(), next());
                windows_view(compression, seqlen, shared, own, &equal)
            }
            _ => Ok(tokens_view(compression, seqlen, next())),
        }
    });
    let methods = methods.collect::<Result<_>>()?;
    Ok(Inspection {
        version: env!("CARGO_PKG_VERSION"),
        model: ModelInfo::new(model),
        prompt,
        task: None,
        task_score: None,
        methods,
        notes: Vec::new(),
    })
}

/// WindowKV: what the groups keep, with the scores and the choice of each layer alone.
fn windows_view(
    compression: &Compression,
    seqlen: usize,
    shared: Choices,
    own: Choices,
    equal: &Choices,
) -> Result<MethodView> {
    let config = compression.window_config(seqlen);
    let windows = Windows::new(seqlen, config.suffix_len, config.window_len)?;
    let budgets = config.layer_budgets(shared.layers.len())?;
    let groups: Vec<Group> = budgets
        .chunks(config.shared_layers)
        .enumerate()
        .map(|(group, budgets)| Group {
            first_layer: group * config.shared_layers,
            layers: budgets.len(),
            kv_budget: budgets[0],
        })
        .collect();
    let similarity = vec![
        Similarity::new(Budgets::Layer, &own, &groups),
        Similarity::new(Budgets::Equal, equal, &groups),
    ];
    let layers = shared
        .layers
        .into_iter()
        .zip(own.layers)
        .map(|(shared, own)| Layer {
            kept_tokens: shared.kept_tokens,
            kept: shared.kept.iter().map(bits::Bits::spans).collect(),
            own: own.kept.first().map(bits::Bits::spans),
            scores: own.scores,
        })
        .collect();
    Ok(MethodView {
        method: compression.kind,
        title: compression.kind.title(),
        unit: Unit::Window,
        windows: Some(WindowGeometry {
            window_len: config.window_len,
            count: windows.count(),
        }),
        always_kept: seqlen - windows.review_len(),
        window_config: Some(config),
        token_config: None,
        groups,
        layers,
        similarity,
    })
}

/// The other methods: every layer chooses tokens for itself.
fn tokens_view(compression: &Compression, seqlen: usize, choices: Choices) -> MethodView {
    let groups: Vec<Group> = choices
        .layers
        .iter()
        .enumerate()
        .map(|(layer, choice)| Group {
            first_layer: layer,
            layers: 1,
            kv_budget: choice.max_kept,
        })
        .collect();
    let chooses = choices.layers.iter().any(|layer| layer.scores.is_some());
    let similarity = chooses
        .then(|| Similarity::new(Budgets::Layer, &choices, &groups))
        .into_iter()
        .collect();
    let full = compression.kind == MethodKind::FullKv;
    let config = (!full).then(|| compression.token_config(seqlen));
    MethodView {
        method: compression.kind,
        title: compression.kind.title(),
        unit: Unit::Token,
        windows: None,
        always_kept: config.map_or(seqlen, |config| config.recent_len.min(seqlen)),
        window_config: None,
        token_config: config,
        groups,
        layers: choices
            .layers
            .into_iter()
            .map(|choice| Layer {
                kept_tokens: choice.kept_tokens,
                kept: choice.kept.iter().map(bits::Bits::spans).collect(),
                own: None,
                scores: choice.scores,
            })
            .collect(),
        similarity,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{self, prompts};
    use crate::runner::{Request, Sampling, generate};
    use crate::settings::Capacity;
    use windowkv_ref::methods::{Granularity, TokenConfig};

    fn compressions(share: f64, granularity: Granularity) -> Vec<Compression> {
        let of_kind = |kind| Compression {
            kind,
            capacity: Capacity::Share(share),
            window: WindowKvConfig {
                shared_layers: 2,
                ..WindowKvConfig::default()
            },
            tokens: TokenConfig {
                granularity,
                ..TokenConfig::default()
            },
            recent_given: false,
        };
        MethodKind::ALL.map(of_kind).to_vec()
    }

    fn demo_ids(model: &Model, tokens: usize) -> Vec<u32> {
        let settings = prompts::PromptSettings {
            tokens,
            facts: 2,
            ..prompts::PromptSettings::default()
        };
        let prompt = prompts::prompt(&settings, demo::accuracy::HELD_OUT_SEED, 0).unwrap();
        model.tokenizer.encode(&prompt.text, true).unwrap()
    }

    fn run(model: &Model, ids: &[u32], compressions: &[Compression]) -> Inspection {
        let prompt = Prompt {
            pieces: vec![String::new(); ids.len()],
            ..Prompt::default()
        };
        inspect(model, ids, prompt, compressions, &mut |_| ()).unwrap()
    }

    fn indices(spans: &[Span]) -> Vec<usize> {
        spans.iter().flat_map(|span| span.0..span.1).collect()
    }

    #[test]
    fn every_method_keeps_what_it_keeps_in_a_run_of_its_own() {
        let model = Model::demo().unwrap();
        let ids = demo_ids(&model, 600);
        let compressions = compressions(0.15, Granularity::KvHead);
        let inspection = run(&model, &ids, &compressions);
        for (view, compression) in inspection.methods.iter().zip(&compressions) {
            let method = compression.method(ids.len());
            let prefilled = model.llama.prefill(&ids, &*method, 0, &mut |_| ()).unwrap();
            for (layer, selection) in view.layers.iter().zip(&prefilled.selections) {
                assert_eq!(layer.kept_tokens, selection.kept.len(ids.len()));
                let kept: Vec<Vec<usize>> = layer.kept.iter().map(|spans| indices(spans)).collect();
                if let Some(of_heads) = &selection.scores {
                    let mean = of_heads.mean_axis(ndarray::Axis(0)).unwrap();
                    assert_eq!(layer.scores, Some(mean.to_vec()), "to the bit");
                }
                match &selection.windows {
                    Some(choice) => assert_eq!(kept, std::slice::from_ref(&choice.windows)),
                    None => {
                        for (head, kept) in kept.iter().enumerate() {
                            let positions = selection.kept.positions(head, ids.len());
                            assert_eq!(*kept, positions.collect::<Vec<_>>());
                        }
                    }
                }
            }
            let request = Request {
                ids: &ids,
                method: &*method,
                max_new_tokens: 0,
                sampling: Sampling::default(),
                stop_strings: &[],
                ignore_stop_tokens: false,
            };
            let kv = generate(&model, &request, &mut |_| (), &mut |_| ())
                .unwrap()
                .kv;
            let kept: Vec<usize> = view.layers.iter().map(|layer| layer.kept_tokens).collect();
            assert_eq!(kept, kv.kept_per_layer);
        }
    }

    #[test]
    fn every_layer_of_windowkv_is_scored_and_compared() {
        let model = Model::demo().unwrap();
        let ids = demo_ids(&model, 600);
        let compressions = &compressions(0.15, Granularity::KvHead)[..1];
        let view = run(&model, &ids, compressions).methods.remove(0);
        let groups: Vec<(usize, usize)> = view
            .groups
            .iter()
            .map(|g| (g.first_layer, g.layers))
            .collect();
        assert_eq!(groups, [(0, 2), (2, 2), (4, 2), (6, 2)]);
        assert!(view.groups.is_sorted_by(|a, b| a.kv_budget > b.kv_budget));
        for (index, layer) in view.layers.iter().enumerate() {
            assert_eq!(
                layer.scores.as_ref().unwrap().len(),
                view.windows.unwrap().count
            );
            let own = indices(layer.own.as_ref().unwrap());
            let kept = indices(&layer.kept[0]);
            assert_eq!(own.len(), kept.len());
            assert_eq!(
                own == kept,
                index % 2 == 0,
                "layer {index}: leaders choose for themselves"
            );
        }
        let [own, equal] = &view.similarity[..] else {
            panic!("two comparisons");
        };
        assert_eq!(
            (own.budgets, equal.budgets),
            (Budgets::Layer, Budgets::Equal)
        );
        // By hand, for one pair.
        let (a, b) = (
            view.layers[2].own.as_ref().unwrap(),
            view.layers[5].own.as_ref().unwrap(),
        );
        let (a, b) = (indices(a), indices(b));
        let both = a.iter().filter(|window| b.contains(window)).count();
        let jaccard = both as f32 / (a.len() + b.len() - both) as f32;
        assert_eq!(own.matrix[2][5], Some(jaccard));
        assert_eq!(own.matrix[5][2], Some(jaccard));
        for similarity in &view.similarity {
            assert!((0..8).all(|layer| similarity.matrix[layer][layer] == Some(1.0)));
            let inside: f32 = (0..4)
                .map(|g| similarity.matrix[2 * g][2 * g + 1].unwrap())
                .sum();
            assert!((similarity.mean_inside.unwrap() - f64::from(inside) / 4.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_prompt_that_fits_its_budget_is_scored_all_the_same() {
        let model = Model::demo().unwrap();
        let ids = demo_ids(&model, 200);
        let inspection = run(&model, &ids, &compressions(1.0, Granularity::KvHead));
        let view = &inspection.methods[0];
        assert_eq!(view.layers[0].kept_tokens, ids.len());
        assert!(view.layers.iter().all(|layer| layer.scores.is_some()));
        // The suffix alone: no window to score.
        let view = &run(
            &model,
            &ids[..16],
            &compressions(1.0, Granularity::KvHead)[..1],
        )
        .methods[0];
        assert_eq!((view.windows.unwrap().count, view.always_kept), (0, 16));
        assert!(view.layers.iter().all(|layer| layer.scores.is_none()));
        assert_eq!(view.similarity[0].matrix[0][0], None);
    }

    #[test]
    fn query_heads_that_keep_their_own_tokens_are_all_shown() {
        let model = Model::demo().unwrap();
        let ids = demo_ids(&model, 300);
        let inspection = run(&model, &ids, &compressions(0.2, Granularity::QueryHead));
        let heads = |kind: MethodKind| {
            let view = inspection.methods.iter().find(|view| view.method == kind);
            view.unwrap().layers[3].kept.len()
        };
        assert_eq!((heads(MethodKind::SnapKv), heads(MethodKind::H2o)), (4, 4));
        assert_eq!(
            (heads(MethodKind::StreamingLlm), heads(MethodKind::FullKv)),
            (1, 1)
        );
    }
}
