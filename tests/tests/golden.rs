//! Golden vectors: the released implementations' numbers on random inputs.
//!
//! The folder comes from `WINDOWKV_GOLDEN` (default: `tests/golden`). Every case found is run.

use std::path::Path;

use ndarray::{Array2, Array3, ArrayView2, Axis};
use windowkv_model::config::ModelConfig;
use windowkv_model::evaluation::metrics::{Metric, rouge1};
use windowkv_model::runner::{Llama, Sampler, Sampling};
use windowkv_model::weights::Weights;
use windowkv_ref::methods::{
    FullKv, Granularity, H2o, Kept, LayerInput, Method, Pooling, PyramidKv, Selection, SnapKv,
    StreamingLlm, TokenConfig, WindowKv,
};
use windowkv_ref::policy::{BudgetRule, ModelShape, Strategy, WindowKvConfig, Windows};
use windowkv_ref::{Real, attention, scoring, softmax_scale};
use windowkv_tests::golden::{self, Vectors};

/// Heads outermost in the files, tokens outermost here.
fn tokens_first<F: Real>(heads_first: &Array3<f32>) -> Array3<F> {
    let widened = heads_first.mapv(|x| F::from_f32(x).unwrap());
    widened.permuted_axes([1, 0, 2])
}

fn model_shape(vectors: &Vectors) -> ModelShape {
    ModelShape {
        num_layers: vectors.parameter("num_layers"),
        num_heads_q: vectors.parameter("num_heads_q"),
        num_heads_kv: vectors.parameter("num_heads_kv"),
        head_dim: vectors.parameter("head_dim"),
    }
}

fn lse<F: Real>(q: &Array3<F>, k: &Array3<F>) -> Array2<F> {
    attention::prefill(q.view(), k.view(), k.view(), softmax_scale(q.dim().2))
        .unwrap()
        .lse
}

fn select<F: Real>(
    method: &dyn Method<F>,
    vectors: &Vectors,
    layer: usize,
    q: &Array3<F>,
    k: &Array3<F>,
) -> Selection<F> {
    let shape = model_shape(vectors);
    let mut selector = method.start(shape, k.dim().0).unwrap();
    let lse = lse(q, k);
    let input = LayerInput {
        q: q.view(),
        k: k.view(),
        lse: lse.view(),
        softmax_scale: softmax_scale(shape.head_dim),
    };
    selector.select(layer, &input).unwrap()
}

fn assert_relative<F: Real>(what: &str, found: ArrayView2<'_, F>, expected: &Array2<f32>) {
    assert_eq!(found.dim(), expected.dim(), "{what}");
    for (index, &expected) in expected.indexed_iter() {
        let found = found[index].to_f64().unwrap();
        let allowed = 1e-5 * f64::from(expected).abs();
        assert!(
            (found - f64::from(expected)).abs() <= allowed,
            "{what}{index:?}: {found}, not {expected}"
        );
    }
}

fn windowkv_case<F: Real>(vectors: &Vectors) {
    let shape = model_shape(vectors);
    let seqlen: usize = vectors.parameter("seq_len");
    let strategy = match vectors
        .parameter::<String>("window_select_strategy")
        .as_str()
    {
        "average" => Strategy::Average,
        "max" => Strategy::Max,
        other => panic!("unknown strategy {other}"),
    };
    let config = WindowKvConfig {
        capacity: vectors.parameter("max_capacity_prompt"),
        window_len: vectors.parameter("review_window_size"),
        suffix_len: vectors.parameter("suffix_size"),
        shared_layers: vectors.parameter("shared_layers"),
        beta: vectors.parameter("beta"),
        budget_rule: BudgetRule::Released,
        strategy,
        top_tokens: None,
        score_pooling: 1,
    };
    assert_eq!(
        config.layer_budgets(shape.num_layers).unwrap(),
        vectors.indices("layer_budgets")[0]
    );

    let windows = Windows::new(seqlen, config.suffix_len, config.window_len).unwrap();
    let method = WindowKv::new(config.clone());
    let mut selector = Method::<F>::start(&method, shape, seqlen).unwrap();
    let mut cache_lens = Vec::new();
    let mut leader = None;
    for layer in 0..shape.num_layers {
        if layer % config.shared_layers == 0 {
            let q = tokens_first::<F>(&vectors.array3(&format!("q_suffix.layer{layer}")));
            let k = tokens_first::<F>(&vectors.array3(&format!("k.layer{layer}")));
            let lse = lse(&q, &k);
            let scale = softmax_scale(shape.head_dim);
            let columns =
                scoring::column_scores(q.view(), k.view(), lse.view(), scale, windows.review_len())
                    .unwrap();
            let name = format!("column_scores.layer{layer}");
            assert_relative(&name, columns.view(), &vectors.array2(&name));
            let top = config.strategy.top_tokens(config.window_len);
            let scores = scoring::window_scores(columns.view(), &windows, top)
                .unwrap()
                .insert_axis(Axis(0));
            let name = format!("window_scores.layer{layer}");
            assert_relative(&name, scores.view(), &vectors.array2(&name));
            leader = Some((q, k, lse));
        }
        let (q, k, lse) = leader.as_ref().expect("layer 0 is a leader");
        let input = LayerInput {
            q: q.view(),
            k: k.view(),
            lse: lse.view(),
            softmax_scale: softmax_scale(shape.head_dim),
        };
        let selection = selector.select(layer, &input).unwrap();
        if layer % config.shared_layers == 0 {
            let expected = vectors.indices(&format!("selected_windows.layer{layer}"));
            assert_eq!(
                selection.windows.unwrap().windows,
                expected[0],
                "layer {layer}"
            );
        }
        cache_lens.push(selection.kept.len(seqlen));
    }
    assert_eq!(cache_lens, vectors.indices("cache_lens")[0]);
}

fn token_case<F: Real>(vectors: &Vectors, method: &str) {
    let config = TokenConfig {
        capacity: vectors.parameter("max_capacity_prompt"),
        recent_len: vectors.parameter("window_size"),
        granularity: match vectors.parameter::<String>("granularity").as_str() {
            "kv_head" => Granularity::KvHead,
            "query_head" => Granularity::QueryHead,
            other => panic!("unknown granularity {other}"),
        },
        pooling: match vectors.parameter::<String>("pooling").as_str() {
            "avgpool" => Pooling::Average,
            "maxpool" => Pooling::Max,
            other => panic!("unknown pooling {other}"),
        },
        kernel_size: vectors.parameter("kernel_size"),
        beta: vectors.parameter("beta"),
    };
    let (method, queries): (Box<dyn Method<F>>, _) = match method {
        "snapkv" => (Box::new(SnapKv::new(config)), "q_suffix"),
        "pyramidkv" => (Box::new(PyramidKv::new(config)), "q_suffix"),
        "h2o" => (Box::new(H2o::new(config)), "q"),
        "streamingllm" => (Box::new(StreamingLlm::new(config)), "q_suffix"),
        other => panic!("unknown method {other}"),
    };
    let k = tokens_first::<F>(&vectors.array3("k"));
    let queries = if vectors.suffixes(queries).is_empty() {
        "q"
    } else {
        queries
    };
    let q = if vectors.suffixes(queries).is_empty() {
        Array3::zeros((1, vectors.parameter("num_heads_q"), k.dim().2))
    } else {
        tokens_first::<F>(&vectors.array3(queries))
    };
    let selection = select(&*method, vectors, vectors.parameter("layer"), &q, &k);
    let expected = vectors.indices("kept_positions");
    match selection.kept {
        Kept::PerHead(heads) => assert_eq!(heads, expected),
        kept => {
            let positions: Vec<_> = kept.positions(0, k.dim().0).collect();
            assert!(
                expected.iter().all(|head| *head == positions),
                "{positions:?}, not {expected:?}"
            );
        }
    }
}

#[test]
fn selection() {
    let cases = golden::entries("selection");
    assert!(
        !cases.is_empty(),
        "no golden case under {}",
        golden::folder().join("selection").display()
    );
    for case in &cases {
        println!("{}", case.display());
        let vectors = Vectors::read(case);
        match vectors.parameter::<String>("method").as_str() {
            "windowkv" => {
                windowkv_case::<f64>(&vectors);
                windowkv_case::<f32>(&vectors);
            }
            method => {
                token_case::<f64>(&vectors, method);
                token_case::<f32>(&vectors, method);
            }
        }
    }
    println!(
        "golden selection: {} cases in float64 and float32",
        cases.len()
    );
}

/// Greedy generation fed with the expected ids; returns the caches' lengths and the windows by layer.
fn check_generation(
    llama: &Llama,
    method: &dyn Method<f32>,
    prompt: &[u32],
    expected_ids: &[u32],
    expected_logits: &Array2<f32>,
) -> (Vec<usize>, Vec<Vec<usize>>) {
    let steps = expected_ids.len();
    let prefilled = llama.prefill(prompt, method, steps, &mut |_| ()).unwrap();
    let cache_lens = prefilled
        .cache
        .layers
        .iter()
        .map(|layer| layer.len())
        .collect();
    let windows = prefilled
        .selections
        .iter()
        .map(|selection| match &selection.windows {
            Some(choice) => choice.windows.clone(),
            None => Vec::new(),
        });
    let windows = windows.collect();
    let mut cache = prefilled.cache;
    let mut logits = prefilled.logits;
    let largest = expected_logits.iter().fold(0f32, |a, b| a.max(b.abs()));
    let mut worst = 0f32;
    for (step, &id) in expected_ids.iter().enumerate() {
        for (token, (&found, &expected)) in logits.iter().zip(expected_logits.row(step)).enumerate()
        {
            let error = (found - expected).abs();
            assert!(
                error <= 3e-4 * largest,
                "step {step} token {token}: {found}, not {expected}"
            );
            worst = worst.max(error / largest);
        }
        let mut greedy = Sampler::new(Sampling::default()).unwrap();
        assert_eq!(greedy.next(&logits).unwrap(), id, "step {step}");
        if step + 1 < steps {
            let row = llama.decode(&mut [(id, &mut cache)]).unwrap();
            logits = row.row(0).to_vec();
        }
    }
    println!(
        "  {}: largest difference {worst:.1e} of the largest logit",
        method.kind().name()
    );
    (cache_lens, windows)
}

fn generation_case(folder: &Path) {
    let case = std::fs::read(folder.join("case.json")).unwrap();
    let case: serde_json::Value = serde_json::from_slice(&case).unwrap();
    let config = ModelConfig::load(folder).unwrap();
    let weights = Weights::open(folder, &config).unwrap();
    let llama = Llama::new(config, weights).unwrap();
    let expected = Vectors::read(&folder.join("expected.safetensors"));
    let ids = |name: &str| -> Vec<u32> {
        expected.indices(name)[0]
            .iter()
            .map(|&id| u32::try_from(id).unwrap())
            .collect()
    };
    let prompt = ids("prompt_ids");
    check_generation(
        &llama,
        &FullKv,
        &prompt,
        &ids("full_ids"),
        &expected.array2("full_logits"),
    );
    if case["method"] == "fullkv" {
        return;
    }

    let number = |name: &str| {
        usize::try_from(case[name].as_u64().unwrap_or_else(|| panic!("{name}"))).unwrap()
    };
    let (strategy, suffix_len) = match case["window_select_strategy"].as_str() {
        Some("average") => (Strategy::Average, number("suffix_avg")),
        Some("max") => (Strategy::Max, number("suffix_max")),
        other => panic!("unknown strategy {other:?}"),
    };
    let config = WindowKvConfig {
        capacity: number("max_capacity_prompt"),
        window_len: number("review_window_size"),
        suffix_len,
        shared_layers: number("shared_layers"),
        beta: number("beta"),
        budget_rule: BudgetRule::Released,
        strategy,
        top_tokens: None,
        score_pooling: 1,
    };
    let budgets = config.layer_budgets(llama.config().num_layers).unwrap();
    assert_eq!(budgets, expected.indices("layer_budgets")[0]);
    let method = WindowKv::new(config);
    let logits = expected.array2("wkv_logits");
    let (cache_lens, windows) =
        check_generation(&llama, &method, &prompt, &ids("wkv_ids"), &logits);
    assert_eq!(cache_lens, expected.indices("cache_lens")[0]);
    for layer in expected.suffixes("selected_windows.layer") {
        // The released code keeps windows in score order.
        let mut selected = expected.indices(&format!("selected_windows.layer{layer}"))[0].clone();
        selected.sort_unstable();
        assert_eq!(
            windows[layer.parse::<usize>().unwrap()],
            selected,
            "layer {layer}"
        );
    }
}

#[test]
fn generation() {
    let cases = golden::entries("generation");
    assert!(
        !cases.is_empty(),
        "no golden case under {}",
        golden::folder().join("generation").display()
    );
    for case in &cases {
        println!("{}", case.display());
        generation_case(case);
    }
    println!("golden generation: {} models", cases.len());
}

#[derive(serde::Deserialize)]
struct MetricCase {
    metric: String,
    prediction: String,
    ground_truth: String,
    all_classes: Option<Vec<String>>,
    score: f64,
}

fn metric_score(case: &MetricCase) -> f64 {
    if case.metric == "needle_rouge1" {
        return rouge1::f1(&case.prediction, &case.ground_truth);
    }
    let name = serde_json::Value::from(case.metric.as_str());
    let metric: Metric = serde_json::from_value(name).expect("a metric that the project knows");
    let classes = case.all_classes.as_deref().unwrap_or_default();
    metric.score(&case.prediction, &case.ground_truth, classes)
}

#[test]
fn metrics() {
    let path = golden::folder().join("metrics.jsonl");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<MetricCase> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("one case a line"))
        .collect();
    assert!(!cases.is_empty(), "no golden case in {}", path.display());
    for (index, case) in cases.iter().enumerate() {
        let found = metric_score(case);
        assert!(
            (found - case.score).abs() <= 1e-6,
            "{}:{}: {} is {found}, not {}",
            path.display(),
            index + 1,
            case.metric,
            case.score
        );
    }
    println!("golden metrics: {} cases", cases.len());
}
