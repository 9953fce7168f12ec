//! Budgets, windows and selection: what holds for every setting and every prompt.

use std::collections::BTreeSet;

use ndarray::Array3;
use proptest::prelude::*;
use windowkv_ref::methods::{Kept, LayerInput, Method, Selection, WindowKv};
use windowkv_ref::policy::{
    BudgetRule, ModelPreset, ModelShape, Strategy as Scoring, WindowKvConfig, Windows,
    layer_budgets, top_indices,
};
use windowkv_ref::{Error, attention, softmax_scale};
use windowkv_tests::random::tensor;
use windowkv_tests::schedule::cases;

const RULES: [BudgetRule; 3] = [BudgetRule::Released, BudgetRule::Paper, BudgetRule::Uniform];

/// Budgets of the groups, after checking that every layer of a group has the same.
fn group_budgets(
    rule: BudgetRule,
    groups: usize,
    shared: usize,
    capacity: usize,
    beta: usize,
) -> Vec<usize> {
    let layers = layer_budgets(rule, groups * shared, shared, capacity, beta).unwrap();
    assert_eq!(layers.len(), groups * shared);
    for group in layers.chunks(shared) {
        assert!(group.iter().all(|budget| *budget == group[0]), "{layers:?}");
    }
    layers.into_iter().step_by(shared).collect()
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn the_released_pyramid(
        groups in 2usize..40, shared in 1usize..20, beta in 1usize..30, capacity in 1usize..100_000,
    ) {
        prop_assume!(shared <= 2 * beta);
        let budgets = group_budgets(BudgetRule::Released, groups, shared, capacity, beta);
        let last = capacity * shared / beta;
        prop_assert_eq!((budgets[0], budgets[groups - 1]), (2 * capacity - last, last));
        // The mean is the capacity; what the floor of the step leaves over makes it larger, never smaller:
        // group h of 1 .. groups - 1 by less than h tokens.
        let sum: usize = budgets.iter().sum();
        let over = (groups - 1) * (groups - 2) / 2;
        prop_assert!((groups * capacity..=groups * capacity + over).contains(&sum), "{sum}");
        let falls = budgets.is_sorted_by(|a, b| a >= b);
        let rises = budgets.is_sorted();
        prop_assert!(if last <= capacity { falls } else { rises }, "{budgets:?}");
        let config = WindowKvConfig { capacity, shared_layers: shared, beta, ..WindowKvConfig::default() };
        prop_assert_eq!(config.pyramid_is_inverted(groups * shared), shared >= beta);
        // Steps are equal but for the last.
        for three in budgets[..groups - 1].windows(3) {
            prop_assert_eq!(three[0] + three[2], 2 * three[1]);
        }
    }

    #[test]
    fn the_papers_pyramid(
        groups in 2usize..40, shared in 1usize..20, beta in 1usize..30, capacity in 1usize..100_000,
    ) {
        let budgets = group_budgets(BudgetRule::Paper, groups, shared, capacity, beta);
        let share = capacity as f64 / beta as f64;
        prop_assert!((budgets[groups - 1] as f64 - share).abs() <= 0.5);
        prop_assert!((budgets[0] as f64 - (2.0 * capacity as f64 - share)).abs() <= 0.5);
        let sum: usize = budgets.iter().sum();
        prop_assert!(sum.abs_diff(groups * capacity) <= groups.div_ceil(2), "{sum}");
        prop_assert!(budgets.is_sorted_by(|a, b| a >= b), "{budgets:?}");
        // Whatever the group size is.
        prop_assert_eq!(&budgets, &group_budgets(BudgetRule::Paper, groups, 1, capacity, beta));
    }

    #[test]
    fn uniform_and_single_groups_get_the_capacity(
        groups in 1usize..40, shared in 1usize..20, beta in 1usize..30, capacity in 1usize..100_000,
    ) {
        let uniform = group_budgets(BudgetRule::Uniform, groups, shared, capacity, beta);
        prop_assert_eq!(uniform, vec![capacity; groups]);
        for rule in RULES {
            prop_assert_eq!(group_budgets(rule, 1, shared, capacity, beta), [capacity]);
        }
    }

    #[test]
    fn any_numbers_give_budgets_or_an_error(
        layers in 0usize..70, shared in 0usize..70, beta in prop_oneof![0usize..40, Just(usize::MAX)],
        capacity in prop_oneof![0usize..3, any::<usize>(), Just(usize::MAX)],
    ) {
        for rule in RULES {
            match layer_budgets(rule, layers, shared, capacity, beta) {
                Ok(budgets) => {
                    prop_assert!(layers > 0 && capacity > 0 && beta > 0 && layers % shared == 0);
                    // However large the capacity: the first group of a pyramid never gets less than the mean.
                    if rule != BudgetRule::Released || shared <= beta {
                        prop_assert!(budgets[0] as f64 >= capacity as f64 * (1.0 - 1e-15), "{rule:?}: {budgets:?}");
                    }
                }
                Err(Error::Zero { .. }) => prop_assert!([layers, shared, beta, capacity].contains(&0)),
                Err(Error::LayersNotDivisible { .. }) => prop_assert!(layers % shared != 0),
                Err(Error::NegativeBudget { .. }) => {
                    prop_assert!(rule == BudgetRule::Released && shared > 2 * beta);
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn windows_part_the_review_context(seqlen in 0usize..700, suffix in 0usize..80, window_len in 1usize..70) {
        let windows = Windows::new(seqlen, suffix, window_len).unwrap();
        prop_assert_eq!(windows.review_len(), seqlen.saturating_sub(suffix));
        let mut next = 0;
        for window in 0..windows.count() {
            let tokens = windows.tokens(window);
            prop_assert_eq!(tokens.start, next, "no gap, no overlap");
            let len = tokens.len();
            let is_last = window + 1 == windows.count();
            prop_assert!(len == window_len || is_last && (1..window_len).contains(&len), "{tokens:?}");
            next = tokens.end;
        }
        prop_assert_eq!(next, windows.review_len());
        let all: Vec<usize> = (0..windows.count()).collect();
        prop_assert_eq!(windows.positions(&all), (0..seqlen).collect::<Vec<_>>());
        let suffix_alone: Vec<usize> = (windows.review_len()..seqlen).collect();
        prop_assert_eq!(windows.positions(&[]), suffix_alone);
    }

    #[test]
    fn kept_windows_fit_the_budget(
        seqlen in 0usize..700, suffix in 1usize..80, window_len in 1usize..70, budget in 0usize..800,
    ) {
        let windows = Windows::new(seqlen, suffix, window_len).unwrap();
        let (review, kept) = (windows.review_len(), windows.kept_count(budget));
        prop_assert!(kept <= windows.count());
        prop_assert_eq!(windows.keeps_all(budget), review <= budget);
        if review <= budget {
            prop_assert_eq!(kept, windows.count());
            return Ok(());
        }
        // The most and the least tokens that so many windows can be.
        let most = (kept * window_len).min(review);
        prop_assert!(most < budget + window_len, "{kept} windows are {most} tokens");
        let dropped = (review - budget).div_ceil(window_len);
        if dropped * window_len >= review {
            prop_assert_eq!(kept, 0);
        } else {
            prop_assert_eq!(kept, windows.count() - dropped);
            prop_assert!(review - dropped * window_len + window_len > budget, "one window more would have fitted");
        }
        prop_assert!(windows.kept_count(budget + 1) >= kept, "a larger budget never keeps less");
    }

    #[test]
    fn selection_is_the_exact_top(
        values in prop::collection::vec(
            prop_oneof![
                4 => prop::sample::select(&[0.0, -0.0, 1.0, 2.0, -1.0, f64::INFINITY, f64::NEG_INFINITY][..]),
                1 => -2.0f64..2.0,
            ],
            0..60,
        ),
        count in 0usize..70,
    ) {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[b].partial_cmp(&values[a]).unwrap().then(a.cmp(&b)));
        order.truncate(count);
        order.sort_unstable();
        let found = top_indices(&values, count).unwrap();
        prop_assert!(found.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(found, order);
    }

    #[test]
    fn nan_is_never_selected_or_passed_over(
        mut values in prop::collection::vec(-2.0f64..2.0, 1..40), nans in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        count in 0usize..50,
    ) {
        let nans: BTreeSet<usize> = nans.iter().map(|at| at.index(values.len())).collect();
        for (sign, &at) in nans.iter().enumerate() {
            values[at] = if sign % 2 == 0 { f64::NAN } else { -f64::NAN };
        }
        prop_assert_eq!(top_indices(&values, count), Err(*nans.first().unwrap()));
    }
}

#[derive(Debug, Clone)]
struct Sequence {
    config: WindowKvConfig,
    model: ModelShape,
    seqlen: usize,
    seed: u64,
}

fn any_sequence() -> impl Strategy<Value = Sequence> {
    let rule = prop::sample::select(&RULES[..]);
    let strategy = prop::sample::select(&[Scoring::Average, Scoring::Max][..]);
    (
        (1usize..=3, 1usize..=3, 1usize..=2, 1usize..=3),
        (1usize..120, 1usize..20, 1usize..20, 1usize..16),
        (rule, strategy, 0usize..4),
        prop_oneof![1usize..30, 1usize..260],
        any::<u64>(),
    )
        .prop_map(
            |(
                model,
                (capacity, window_len, suffix_len, beta),
                (budget_rule, strategy, pooling),
                seqlen,
                seed,
            )| {
                let (groups, shared_layers, num_heads_kv, queries) = model;
                Sequence {
                    config: WindowKvConfig {
                        capacity,
                        window_len,
                        suffix_len,
                        shared_layers,
                        beta: beta.max(shared_layers.div_ceil(2)),
                        budget_rule,
                        strategy,
                        top_tokens: None,
                        score_pooling: 2 * pooling + 1,
                    },
                    model: ModelShape {
                        num_layers: groups * shared_layers,
                        num_heads_q: num_heads_kv * queries,
                        num_heads_kv,
                        head_dim: 4,
                    },
                    seqlen,
                    seed,
                }
            },
        )
}

impl Sequence {
    /// Every layer has tensors of its own, so that layers that keep the same do so because they share.
    fn run(&self) -> Vec<Selection<f64>> {
        let mut selector = WindowKv::new(self.config.clone())
            .start(self.model, self.seqlen)
            .unwrap();
        let select = |layer: usize| {
            let of = |offset: u64, heads: usize| -> Array3<f64> {
                let seed = self.seed.wrapping_add(2 * layer as u64 + offset);
                tensor(seed, (self.seqlen, heads, self.model.head_dim), 3.0)
            };
            let (q, k) = (
                of(0, self.model.num_heads_q),
                of(1, self.model.num_heads_kv),
            );
            let scale = softmax_scale(self.model.head_dim);
            let lse = attention::prefill(q.view(), k.view(), k.view(), scale)
                .unwrap()
                .lse;
            let input = LayerInput {
                q: q.view(),
                k: k.view(),
                lse: lse.view(),
                softmax_scale: scale,
            };
            let selection = selector.select(layer, &input).unwrap();
            assert!(
                selection.kept.len(self.seqlen) <= selector.max_kept(layer),
                "layer {layer}"
            );
            assert_eq!(
                selection.kept.cache_heads(self.model.num_heads_kv),
                selector.cache_heads(layer)
            );
            selection
        };
        (0..self.model.num_layers).map(select).collect()
    }
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn what_a_sequence_keeps(sequence in any_sequence()) {
        let Sequence { config, model, seqlen, .. } = &sequence;
        let (seqlen, suffix) = (*seqlen, config.suffix_len.min(*seqlen));
        let budgets = config.layer_budgets(model.num_layers).unwrap();
        let windows = Windows::new(seqlen, config.suffix_len, config.window_len).unwrap();
        let selections = sequence.run();
        for (layer, (selection, budget)) in selections.iter().zip(&budgets).enumerate() {
            let kept: Vec<usize> = selection.kept.positions(0, seqlen).collect();
            prop_assert_eq!(kept.len(), selection.kept.len(seqlen));
            prop_assert!(kept.is_sorted_by(|a, b| a < b), "ascending, unique: {kept:?}");
            prop_assert!(kept.iter().all(|&position| position < seqlen));
            prop_assert!(kept.len() < budget + suffix + config.window_len, "layer {layer} keeps {}", kept.len());
            let tail = &kept[kept.len() - suffix..];
            prop_assert_eq!(tail, (seqlen - suffix..seqlen).collect::<Vec<_>>(), "the suffix stays");
            prop_assert_eq!(selection.kept == Kept::All, seqlen - suffix <= *budget, "all when it fits, and only then");

            let choice = selection.windows.as_ref().unwrap();
            prop_assert_eq!(windows.positions(&choice.windows), kept, "whole windows");
            prop_assert_eq!(choice.windows.len(), windows.kept_count(*budget));
            let leader = layer - layer % config.shared_layers;
            prop_assert_eq!(&selection.kept, &selections[leader].kept, "a group shares");
            prop_assert_eq!(&selection.windows, &selections[leader].windows);
            if let Some(scores) = &selection.scores {
                prop_assert_eq!(layer, leader, "only leaders are scored");
                let mut order: Vec<usize> = (0..windows.count()).collect();
                order.sort_by(|&a, &b| scores[[0, b]].total_cmp(&scores[[0, a]]).then(a.cmp(&b)));
                order.truncate(choice.windows.len());
                order.sort_unstable();
                prop_assert_eq!(&order, &choice.windows, "the best scores");
            } else if layer == leader {
                prop_assert!(choice.leader.is_none() && [0, windows.count()].contains(&choice.windows.len()));
            }
        }
        prop_assert_eq!(&selections, &sequence.run(), "same input, same choice");
    }

    #[test]
    fn a_longer_prompt_never_keeps_more_than_its_budget(sequence in any_sequence()) {
        let Sequence { config, model, .. } = &sequence;
        let method = WindowKv::new(config.clone());
        let budgets = config.layer_budgets(model.num_layers).unwrap();
        for seqlen in (1..300).chain([1000, 4097, 1 << 20, 1 << 40]) {
            let selector = Method::<f64>::start(&method, *model, seqlen).unwrap();
            for (layer, budget) in budgets.iter().enumerate() {
                let most = budget + config.suffix_len + config.window_len - 1;
                prop_assert!(selector.max_kept(layer) <= most.min(seqlen), "{seqlen} tokens, layer {layer}");
            }
        }
    }
}

#[test]
fn every_preset_fits_its_model() {
    for (preset, layers) in [
        (ModelPreset::LLAMA3, 32),
        (ModelPreset::QWEN2_5, 28),
        (ModelPreset::RELEASED_LLAMA3, 32),
    ] {
        let budgets = layer_budgets(
            BudgetRule::Released,
            layers,
            preset.shared_layers,
            2048,
            preset.beta,
        )
        .unwrap();
        assert_eq!(budgets.len(), layers);
        assert!(preset.max_input_len > 4000 && preset.shared_layers < preset.beta);
    }
}
