//! The runner on tiny random checkpoints: right logits, independent sequences, the same bits on every run.

use std::sync::LazyLock;

use proptest::prelude::*;
use windowkv_model::Error;
use windowkv_model::runner::{
    Finish, Generation, KvCache, Request, Sampling, generate, generate_batch, generate_each,
};
use windowkv_model::weights::DType;
use windowkv_ref::methods::{
    FullKv, Granularity, H2o, Kept, Method, MethodKind, Pooling, PyramidKv, Selection, SnapKv,
    StreamingLlm, TokenConfig, WindowKv,
};
use windowkv_ref::policy::{BudgetRule, Strategy as Scoring, WindowKvConfig};
use windowkv_tests::model::{Reference, TinyModel, biased_config, llama_config, qwen2_config};
use windowkv_tests::random::bits;
use windowkv_tests::schedule::{cases, on_threads};

/// Every family and every dtype.
static MODELS: LazyLock<Vec<TinyModel>> = LazyLock::new(|| {
    vec![
        TinyModel::new(llama_config(), DType::F32),
        TinyModel::new(qwen2_config(), DType::Bf16),
        TinyModel::new(biased_config(), DType::F16),
        TinyModel::new(llama_config(), DType::Bf16),
    ]
});

/// A prompt and a method with settings that compress it.
#[derive(Debug, Clone)]
struct Prompt {
    ids: Vec<u32>,
    kind: MethodKind,
    capacity: usize,
    per_query_head: bool,
}

impl Prompt {
    fn method(&self) -> Box<dyn Method<f32>> {
        let tokens = TokenConfig {
            capacity: self.capacity + 3,
            recent_len: 3,
            granularity: if self.per_query_head {
                Granularity::QueryHead
            } else {
                Granularity::KvHead
            },
            pooling: Pooling::Average,
            kernel_size: 3,
            beta: 5,
        };
        match self.kind {
            MethodKind::WindowKv => Box::new(WindowKv::new(WindowKvConfig {
                capacity: self.capacity,
                window_len: 4,
                suffix_len: 3,
                shared_layers: 2,
                beta: 14,
                budget_rule: if self.per_query_head {
                    BudgetRule::Uniform
                } else {
                    BudgetRule::Released
                },
                strategy: Scoring::Max,
                top_tokens: None,
                score_pooling: 1,
            })),
            MethodKind::FullKv => Box::new(FullKv),
            MethodKind::StreamingLlm => Box::new(StreamingLlm::new(tokens)),
            MethodKind::H2o => Box::new(H2o::new(tokens)),
            MethodKind::SnapKv => Box::new(SnapKv::new(tokens)),
            MethodKind::PyramidKv => Box::new(PyramidKv::new(tokens)),
        }
    }
}

fn any_prompt(max_len: usize) -> impl Strategy<Value = Prompt> {
    (
        prop::collection::vec(0u32..260, 1..max_len),
        prop::sample::select(&MethodKind::ALL[..]),
        1usize..40,
        any::<bool>(),
    )
        .prop_map(|(ids, kind, capacity, per_query_head)| Prompt {
            ids,
            kind,
            capacity,
            per_query_head,
        })
}

fn any_model() -> impl Strategy<Value = &'static TinyModel> {
    (0..4usize).prop_map(|index| &MODELS[index])
}

/// Prefill and a few decode steps: all logits.
fn run(model: &TinyModel, prompt: &Prompt, next: &[u32]) -> Vec<Vec<f32>> {
    let llama = &model.model.llama;
    let prefilled = llama
        .prefill(&prompt.ids, &*prompt.method(), next.len(), &mut |_| ())
        .unwrap();
    let mut logits = vec![prefilled.logits];
    let mut cache = prefilled.cache;
    for &id in next {
        let rows = llama.decode(&mut [(id, &mut cache)]).unwrap();
        logits.push(rows.row(0).to_vec());
    }
    logits
}

/// What f32 may be off by: each of the 2 L + 1 stages sums at most hidden + MLP + cached numbers, one rounding each,
/// relative to the largest logit. Every stage begins with a norm, which passes relative errors on as they are.
fn assert_near(model: &TinyModel, tokens: usize, found: &[f32], expected: &[f64]) {
    let config = model.model.llama.config();
    let roundings =
        (2 * config.num_layers + 1) * (config.hidden_size + config.intermediate_size + tokens);
    let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let allowed = roundings as f64 * 2f64.powi(-24) * largest;
    assert_eq!(found.len(), expected.len());
    for (token, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(
            error <= allowed,
            "logit {token} is {found}, not {expected}; allowed {allowed:e}"
        );
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn logits_are_those_of_the_formulas(
        model in any_model(), prompt in any_prompt(90), next in prop::collection::vec(0u32..260, 3),
    ) {
        let llama = &model.model.llama;
        let prefilled = llama.prefill(&prompt.ids, &*prompt.method(), 3, &mut |_| ()).unwrap();
        let mut reference = Reference::new(&model.model);
        // The choice itself is tested elsewhere: f32 and f64 may break a near tie differently.
        let kept: Vec<&Kept> = prefilled.selections.iter().map(|selection| &selection.kept).collect();
        let expected = reference.prefill(&prompt.ids, &kept);
        let tokens = prompt.ids.len() + next.len();
        assert_near(model, tokens, &prefilled.logits, &expected);
        let mut cache = prefilled.cache;
        for (step, &id) in next.iter().enumerate() {
            let logits = llama.decode(&mut [(id, &mut cache)]).unwrap();
            assert_near(model, tokens, logits.row(0).as_slice().unwrap(), &reference.decode(id));
            prop_assert_eq!(cache.position, prompt.ids.len() + step + 1, "the logical position");
            for (layer, kept) in cache.layers.iter().zip(&kept) {
                prop_assert_eq!(layer.len(), kept.len(prompt.ids.len()) + step + 1);
                prop_assert_eq!(layer.k().dim().1, kept.cache_heads(2), "cache heads");
            }
        }
    }

    #[test]
    fn decoding_is_prefill_of_the_longer_prompt(
        model in any_model(), prompt in any_prompt(80), next in prop::collection::vec(0u32..260, 1..6),
    ) {
        let full = |ids: Vec<u32>| Prompt { ids, kind: MethodKind::FullKv, ..prompt.clone() };
        let stepwise = run(model, &full(prompt.ids.clone()), &next);
        for (step, found) in stepwise.iter().enumerate() {
            let ids = [&prompt.ids, &next[..step]].concat();
            let at_once = run(model, &full(ids), &[]).remove(0);
            let expected: Vec<f64> = at_once.into_iter().map(f64::from).collect();
            assert_near(model, 2 * (prompt.ids.len() + next.len()), found, &expected);
        }
    }

    #[test]
    fn the_same_bits_on_any_number_of_threads(
        model in any_model(), prompt in any_prompt(200), next in prop::collection::vec(0u32..260, 2), threads in 2usize..5,
    ) {
        let all_bits = |threads| on_threads(threads, || run(model, &prompt, &next).iter().map(bits).collect::<Vec<_>>());
        let one = all_bits(1);
        prop_assert!(one == all_bits(threads), "{threads} threads");
        prop_assert!(one == all_bits(1), "another run");
    }

    #[test]
    fn logits_do_not_depend_on_the_batch(
        model in any_model(), prompts in prop::collection::vec(any_prompt(60), 2..6), steps in 1usize..4,
    ) {
        let llama = &model.model.llama;
        let prefill = |prompt: &Prompt| -> KvCache {
            llama.prefill(&prompt.ids, &*prompt.method(), steps, &mut |_| ()).unwrap().cache
        };
        let mut together: Vec<KvCache> = prompts.iter().map(prefill).collect();
        let mut apart = together.clone();
        for step in 0..steps {
            let ids: Vec<u32> = prompts.iter().map(|prompt| prompt.ids[step % prompt.ids.len()]).collect();
            let mut batch: Vec<_> = ids.iter().copied().zip(&mut together).collect();
            let rows = llama.decode(&mut batch).unwrap();
            for (index, cache) in apart.iter_mut().enumerate() {
                let alone = llama.decode(&mut [(ids[index], cache)]).unwrap();
                prop_assert!(bits(rows.row(index)) == bits(alone.row(0)), "row {index} of {}", prompts.len());
            }
        }
    }

    #[test]
    fn methods_that_share_a_prefill_get_the_bits_of_their_own(
        model in any_model(), prompt in any_prompt(300), capacities in prop::array::uniform6(1usize..60),
    ) {
        let prompts: Vec<Prompt> = MethodKind::ALL
            .into_iter()
            .zip(capacities)
            .map(|(kind, capacity)| Prompt { kind, capacity, ..prompt.clone() })
            .collect();
        let methods: Vec<_> = prompts.iter().map(Prompt::method).collect();
        let methods: Vec<_> = methods.iter().map(|method| &**method).collect();
        let llama = &model.model.llama;
        let together = llama.prefill_each(&prompt.ids, &methods, 2, &mut |_| ()).unwrap();
        for (method, shared) in methods.iter().zip(&together) {
            let alone = llama.prefill(&prompt.ids, *method, 2, &mut |_| ()).unwrap();
            let name = method.kind().name();
            prop_assert!(bits(&shared.logits) == bits(&alone.logits), "{name}: logits");
            for (layer, (shared, alone)) in shared.selections.iter().zip(&alone.selections).enumerate() {
                prop_assert_eq!(&shared.kept, &alone.kept, "{}, layer {}", name, layer);
                let scores = |selection: &Selection<f32>| selection.scores.as_ref().map(bits);
                prop_assert!(scores(shared) == scores(alone), "{name}, layer {layer}: scores");
            }
            for (layer, (shared, alone)) in shared.cache.layers.iter().zip(&alone.cache.layers).enumerate() {
                prop_assert!(bits(shared.k()) == bits(alone.k()), "{name}, layer {layer}: keys");
                prop_assert!(bits(shared.v()) == bits(alone.v()), "{name}, layer {layer}: values");
            }
        }
    }

    #[test]
    fn answers_do_not_depend_on_the_batch_or_on_earlier_requests(
        model in any_model(),
        prompts in prop::collection::vec((any_prompt(60), 0usize..9, prop::option::of(any::<u64>())), 1..5),
    ) {
        let methods: Vec<_> = prompts.iter().map(|(prompt, ..)| prompt.method()).collect();
        let stop = ["e".to_owned(), "\u{fffd}\u{fffd}".to_owned()];
        let requests: Vec<_> = prompts
            .iter()
            .zip(&methods)
            .enumerate()
            .map(|(index, ((prompt, max_new_tokens, seed), method))| Request {
                ids: &prompt.ids,
                method: &**method,
                max_new_tokens: *max_new_tokens,
                sampling: Sampling {
                    temperature: if seed.is_some() { 1.5 } else { 0.0 },
                    seed: seed.unwrap_or(0),
                    ..Sampling::default()
                },
                stop_strings: &stop[..index % 3],
                ignore_stop_tokens: index % 2 == 0,
            })
            .collect();
        let mut shown = vec![String::new(); requests.len()];
        let together =
            generate_batch(&model.model, &requests, &mut |_| (), &mut |index, text| shown[index] += text).unwrap();
        prop_assert_eq!(together.len(), requests.len());
        // Backwards, so that what a request leaves behind would reach another one.
        for (index, request) in requests.iter().enumerate().rev() {
            let alone = generate(&model.model, request, &mut |_| (), &mut |_| ()).unwrap();
            assert_same(&alone, &together[index]);
            prop_assert_eq!(&shown[index], &alone.text, "the pieces are the text");
            check_answer(request, &alone);
        }
        // The same prompt for all of them.
        let ids = requests[0].ids;
        let requests: Vec<_> = requests.into_iter().map(|request| Request { ids, ..request }).collect();
        let each = generate_each(&model.model, &requests, &mut |_| ()).unwrap();
        for (request, shared) in requests.iter().zip(&each) {
            assert_same(&generate(&model.model, request, &mut |_| (), &mut |_| ()).unwrap(), shared);
        }
    }
}

/// All but the time.
fn assert_same(a: &Generation, b: &Generation) {
    assert_eq!(
        (&a.ids, &a.text, a.finish, &a.kv),
        (&b.ids, &b.text, b.finish, &b.kv)
    );
}

fn check_answer(request: &Request<'_>, answer: &Generation) {
    assert!(answer.ids.len() <= request.max_new_tokens);
    let stops = answer.ids.iter().filter(|&&id| id == 257).count();
    match answer.finish {
        Finish::Length => assert_eq!(answer.ids.len(), request.max_new_tokens),
        Finish::StopToken => assert_eq!((answer.ids.last(), stops), (Some(&257), 1)),
        Finish::StopString => assert!(!request.stop_strings.is_empty()),
    }
    for stop in request.stop_strings {
        assert!(
            !answer.text.contains(stop.as_str()),
            "{stop:?} in {:?}",
            answer.text
        );
    }
    let kv = &answer.kv;
    assert_eq!(kv.prompt_tokens, request.ids.len());
    assert_eq!(
        kv.groups.iter().map(|group| group.layers).sum::<usize>(),
        kv.kept_per_layer.len()
    );
    assert!(kv.bytes <= kv.released_layout_bytes && kv.kept_share() <= 1.0);
    if request.method.kind() == MethodKind::FullKv {
        assert_eq!(kv.bytes, kv.full_bytes);
        assert_eq!(
            kv.full_bytes * 2,
            kv.released_layout_bytes,
            "two query heads share a KV head"
        );
    }
}

fn greedy<'a>(ids: &'a [u32], method: &'a dyn Method<f32>, max_new_tokens: usize) -> Request<'a> {
    Request {
        ids,
        method,
        max_new_tokens,
        sampling: Sampling::default(),
        stop_strings: &[],
        ignore_stop_tokens: true,
    }
}

fn answer(request: &Request<'_>) -> windowkv_model::Result<Generation> {
    generate(&MODELS[0].model, request, &mut |_| (), &mut |_| ())
}

#[test]
fn requests_that_cannot_be_are_errors() {
    let llama = &MODELS[0].model.llama;
    assert!(matches!(
        answer(&greedy(&[], &FullKv, 4)),
        Err(Error::EmptyPrompt)
    ));
    for (ids, bad) in [(vec![260], 260), (vec![1, 2, u32::MAX, 3], u32::MAX)] {
        for max_new_tokens in [0, 4] {
            let error = answer(&greedy(&ids, &FullKv, max_new_tokens)).unwrap_err();
            let Error::TokenId {
                id,
                vocab_size: 260,
                ..
            } = error
            else {
                panic!("{error}")
            };
            assert_eq!(id, u64::from(bad));
            let message = error.to_string();
            assert!(
                message.contains(&bad.to_string()) && message.contains("260"),
                "{message}"
            );
        }
    }
    let mut cache = llama
        .prefill(&[5, 6], &FullKv, 2, &mut |_| ())
        .unwrap()
        .cache;
    let error = llama.decode(&mut [(260, &mut cache)]).unwrap_err();
    assert!(matches!(error, Error::TokenId { id: 260, .. }), "{error}");

    // What the method refuses is told before anything is computed, and names what it refused.
    let three_layers = WindowKv::new(WindowKvConfig {
        shared_layers: 3,
        ..WindowKvConfig::default()
    });
    let error = answer(&greedy(&[1, 2], &three_layers, 4)).unwrap_err();
    assert!(
        matches!(error, Error::Method(_)) && error.to_string().contains("groups of 3"),
        "{error}"
    );
    let hot = Request {
        sampling: Sampling {
            temperature: -1.0,
            ..Sampling::default()
        },
        ..greedy(&[1], &FullKv, 1)
    };
    assert!(matches!(
        answer(&hot),
        Err(Error::Setting {
            name: "temperature",
            ..
        })
    ));

    // One bad request ends the batch with its own error.
    let good = [1, 2, 3];
    let batch = [greedy(&good, &FullKv, 2), greedy(&[300], &FullKv, 2)];
    let error = generate_batch(&MODELS[0].model, &batch, &mut |_| (), &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, Error::TokenId { id: 300, .. }), "{error}");
    assert!(
        generate_batch(&MODELS[0].model, &[], &mut |_| (), &mut |_, _| ())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn no_new_tokens_is_a_prefill_alone() {
    let found = answer(&greedy(&[1, 2, 3], &FullKv, 0)).unwrap();
    assert_eq!(
        (found.text.as_str(), found.ids.len(), found.finish),
        ("", 0, Finish::Length)
    );
    assert_eq!(found.kv.kept_per_layer, [3; 4]);
}

#[test]
fn a_prompt_shorter_than_the_suffix_keeps_everything() {
    let method = WindowKv::new(WindowKvConfig {
        shared_layers: 2,
        ..WindowKvConfig::default()
    });
    for ids in [&[7][..], &[1, 2, 3, 4, 5]] {
        let compressed = answer(&greedy(ids, &method, 6)).unwrap();
        assert_eq!(compressed.kv.kept_per_layer, [ids.len(); 4]);
        assert_eq!(
            compressed.ids,
            answer(&greedy(ids, &FullKv, 6)).unwrap().ids
        );
    }
}

#[test]
fn a_stop_string_ends_the_answer_before_it() {
    let prompt: Vec<u32> = (0..40).map(|i| (i * 37) % 256).collect();
    let request = Request {
        sampling: Sampling {
            temperature: 2.0,
            seed: 3,
            ..Sampling::default()
        },
        ..greedy(&prompt, &FullKv, 60)
    };
    let free = answer(&request).unwrap();
    assert_eq!((free.finish, free.ids.len()), (Finish::Length, 60));
    let letters: Vec<(usize, char)> = free.text.char_indices().collect();
    assert!(letters.len() > 20, "{:?}", free.text);
    for &(at, letter) in &letters[5..letters.len() - 1] {
        let stop = [format!(
            "{letter}{}",
            free.text[at + letter.len_utf8()..].chars().next().unwrap()
        )];
        let first = free.text.find(&stop[0]).unwrap();
        let mut shown = String::new();
        let request = Request {
            stop_strings: &stop,
            ..request
        };
        let stopped = generate(&MODELS[0].model, &request, &mut |_| (), &mut |text| {
            shown += text
        })
        .unwrap();
        assert_eq!(
            (stopped.text.as_str(), stopped.finish),
            (&free.text[..first], Finish::StopString),
            "{stop:?}"
        );
        assert_eq!(shown, stopped.text, "nothing of the stop string is shown");
        assert!(free.ids.starts_with(&stopped.ids));
    }
}

#[test]
fn a_stop_token_ends_the_answer_unless_it_is_ignored() {
    let model = &MODELS[0].model;
    let method = FullKv;
    // With a high temperature some seed draws the end token early.
    let with = |seed, ignore_stop_tokens| Request {
        sampling: Sampling {
            temperature: 50.0,
            seed,
            ..Sampling::default()
        },
        ignore_stop_tokens,
        ..greedy(&[1, 2, 3], &method, 40)
    };
    let run = |request: &Request<'_>| generate(model, request, &mut |_| (), &mut |_| ()).unwrap();
    let ended = (0..200)
        .find(|&seed| run(&with(seed, false)).finish == Finish::StopToken)
        .expect("some seed");
    let (stopped, ignored) = (run(&with(ended, false)), run(&with(ended, true)));
    assert_eq!(
        stopped.ids.iter().position(|&id| id == 257),
        Some(stopped.ids.len() - 1)
    );
    assert!(
        ignored.ids.len() == 40 && ignored.ids.starts_with(&stopped.ids),
        "{:?}",
        ignored.ids
    );
}

#[test]
fn progress_rises_to_the_end() {
    let mut shares = vec![0.0];
    let ids = [1, 2, 3, 4];
    let batch = [greedy(&ids, &FullKv, 1), greedy(&ids, &FullKv, 1)];
    generate_batch(
        &MODELS[0].model,
        &batch,
        &mut |share| shares.push(share),
        &mut |_, _| (),
    )
    .unwrap();
    assert!(shares.is_sorted() && shares.len() > 4, "{shares:?}");
    assert_eq!(shares.last(), Some(&1.0));
}

/// A file that is cut while its weights are mapped would kill the process where nothing guards the mapping.
#[test]
fn weights_that_are_cut_while_in_use_are_an_error() {
    let tiny = TinyModel::new(llama_config(), DType::F32);
    let ids = [1, 2, 3];
    let request = greedy(&ids, &FullKv, 3);
    let run = || generate(&tiny.model, &request, &mut |_| (), &mut |_| ());
    run().unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(tiny.dir.path().join("model.safetensors"))
        .unwrap();
    file.set_len(0).unwrap();
    for _ in 0..2 {
        let error = run().unwrap_err();
        assert!(matches!(error, Error::WeightsChanged { .. }), "{error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
}
