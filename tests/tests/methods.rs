//! Every method: what must hold whatever the model, the prompt and the settings are.

use ndarray::{Array2, Array3, s};
use proptest::prelude::*;
use windowkv_ref::methods::{
    FullKv, Granularity, H2o, Kept, LayerInput, Method, MethodKind, Pooling, PyramidKv, Selection,
    Selector, SnapKv, StreamingLlm, TokenConfig, WindowKv,
};
use windowkv_ref::policy::{BudgetRule, ModelPreset, ModelShape, WindowKvConfig, layer_budgets};
use windowkv_ref::{Error, attention, cache, scoring, softmax_scale};
use windowkv_tests::random::tensor;
use windowkv_tests::schedule::cases;

#[derive(Debug, Clone, Copy)]
struct Sequence {
    model: ModelShape,
    seqlen: usize,
    seed: u64,
}

/// Keys, queries and their lse of one layer.
struct Layer {
    q: Array3<f64>,
    k: Array3<f64>,
    lse: Array2<f64>,
}

impl Sequence {
    fn layer(&self, layer: usize) -> Layer {
        let ModelShape {
            num_heads_q,
            num_heads_kv,
            head_dim,
            ..
        } = self.model;
        let seed = self.seed.wrapping_add(2 * layer as u64);
        let q = tensor(seed, (self.seqlen, num_heads_q, head_dim), 3.0);
        let k = tensor(
            seed.wrapping_add(1),
            (self.seqlen, num_heads_kv, head_dim),
            3.0,
        );
        let lse = attention::prefill(q.view(), k.view(), k.view(), softmax_scale(head_dim))
            .unwrap()
            .lse;
        Layer { q, k, lse }
    }

    fn layers(&self) -> Vec<Layer> {
        (0..self.model.num_layers)
            .map(|layer| self.layer(layer))
            .collect()
    }

    fn start(&self, method: &dyn Method<f64>) -> Box<dyn Selector<f64>> {
        method.start(self.model, self.seqlen).unwrap()
    }

    fn run(&self, method: &dyn Method<f64>) -> Vec<Selection<f64>> {
        let mut selector = self.start(method);
        let select =
            |(index, layer): (usize, &Layer)| selector.select(index, &layer.input()).unwrap();
        self.layers().iter().enumerate().map(select).collect()
    }
}

impl Layer {
    fn input(&self) -> LayerInput<'_, f64> {
        self.input_of_rows(self.q.dim().0)
    }

    /// The last `rows` query rows alone.
    fn input_of_rows(&self, rows: usize) -> LayerInput<'_, f64> {
        let first = self.q.dim().0 - rows;
        LayerInput {
            q: self.q.slice(s![first.., .., ..]),
            k: self.k.view(),
            lse: self.lse.slice(s![.., first..]),
            softmax_scale: softmax_scale(self.q.dim().2),
        }
    }
}

fn method(kind: MethodKind, tokens: TokenConfig, window: &WindowKvConfig) -> Box<dyn Method<f64>> {
    match kind {
        MethodKind::WindowKv => Box::new(WindowKv::new(window.clone())),
        MethodKind::FullKv => Box::new(FullKv),
        MethodKind::StreamingLlm => Box::new(StreamingLlm::new(tokens)),
        MethodKind::H2o => Box::new(H2o::new(tokens)),
        MethodKind::SnapKv => Box::new(SnapKv::new(tokens)),
        MethodKind::PyramidKv => Box::new(PyramidKv::new(tokens)),
    }
}

fn any_tokens() -> impl Strategy<Value = TokenConfig> {
    (
        1usize..60,
        1usize..12,
        any::<(bool, bool)>(),
        0usize..5,
        1usize..30,
    )
        .prop_map(
            |(room, recent_len, (per_query_head, average), half, beta)| TokenConfig {
                capacity: recent_len + room,
                recent_len,
                granularity: if per_query_head {
                    Granularity::QueryHead
                } else {
                    Granularity::KvHead
                },
                pooling: if average {
                    Pooling::Average
                } else {
                    Pooling::Max
                },
                kernel_size: 2 * half + 1,
                beta,
            },
        )
}

fn any_sequence() -> impl Strategy<Value = Sequence> {
    (
        1usize..=5,
        1usize..=2,
        1usize..=3,
        1usize..=5,
        1usize..160,
        any::<u64>(),
    )
        .prop_map(
            |(num_layers, num_heads_kv, group, head_dim, seqlen, seed)| Sequence {
                model: ModelShape {
                    num_layers,
                    num_heads_q: num_heads_kv * group,
                    num_heads_kv,
                    head_dim,
                },
                seqlen,
                seed,
            },
        )
}

fn any_window(num_layers: usize) -> impl Strategy<Value = WindowKvConfig> {
    let divisors: Vec<usize> = (1..=num_layers)
        .filter(|d| num_layers.is_multiple_of(*d))
        .collect();
    (
        1usize..80,
        1usize..12,
        1usize..12,
        prop::sample::select(divisors),
    )
        .prop_map(
            |(capacity, window_len, suffix_len, shared_layers)| WindowKvConfig {
                capacity,
                window_len,
                suffix_len,
                shared_layers,
                ..WindowKvConfig::default()
            },
        )
}

fn any_run() -> impl Strategy<Value = (Sequence, TokenConfig, WindowKvConfig)> {
    any_sequence().prop_flat_map(|sequence| {
        (
            Just(sequence),
            any_tokens(),
            any_window(sequence.model.num_layers),
        )
    })
}

/// The budget of section 7 for each layer of a prompt that does not fit, the last tokens included.
fn expected_count(
    kind: MethodKind,
    config: &TokenConfig,
    sequence: &Sequence,
    layer: usize,
) -> usize {
    let (n, w, m) = (
        sequence.seqlen,
        config.recent_len,
        sequence.model.num_layers,
    );
    let mean = config.capacity - w;
    if kind != MethodKind::PyramidKv || n < 2 * mean || m == 1 {
        return config.capacity.min(n);
    }
    let (mut least, mut most) = (mean / config.beta, 2 * mean - mean / config.beta);
    if most >= n - w {
        (most, least) = (n - w, 2 * mean - (n - w));
    }
    most - layer * ((most - least) / (m - 1)) + w
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn layers_that_choose_for_themselves_choose_as_leaders_do((sequence, _, window) in any_run()) {
        let Sequence { model, seqlen, .. } = sequence;
        let shared = sequence.run(&WindowKv::new(window.clone()));
        let mut selector = sequence.start(&WindowKv::every_layer(window.clone()));
        let alone = WindowKvConfig { shared_layers: 1, ..window.clone() };
        for (index, layer) in sequence.layers().iter().enumerate() {
            let rows = selector.query_rows(index);
            let own = selector.select(index, &layer.input_of_rows(rows)).unwrap();
            prop_assert!(own.kept.len(seqlen) <= selector.max_kept(index));
            let (own_windows, leader) = (&own.windows.as_ref().unwrap().windows, &shared[index]);
            if index % window.shared_layers == 0 {
                prop_assert_eq!(own_windows, &leader.windows.as_ref().unwrap().windows);
                if leader.scores.is_some() {
                    prop_assert_eq!(&own.scores, &leader.scores);
                }
            }
            let review_len = seqlen.saturating_sub(window.suffix_len);
            prop_assert_eq!(own.scores.is_some(), review_len > 0, "every layer is scored");

            // As in a group of its own with the same budget.
            let budget = window.layer_budgets(model.num_layers).unwrap()[index];
            let config = WindowKvConfig { capacity: budget, budget_rule: BudgetRule::Uniform, ..alone.clone() };
            if budget > 0 {
                let mut single = sequence.start(&WindowKv::new(config));
                let single = single.select(index, &layer.input()).unwrap();
                prop_assert_eq!(own_windows, &single.windows.unwrap().windows);
            }
        }
    }

    #[test]
    fn every_method_keeps_its_rules((sequence, tokens, window) in any_run()) {
        let Sequence { model, seqlen, .. } = sequence;
        for kind in MethodKind::ALL {
            let method = method(kind, tokens, &window);
            prop_assert_eq!(method.kind(), kind);
            let mut selector = sequence.start(&*method);
            let mut counts = Vec::new();
            for (index, layer) in sequence.layers().iter().enumerate() {
                // Only the rows that the method asked for are given.
                let rows = selector.query_rows(index);
                prop_assert!(rows <= seqlen, "{kind:?} asks for {rows} rows of {seqlen}");
                let (most, heads) = (selector.max_kept(index), selector.cache_heads(index));
                prop_assert!(most <= seqlen);
                let selection = selector.select(index, &layer.input_of_rows(rows)).unwrap();
                let kept = &selection.kept;
                prop_assert_eq!(kept.cache_heads(model.num_heads_kv), heads, "{:?}", kind);
                prop_assert!(kept.len(seqlen) <= most, "{kind:?} keeps {} of at most {most}", kept.len(seqlen));
                let recent = match kind {
                    MethodKind::WindowKv => window.suffix_len,
                    _ => tokens.recent_len,
                }.min(seqlen);
                for head in 0..heads {
                    let positions: Vec<usize> = kept.positions(head, seqlen).collect();
                    prop_assert_eq!(positions.len(), kept.len(seqlen), "as many for each head");
                    prop_assert!(positions.is_sorted_by(|a, b| a < b), "{kind:?}: {positions:?}");
                    prop_assert!(positions.iter().all(|&position| position < seqlen));
                    let tail = &positions[positions.len() - recent..];
                    prop_assert_eq!(tail, (seqlen - recent..seqlen).collect::<Vec<_>>(), "{:?}", kind);
                }
                counts.push(kept.len(seqlen));
                check_form(kind, &tokens, &sequence, &selection);

                // What is gathered is what was kept.
                let gathered = cache::gather(layer.k.view(), kept);
                for head in 0..heads {
                    let head_kv = head / (heads / model.num_heads_kv);
                    for (row, position) in kept.positions(head, seqlen).enumerate() {
                        prop_assert_eq!(gathered.slice(s![head, row, ..]), layer.k.slice(s![position, head_kv, ..]));
                    }
                }
            }
            match kind {
                MethodKind::FullKv => prop_assert_eq!(counts, vec![seqlen; model.num_layers]),
                MethodKind::WindowKv => {} // in `policy`
                _ if seqlen < tokens.capacity => prop_assert_eq!(counts, vec![seqlen; model.num_layers]),
                _ => {
                    let expected: Vec<usize> = (0..model.num_layers)
                        .map(|layer| expected_count(kind, &tokens, &sequence, layer))
                        .collect();
                    prop_assert_eq!(&counts, &expected, "{:?}", kind);
                    let sum: usize = counts.iter().sum();
                    // The mean is the capacity; PyramidKV's step is rounded down, layer l by less than l tokens.
                    let over = model.num_layers * (model.num_layers - 1) / 2;
                    let mean = model.num_layers * tokens.capacity;
                    prop_assert!((mean..=mean + over).contains(&sum), "{kind:?}: {sum}, not {mean}");
                }
            }
        }
    }

    #[test]
    fn scored_methods_keep_the_best((sequence, tokens, window) in any_run()) {
        let Sequence { model, seqlen, .. } = sequence;
        prop_assume!(seqlen >= tokens.capacity);
        for kind in [MethodKind::H2o, MethodKind::SnapKv, MethodKind::PyramidKv] {
            let selections = sequence.run(&*method(kind, tokens, &window));
            for (layer, selection) in sequence.layers().iter().zip(&selections) {
                let rows = if kind == MethodKind::H2o { seqlen } else { tokens.recent_len };
                let input = layer.input_of_rows(rows);
                let scored = seqlen - tokens.recent_len;
                let columns =
                    scoring::column_scores(input.q, input.k, input.lse, input.softmax_scale, scored).unwrap();
                let heads = selection.kept.cache_heads(model.num_heads_kv);
                let queries = model.num_heads_q / heads;
                let scores = selection.scores.as_ref().unwrap();
                prop_assert_eq!(scores.dim(), (heads, scored));
                for head in 0..heads {
                    let mean = |token: usize| {
                        let of_group = (head * queries..(head + 1) * queries).map(|q| columns[[q, token]]);
                        of_group.sum::<f64>() / queries as f64
                    };
                    let half = if kind == MethodKind::H2o { 0 } else { tokens.kernel_size / 2 };
                    for token in 0..scored {
                        let near = (token.saturating_sub(half)..=(token + half).min(scored - 1)).map(mean);
                        let expected = match tokens.pooling {
                            Pooling::Average => near.sum::<f64>() / (2 * half + 1) as f64,
                            Pooling::Max => near.fold(0.0, f64::max),
                        };
                        let found = scores[[head, token]];
                        prop_assert!((found - expected).abs() <= 1e-12 * expected, "{kind:?}: {found}, not {expected}");
                    }
                    let mut order: Vec<usize> = (0..scored).collect();
                    order.sort_by(|&a, &b| scores[[head, b]].total_cmp(&scores[[head, a]]).then(a.cmp(&b)));
                    order.truncate(selection.kept.len(seqlen) - tokens.recent_len);
                    order.sort_unstable();
                    order.extend(scored..seqlen);
                    let kept: Vec<usize> = selection.kept.positions(head, seqlen).collect();
                    prop_assert_eq!(kept, order, "{:?}, head {}", kind, head);
                }
            }
        }
    }

    #[test]
    fn sequences_do_not_disturb_each_other(
        (first, tokens, window) in any_run(), second_seqlen in 1usize..160, second_seed in any::<u64>(),
    ) {
        let second = Sequence { seqlen: second_seqlen, seed: second_seed, ..first };
        for kind in MethodKind::ALL {
            let method = method(kind, tokens, &window);
            let apart = [first.run(&*method), second.run(&*method)];
            let mut selectors = [first.start(&*method), second.start(&*method)];
            let mut together = [Vec::new(), Vec::new()];
            let layers = [first.layers(), second.layers()];
            for (index, (of_first, of_second)) in layers[0].iter().zip(&layers[1]).enumerate() {
                for (sequence, layer) in [(1, of_second), (0, of_first)] {
                    let selection = selectors[sequence].select(index, &layer.input()).unwrap();
                    together[sequence].push(selection);
                }
            }
            prop_assert!(apart == together, "{kind:?}");
            prop_assert!(first.run(&*method) == apart[0], "{kind:?}: a method holds no state");
        }
    }
}

/// Which of the forms a method's choice has.
fn check_form(
    kind: MethodKind,
    tokens: &TokenConfig,
    sequence: &Sequence,
    selection: &Selection<f64>,
) {
    let (seqlen, model) = (sequence.seqlen, sequence.model);
    assert_eq!(selection.windows.is_some(), kind == MethodKind::WindowKv);
    match (kind, &selection.kept) {
        (MethodKind::FullKv, kept) => assert_eq!(kept, &Kept::All),
        (MethodKind::WindowKv, kept) => assert!(!matches!(kept, Kept::PerHead(_))),
        (_, kept) if seqlen < tokens.capacity => assert_eq!(kept, &Kept::All, "n < C keeps all"),
        (MethodKind::StreamingLlm, kept) => {
            let first = tokens.capacity - tokens.recent_len;
            let positions = (0..first)
                .chain(seqlen - tokens.recent_len..seqlen)
                .collect();
            assert_eq!(kept, &Kept::Shared(positions));
        }
        (_, Kept::PerHead(heads)) => {
            let lists = match tokens.granularity {
                Granularity::KvHead => model.num_heads_kv,
                Granularity::QueryHead => model.num_heads_q,
            };
            assert_eq!(heads.len(), lists, "{kind:?}");
        }
        (_, kept) => panic!("{kind:?} chose {kept:?}"),
    }
}

const MODEL: ModelShape = ModelShape {
    num_layers: 4,
    num_heads_q: 4,
    num_heads_kv: 2,
    head_dim: 4,
};

fn sequence(seqlen: usize) -> Sequence {
    Sequence {
        model: MODEL,
        seqlen,
        seed: 5,
    }
}

/// 60 tokens in windows of 4, of which each layer of two groups keeps about 20.
fn small_window() -> WindowKvConfig {
    WindowKvConfig {
        capacity: 20,
        window_len: 4,
        suffix_len: 4,
        shared_layers: 2,
        budget_rule: BudgetRule::Uniform,
        ..WindowKvConfig::default()
    }
}

fn small_tokens() -> TokenConfig {
    TokenConfig {
        capacity: 20,
        recent_len: 4,
        ..TokenConfig::default()
    }
}

#[test]
fn a_follower_before_its_leader_is_an_error() {
    let sequence = sequence(60);
    let layers = sequence.layers();
    let method = method(MethodKind::WindowKv, small_tokens(), &small_window());
    let mut selector = sequence.start(&*method);
    let error = selector.select(1, &layers[1].input()).unwrap_err();
    assert_eq!(
        error,
        Error::LeaderMissing {
            layer: 1,
            leader: 0
        }
    );
    assert_eq!(
        error.to_string(),
        "layer 1 shares the windows of layer 0, which has not been selected yet"
    );
    selector.select(0, &layers[0].input()).unwrap();
    selector.select(1, &layers[1].input()).unwrap();
    // The windows of the first group are not those of the second.
    let error = selector.select(3, &layers[3].input()).unwrap_err();
    assert_eq!(
        error,
        Error::LeaderMissing {
            layer: 3,
            leader: 2
        }
    );
    selector.select(2, &layers[2].input()).unwrap();
    selector.select(3, &layers[3].input()).unwrap();
    assert_eq!(
        selector.select(1, &layers[1].input()).unwrap_err(),
        Error::LeaderMissing {
            layer: 1,
            leader: 0
        }
    );
}

#[test]
fn layers_and_shapes_that_do_not_fit_are_errors() {
    let given = sequence(60);
    let layer = given.layer(0);
    for kind in MethodKind::ALL {
        let method = method(kind, small_tokens(), &small_window());
        let mut selector = given.start(&*method);
        let error = selector.select(4, &layer.input()).unwrap_err();
        assert_eq!(
            error,
            Error::LayerOutOfRange {
                layer: 4,
                num_layers: 4
            },
            "{kind:?}"
        );
        assert_eq!(error.to_string(), "layer 4 does not exist: the model has 4");
        let error = selector
            .select(0, &sequence(59).layer(0).input())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "k's seqlen is 59, expected 60",
            "{kind:?}"
        );
        let rows = selector.query_rows(0);
        if rows > 0 {
            let error = selector
                .select(0, &layer.input_of_rows(rows - 1))
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("query rows is {}, expected {rows}", rows - 1),
                "{kind:?}"
            );
            let short = LayerInput {
                lse: layer.lse.slice(s![.., 1..]),
                ..layer.input()
            };
            assert_eq!(
                selector.select(0, &short).unwrap_err().to_string(),
                "lse's rows is 59, expected 60"
            );
        }
    }
}

#[test]
fn broken_activations_are_an_error_that_names_the_place() {
    let sequence = sequence(60);
    for kind in [
        MethodKind::WindowKv,
        MethodKind::H2o,
        MethodKind::SnapKv,
        MethodKind::PyramidKv,
    ] {
        let method = method(kind, small_tokens(), &small_window());
        for layer in [0, 2] {
            let mut selector = sequence.start(&*method);
            let mut broken = sequence.layer(layer);
            // Token 22 lies in window 5.
            broken.k[[22, 1, 0]] = f64::NAN;
            let error = selector.select(layer, &broken.input()).unwrap_err();
            let Error::NanScore {
                layer: of,
                what,
                index,
            } = error
            else {
                panic!("{kind:?}: {error}")
            };
            // Max pooling over 7 spreads the NaN to the 3 tokens before it.
            let expected = match kind {
                MethodKind::WindowKv => ("window", 5),
                MethodKind::H2o => ("token", 22),
                _ => ("token", 19),
            };
            assert_eq!((of, (what, index)), (layer, expected), "{kind:?}");
            let message = error.to_string();
            assert!(
                message.contains(&format!(
                    "layer {layer}: the score of {what} {index} is NaN"
                )),
                "{message}"
            );
        }
    }
}

/// The error of starting a method, and its message.
fn start_error(
    kind: MethodKind,
    model: ModelShape,
    tokens: TokenConfig,
    window: &WindowKvConfig,
) -> (Error, String) {
    let error = method(kind, tokens, window)
        .start(model, 100)
        .err()
        .unwrap_or_else(|| panic!("{kind:?} started"));
    let message = error.to_string();
    (error, message)
}

#[test]
fn every_setting_that_cannot_be_is_named() {
    use MethodKind::{H2o, PyramidKv, SnapKv, StreamingLlm, WindowKv};
    let (tokens, window) = (small_tokens(), small_window());
    let in_window = |window: WindowKvConfig| start_error(WindowKv, MODEL, tokens, &window);
    let zero = |name| {
        (
            Error::Zero { name },
            format!("{name} is 0: it must be at least 1"),
        )
    };
    for (name, broken) in [
        (
            "max_capacity_prompt",
            WindowKvConfig {
                capacity: 0,
                ..window.clone()
            },
        ),
        (
            "review_window_size",
            WindowKvConfig {
                window_len: 0,
                ..window.clone()
            },
        ),
        (
            "suffix",
            WindowKvConfig {
                suffix_len: 0,
                ..window.clone()
            },
        ),
        (
            "shared_layers",
            WindowKvConfig {
                shared_layers: 0,
                ..window.clone()
            },
        ),
        (
            "beta",
            WindowKvConfig {
                beta: 0,
                ..window.clone()
            },
        ),
    ] {
        assert_eq!(in_window(broken), zero(name));
    }
    let (error, message) = in_window(WindowKvConfig {
        shared_layers: 3,
        ..window.clone()
    });
    assert_eq!(
        error,
        Error::LayersNotDivisible {
            num_layers: 4,
            shared_layers: 3
        }
    );
    assert!(
        message.contains("4 layers") && message.contains("groups of 3"),
        "{message}"
    );
    let (error, message) = in_window(WindowKvConfig {
        score_pooling: 6,
        ..window.clone()
    });
    assert_eq!(
        error,
        Error::PoolingWidth {
            name: "score_pooling",
            width: 6
        }
    );
    assert!(
        message.contains("score_pooling is 6") && message.contains("odd"),
        "{message}"
    );
    let wide = ModelShape {
        num_layers: 64,
        ..MODEL
    };
    let inverted = WindowKvConfig {
        budget_rule: BudgetRule::Released,
        shared_layers: 32,
        beta: 10,
        ..window.clone()
    };
    let (error, message) = start_error(WindowKv, wide, tokens, &inverted);
    assert!(
        matches!(
            error,
            Error::NegativeBudget {
                shared_layers: 32,
                beta: 10,
                capacity: 20,
                last: 64
            }
        ),
        "{error:?}"
    );
    assert!(
        message.contains("shared_layers 32") && message.contains("beta 10"),
        "{message}"
    );
    for rule in [BudgetRule::Paper, BudgetRule::Uniform] {
        layer_budgets(rule, 64, 32, 20, 10).unwrap();
    }

    for kind in [StreamingLlm, H2o, SnapKv, PyramidKv] {
        let in_tokens = |tokens| start_error(kind, MODEL, tokens, &window);
        assert_eq!(
            in_tokens(TokenConfig {
                capacity: 0,
                ..tokens
            }),
            zero("max_capacity_prompt"),
            "{kind:?}"
        );
        assert_eq!(
            in_tokens(TokenConfig {
                recent_len: 0,
                ..tokens
            }),
            zero("window_size"),
            "{kind:?}"
        );
        for recent_len in [20, 21, usize::MAX] {
            let (error, message) = in_tokens(TokenConfig {
                recent_len,
                ..tokens
            });
            assert_eq!(
                error,
                Error::CapacityTooSmall {
                    method: kind.title(),
                    capacity: 20,
                    recent_len
                }
            );
            let parts = [
                kind.title().to_owned(),
                "a capacity of 20".to_owned(),
                format!("above {recent_len}"),
            ];
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }
    for kind in [SnapKv, PyramidKv] {
        for width in [0, 4] {
            let (error, message) = start_error(
                kind,
                MODEL,
                TokenConfig {
                    kernel_size: width,
                    ..tokens
                },
                &window,
            );
            assert_eq!(
                error,
                Error::PoolingWidth {
                    name: "kernel_size",
                    width
                }
            );
            assert!(
                message.contains(&format!("kernel_size is {width}")),
                "{message}"
            );
        }
    }
    let (error, message) =
        start_error(PyramidKv, MODEL, TokenConfig { beta: 0, ..tokens }, &window);
    assert_eq!((error, message), zero("beta"));

    for kind in MethodKind::ALL {
        let of_model = |model| start_error(kind, model, tokens, &window);
        assert_eq!(
            of_model(ModelShape {
                num_layers: 0,
                ..MODEL
            }),
            zero("num_layers"),
            "{kind:?}"
        );
        assert_eq!(
            of_model(ModelShape {
                num_heads_q: 0,
                ..MODEL
            }),
            zero("num_heads_q"),
            "{kind:?}"
        );
        assert_eq!(
            of_model(ModelShape {
                num_heads_kv: 0,
                ..MODEL
            }),
            zero("num_heads_kv"),
            "{kind:?}"
        );
        let (error, message) = of_model(ModelShape {
            num_heads_q: 5,
            ..MODEL
        });
        assert_eq!(
            error,
            Error::HeadsNotDivisible {
                num_heads_q: 5,
                num_heads_kv: 2
            }
        );
        assert!(
            message.contains("num_heads_q 5") && message.contains("num_heads_kv 2"),
            "{message}"
        );
    }
}

#[test]
fn unknown_names_are_told_with_the_known_ones() {
    for kind in MethodKind::ALL {
        assert_eq!(kind.name().parse::<MethodKind>().unwrap(), kind);
    }
    let errors = [
        (
            "method",
            "WindowKV".parse::<MethodKind>().unwrap_err(),
            "windowkv, fullkv",
        ),
        (
            "budget rule",
            "WindowKV".parse::<BudgetRule>().unwrap_err(),
            "released, paper, uniform",
        ),
        (
            "preset",
            "WindowKV".parse::<ModelPreset>().unwrap_err(),
            "llama3, qwen2.5",
        ),
    ];
    for (what, error, choices) in errors {
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("unknown {what} `WindowKV`: choose one of ")),
            "{message}"
        );
        assert!(message.contains(choices), "{message}");
    }
}

#[test]
fn a_prompt_of_exactly_the_capacity_keeps_all_its_tokens() {
    for kind in [
        MethodKind::StreamingLlm,
        MethodKind::H2o,
        MethodKind::SnapKv,
        MethodKind::PyramidKv,
    ] {
        for granularity in [Granularity::KvHead, Granularity::QueryHead] {
            let tokens = TokenConfig {
                granularity,
                ..small_tokens()
            };
            for selection in sequence(20).run(&*method(kind, tokens, &small_window())) {
                let kept: Vec<usize> = selection.kept.positions(0, 20).collect();
                assert_eq!(kept, (0..20).collect::<Vec<_>>(), "{kind:?}");
            }
        }
    }
}

#[test]
fn pyramidkv_budgets_by_hand() {
    // C - w = 100, beta = 20: from 195 to 5 by floor(190 / 3) = 63.
    let tokens = TokenConfig {
        capacity: 108,
        recent_len: 8,
        beta: 20,
        ..TokenConfig::default()
    };
    let method = PyramidKv::new(tokens);
    let kept = |seqlen| {
        let selector = Method::<f64>::start(&method, MODEL, seqlen).unwrap();
        [0, 1, 2, 3].map(|layer| selector.max_kept(layer))
    };
    assert_eq!(kept(1000), [203, 140, 77, 14]);
    assert_eq!(
        kept(203),
        [203, 140, 77, 14],
        "the prompt is just long enough"
    );
    assert_eq!(
        kept(202),
        [202, 140, 78, 16],
        "194 scored tokens: from 194 to 6 by 62"
    );
    assert_eq!(kept(199), [108; 4]);
    assert_eq!(kept(107), [107; 4]);
}
