//! What each method keeps of a prompt, to be looked at: one prefill, shown to every method.
//!
//! Prefill attends over the full prompt whatever is kept afterwards, so all methods choose from the same queries and
//! keys as in runs of their own: [`inspect`] makes the choices with the methods' own selectors and keeps no cache.
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
use crate::runner::Model;
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
    let mut observer = Observer::new(shape, seqlen);
    for compression in compressions {
        observer.add(&*compression.method(seqlen))?;
        if compression.kind == MethodKind::WindowKv {
            let config = compression.window_config(seqlen);
            let equal = WindowKvConfig {
                budget_rule: BudgetRule::Uniform,
                ..config.clone()
            };
            observer.add(&WindowKv::every_layer(config))?;
            observer.add(&WindowKv::every_layer(equal))?;
        }
    }
    model.llama.visit_layers(ids, &mut observer, progress)?;
    let mut choices = observer.finish().into_iter();
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
