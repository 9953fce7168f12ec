//! The whole pipeline on the emulated GPU against the CPU runner's float32: logits, tokens, windows, memory, launches.
//!
//! The bound of a logit is the accuracy rule carried through the layers. Every stage begins with a norm, which passes
//! relative errors on as they are, so relative errors add up: a layer rounds to the half-precision type at most 16 times
//! between one residual and the next (the norm's output, q, k and v, both after RoPE, P, attention's output, the
//! stream, the second norm's output, gate and up, their product, the stream again, and a weight's own rounding before
//! each product: 7 matrices less those that share an input), and the embedding, the last norm and the last matrix add
//! 3. With u the half-ulp of the type: |found - expected| <= (16 layers + 3) u max |expected|.

use half::{bf16, f16};
use windowkv_kernels::{Device, Faults, HalfPrecision, Trace};
use windowkv_model::Error;
use windowkv_model::config::ModelConfig;
use windowkv_model::device::{Batch, DeviceModel, DevicePlan, Prompt, PromptShape, generate_batch};
use windowkv_model::runner::{Llama, Model, Request, Sampler, Sampling, generate};
use windowkv_model::weights::Weights;
use windowkv_ref::methods::{
    FullKv, Granularity, H2o, LayerInput, Method, MethodKind, Pooling, PyramidKv, Rule, Selection,
    Selector, SnapKv, StreamingLlm, TokenConfig, WindowKv,
};
use windowkv_ref::policy::{BudgetRule, ModelShape, Strategy, WindowKvConfig};
use windowkv_tests::golden;

/// Half an ulp of 1.
trait HalfUlp: HalfPrecision {
    const U: f32;
}
impl HalfUlp for bf16 {
    const U: f32 = 1.0 / 512.0;
}
impl HalfUlp for f16 {
    const U: f32 = 1.0 / 4096.0;
}

fn relative_bound<T: HalfUlp>(llama: &Llama) -> f32 {
    (16 * llama.config().num_layers + 3) as f32 * T::U
}

fn window_config(capacity: usize, shared_layers: usize) -> WindowKvConfig {
    WindowKvConfig {
        capacity,
        window_len: 4,
        suffix_len: 5,
        shared_layers,
        beta: 14,
        budget_rule: BudgetRule::Released,
        strategy: Strategy::Max,
        top_tokens: None,
        score_pooling: 3,
    }
}

fn token_config(capacity: usize, pooling: Pooling) -> TokenConfig {
    TokenConfig {
        capacity,
        recent_len: 4,
        granularity: Granularity::KvHead,
        pooling,
        kernel_size: 5,
        beta: 5,
    }
}

fn methods(capacity: usize) -> Vec<Box<dyn Method<f32>>> {
    let average = token_config(capacity, Pooling::Average);
    let max = token_config(capacity, Pooling::Max);
    vec![
        Box::new(FullKv),
        Box::new(WindowKv::new(window_config(capacity, 2))),
        Box::new(StreamingLlm::new(average)),
        Box::new(H2o::new(average)),
        Box::new(SnapKv::new(max)),
        Box::new(PyramidKv::new(average)),
    ]
}

/// Whether a layer keeps other tokens than on the CPU; asserts that it may, because scores are too near to each other.
fn kept_otherwise(found: &Selection<f32>, expected: &Selection<f32>, bound: f32) -> bool {
    if found.kept == expected.kept {
        return false;
    }
    let Some(scores) = &expected.scores else {
        // A layer that follows a leader: the leader was looked at.
        assert!(
            expected
                .windows
                .as_ref()
                .is_some_and(|choice| choice.leader.is_some())
        );
        return true;
    };
    let lists = |selection: &Selection<f32>, row: usize| -> Vec<usize> {
        match &selection.windows {
            Some(choice) => choice.windows.clone(),
            None => selection.kept.positions(row, usize::MAX).collect(),
        }
    };
    for (row, scores) in scores.rows().into_iter().enumerate() {
        let (found, expected) = (lists(found, row), lists(expected, row));
        assert_eq!(found.len(), expected.len());
        let largest = scores.iter().fold(0.0_f32, |a, &b| a.max(b));
        for index in 0..scores.len() {
            if found.contains(&index) != expected.contains(&index) {
                let edge = expected
                    .iter()
                    .filter(|&&kept| kept < scores.len())
                    .fold(f32::INFINITY, |least, &kept| least.min(scores[kept]));
                assert!(
                    (scores[index] - edge).abs() <= 2.0 * bound * largest,
                    "row {row}: {index} of score {} was chosen otherwise, at an edge of {edge}",
                    scores[index]
                );
            }
        }
    }
    true
}

/// A method that keeps what was kept before, whatever the scores are.
struct Replay<'a> {
    method: &'a dyn Method<f32>,
    kept: &'a [Selection<f32>],
}

struct ReplaySelector {
    selector: Box<dyn Selector<f32>>,
    kept: Vec<Selection<f32>>,
}

impl Method<f32> for Replay<'_> {
    fn kind(&self) -> MethodKind {
        self.method.kind()
    }

    fn start(
        &self,
        model: ModelShape,
        seqlen: usize,
    ) -> Result<Box<dyn Selector<f32>>, windowkv_ref::Error> {
        Ok(Box::new(ReplaySelector {
            selector: self.method.start(model, seqlen)?,
            kept: self.kept.to_vec(),
        }))
    }
}

impl Selector<f32> for ReplaySelector {
    fn query_rows(&self, layer: usize) -> usize {
        self.selector.query_rows(layer)
    }

    fn max_kept(&self, layer: usize) -> usize {
        self.selector.max_kept(layer)
    }

    fn cache_heads(&self, layer: usize) -> usize {
        self.selector.cache_heads(layer)
    }

    fn rule(&self, layer: usize) -> Rule {
        self.selector.rule(layer)
    }

    fn select(
        &mut self,
        layer: usize,
        _: &LayerInput<'_, f32>,
    ) -> Result<Selection<f32>, windowkv_ref::Error> {
        Ok(self.kept[layer].clone())
    }
}

/// Prompt and forced tokens on both runners; returns whether all layers kept the same. Where one did not, the CPU's decode
/// steps go on from what the device kept.
fn compare<T: HalfUlp>(
    llama: &Llama,
    device: &DeviceModel<T>,
    method: &dyn Method<f32>,
    prompt: &[u32],
    next: &[u32],
    chunk: usize,
) -> bool {
    let bound = relative_bound::<T>(llama);
    let expected = llama
        .prefill(prompt, method, next.len(), &mut |_| ())
        .unwrap();
    let prompts = [Prompt {
        ids: prompt,
        method,
        new_tokens: next.len(),
        sampling: Sampling::default(),
    }];
    let mut batch = Batch::new(device, &prompts, chunk).unwrap();
    batch.prefill(&mut |_| ()).unwrap();
    let mut worst = check_logits(&batch, &expected.logits, bound);
    let selections = batch.selections(0).unwrap();
    assert_eq!(selections.len(), expected.selections.len());
    let mut same = true;
    for (found, expected) in selections.iter().zip(&expected.selections) {
        assert_eq!(
            found.kept.len(prompt.len()),
            expected.kept.len(prompt.len())
        );
        same &= !kept_otherwise(found, expected, bound);
    }
    let mut cache = expected.cache;
    if !same {
        let kept = &selections;
        let replay = Replay { method, kept };
        let replayed = llama.prefill(prompt, &replay, next.len(), &mut |_| ());
        cache = replayed.unwrap().cache;
    }
    for &id in next {
        let logits = llama.decode(&mut [(id, &mut cache)]).unwrap();
        batch.set_tokens(&[id]).unwrap();
        batch.step().unwrap();
        worst = worst.max(check_logits(&batch, logits.as_slice().unwrap(), bound));
    }
    println!(
        "  {:12} chunk {chunk:4}: largest difference {worst:.1e} of the largest logit, bound {bound:.1e}, same choice: {same}",
        method.kind().name()
    );
    same
}

/// Returns the worst difference over the largest logit.
fn check_logits<T: HalfUlp>(batch: &Batch<'_, T>, expected: &[f32], bound: f32) -> f32 {
    let found = batch.logits().unwrap();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    let mut worst = 0.0_f32;
    for (token, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error <= bound * largest,
            "token {token}: {found}, not {expected}"
        );
        worst = worst.max(error / largest);
    }
    // Greedy: the same token, unless another is nearer than both may be off.
    let chosen = batch.tokens().unwrap()[0] as usize;
    let best = Sampler::new(Sampling::default())
        .unwrap()
        .next(expected)
        .unwrap() as usize;
    assert!(chosen == best || expected[best] - expected[chosen] <= 2.0 * bound * largest);
    worst
}

fn golden_case<T: HalfUlp>(folder: &std::path::Path) -> (usize, usize) {
    let config = ModelConfig::load(folder).unwrap();
    let weights = Weights::open(folder, &config).unwrap();
    let llama = Llama::new(config, weights).unwrap();
    let expected = golden::Vectors::read(&folder.join("expected.safetensors"));
    let ids = |name: &str| -> Vec<u32> {
        expected.indices(name)[0]
            .iter()
            .map(|&id| id as u32)
            .collect()
    };
    let (prompt, next) = (ids("prompt_ids"), ids("full_ids"));
    let (prompt, next) = (&prompt[..prompt.len().min(150)], &next[..next.len().min(3)]);
    let device = DeviceModel::<T>::load(&Device::emulated(), &llama, &mut |_| ()).unwrap();
    let mut same = 0;
    let methods = methods(prompt.len() / 3);
    for (index, method) in methods.iter().enumerate() {
        let chunk = [prompt.len(), 40, 64, 7, 150, 33][index];
        same += usize::from(compare(&llama, &device, &**method, prompt, next, chunk));
    }
    (same, methods.len())
}

#[test]
fn golden_models_agree_with_float32_with_every_method() {
    let cases = golden::entries("generation");
    assert!(!cases.is_empty());
    let (mut same, mut all) = (0, 0);
    for (index, case) in cases.iter().enumerate() {
        println!("{}", case.display());
        let (agreed, of) = match index % 2 {
            0 => golden_case::<f16>(case),
            _ => golden_case::<bf16>(case),
        };
        same += agreed;
        all += of;
    }
    println!("{same} of {all} runs kept exactly what float32 keeps");
    assert!(2 * same >= all, "{same} of {all}");
}

/// A prompt of the demo's kind: a long enough text that layers have something to choose from.
fn demo_ids(model: &Model, len: usize) -> Vec<u32> {
    let text = "The secret words of Boston: amber falcon river. The station was near the house. "
        .repeat(20);
    let mut ids = model.tokenizer.encode(&text, true).unwrap();
    ids.truncate(len);
    ids
}

#[test]
fn the_demo_model_agrees_with_float32() {
    let model = Model::demo().unwrap();
    let ids = demo_ids(&model, 130);
    let device = DeviceModel::<bf16>::load(&Device::emulated(), &model.llama, &mut |_| ()).unwrap();
    for method in [
        &FullKv as &dyn Method<f32>,
        &WindowKv::new(window_config(40, 2)),
    ] {
        compare(&model.llama, &device, method, &ids, &[5, 9], 64);
    }
}

/// Sequences of other lengths, methods and samplings do not change a bit of a sequence, nor do those that leave.
#[test]
fn a_batch_gives_each_sequence_what_it_gets_alone() {
    let model = Model::demo().unwrap();
    let device = DeviceModel::<bf16>::load(&Device::emulated(), &model.llama, &mut |_| ()).unwrap();
    let methods = methods(20);
    let ids: Vec<_> = [40, 57, 31, 48, 44, 36]
        .map(|len| demo_ids(&model, len))
        .into();
    let requests: Vec<_> = methods
        .iter()
        .zip(&ids)
        .enumerate()
        .map(|(index, (method, ids))| Request {
            ids,
            method: &**method,
            max_new_tokens: 1 + index % 4,
            sampling: Sampling {
                temperature: if index % 2 == 0 { 0.0 } else { 1.5 },
                seed: index as u64,
                ..Sampling::default()
            },
            stop_strings: &[],
            ignore_stop_tokens: true,
        })
        .collect();
    let run = |requests: &[Request<'_>]| {
        generate_batch(&model, &device, requests, 32, &mut |_| (), &mut |_, _| ()).unwrap()
    };
    let together = run(&requests);
    for (request, answer) in requests.iter().zip(&together) {
        let alone = run(std::slice::from_ref(request)).remove(0);
        assert_eq!(
            (&alone.ids, &alone.text, &alone.kv),
            (&answer.ids, &answer.text, &answer.kv)
        );
        assert_eq!(answer.ids.len(), request.max_new_tokens);
    }
}

/// The same cut in bits: chunks do not change a logit.
#[test]
fn chunks_do_not_change_a_bit() {
    let model = Model::demo().unwrap();
    let device = DeviceModel::<f16>::load(&Device::emulated(), &model.llama, &mut |_| ()).unwrap();
    let ids = demo_ids(&model, 45);
    let config = token_config(20, Pooling::Max);
    let logits = [1000, 17, 8].map(|chunk| {
        let prompt = Prompt {
            ids: &ids,
            method: &H2o::new(config),
            new_tokens: 1,
            sampling: Sampling::default(),
        };
        let mut batch = Batch::new(&device, &[prompt], chunk).unwrap();
        batch.prefill(&mut |_| ()).unwrap();
        let first = batch.logits().unwrap();
        batch.step().unwrap();
        (first, batch.logits().unwrap(), batch.selections(0).unwrap())
    });
    assert!(logits[0] == logits[1] && logits[0] == logits[2]);
}

fn traced(device: &Device, work: impl FnOnce()) -> Trace {
    let before = device.trace();
    work();
    device.trace().since(&before)
}

/// Nine launches a layer in a step; in prefill and in a step nothing is copied, allocated, freed or waited for.
#[test]
fn launches_are_counted_and_nothing_synchronises() {
    let model = Model::demo().unwrap();
    let gpu = Device::emulated();
    let device = DeviceModel::<bf16>::load(&gpu, &model.llama, &mut |_| ()).unwrap();
    let layers = model.llama.config().num_layers as u64;
    let ids = demo_ids(&model, 40);
    let methods = methods(20);
    let prompts: Vec<_> = methods
        .iter()
        .map(|method| Prompt {
            ids: &ids,
            method: &**method,
            new_tokens: 2,
            sampling: Sampling::default(),
        })
        .collect();
    let mut batch = Batch::new(&device, &prompts, 16).unwrap();
    let prefill = traced(&gpu, || batch.prefill(&mut |_| ()).unwrap());
    let step = traced(&gpu, || batch.step().unwrap());
    for (what, trace) in [("prefill", &prefill), ("step", &step)] {
        let moved = (trace.uploaded_bytes, trace.downloaded_bytes);
        assert_eq!(
            (trace.synchronisations, trace.allocations, moved),
            (0, 0, (0, 0)),
            "{what}"
        );
    }
    assert_eq!(step.total_launches(), 9 * layers + 5);
    let expected = [
        ("advance", 1),
        ("decode", layers),
        ("embedding", 1),
        ("matmul", 4 * layers + 1),
        ("rms_norm", 2 * layers + 1),
        ("rope", layers),
        ("sample", 1),
        ("silu_mul", layers),
    ];
    assert_eq!(step.launches, expected.into());
    // Leaders alone are scored: half of WindowKV's layers, every layer of the three others that look at scores.
    let scored = prefill.launches["score"];
    assert!(
        (3 * layers..=3 * layers + layers / 2).contains(&scored),
        "{scored}"
    );
    assert_eq!(prefill.launches["select"], scored);
    assert_eq!(prefill.launches["gather"], layers * methods.len() as u64);
}

/// The plan is what is allocated, to 5 %, and what does not fit is refused with the numbers.
#[test]
fn memory_is_what_was_planned() {
    let model = Model::demo().unwrap();
    for (len, chunk, new_tokens) in [(60, 16, 3), (33, 2048, 40)] {
        let gpu = Device::emulated();
        let ids = demo_ids(&model, len);
        let methods = methods(20);
        let shapes: Vec<_> = methods
            .iter()
            .map(|method| PromptShape {
                seqlen: len,
                method: &**method,
                new_tokens,
            })
            .collect();
        let plan = DevicePlan::new(&gpu, model.llama.config(), &shapes, chunk).unwrap();
        let device = DeviceModel::<bf16>::load(&gpu, &model.llama, &mut |_| ()).unwrap();
        let prompts: Vec<_> = methods
            .iter()
            .map(|method| Prompt {
                ids: &ids,
                method: &**method,
                new_tokens,
                sampling: Sampling::default(),
            })
            .collect();
        let mut batch = Batch::new(&device, &prompts, chunk).unwrap();
        batch.prefill(&mut |_| ()).unwrap();
        batch.step().unwrap();
        let peak = gpu.trace().peak_bytes;
        let planned = plan.total();
        println!("planned {planned}, peak {peak}: {plan}");
        assert!(
            planned.abs_diff(peak) * 20 <= planned,
            "planned {planned}, peak {peak}: {plan}"
        );
        let refused = plan.check(Some(planned - 1)).unwrap_err();
        assert!(
            refused.to_string().contains(&planned.to_string()),
            "{refused}"
        );
        plan.check(Some(planned)).unwrap();
        drop(batch);
        drop(device);
        assert_eq!(gpu.trace().live_bytes, 0);
    }
}

/// Loads the demo model, reads a prompt and takes a step on a device with faults.
fn run_with(faults: Faults) -> (Device, windowkv_model::Result<()>) {
    let model = Model::demo().unwrap();
    let gpu = Device::emulated_with(faults);
    let run = || {
        let device = DeviceModel::<bf16>::load(&gpu, &model.llama, &mut |_| ())?;
        let prompt = Prompt {
            ids: &demo_ids(&model, 20),
            method: &WindowKv::new(window_config(12, 2)),
            new_tokens: 1,
            sampling: Sampling::default(),
        };
        let mut batch = Batch::new(&device, &[prompt], 16)?;
        batch.prefill(&mut |_| ())?;
        batch.step()?;
        batch.tokens().map(|_| ())
    };
    let answer = run();
    (gpu, answer)
}

/// The step and the device's own error.
fn device_error(answer: windowkv_model::Result<()>) -> (String, windowkv_kernels::Error) {
    match answer.unwrap_err() {
        Error::Device { step, source } => (step, source),
        other => panic!("{other}"),
    }
}

/// Wherever memory ends, the error is that, names the step, and leaves no byte behind.
#[test]
fn running_out_of_memory_frees_everything_and_names_the_step() {
    let (gpu, answer) = run_with(Faults::default());
    answer.unwrap();
    let trace = gpu.trace();
    let mut steps = std::collections::BTreeSet::new();
    for part in 0..60 {
        let faults = Faults {
            memory_bytes: Some((trace.peak_bytes - 1) * part / 59),
            ..Faults::default()
        };
        let (gpu, answer) = run_with(faults);
        let (step, source) = device_error(answer);
        assert!(
            matches!(source, windowkv_kernels::Error::OutOfMemory(_)),
            "{source}"
        );
        assert_eq!(gpu.trace().live_bytes, 0, "{step}");
        steps.insert(step);
    }
    println!("{steps:?}");
    assert!(steps.len() >= 2, "{steps:?}");
    let faults = Faults {
        memory_bytes: Some(trace.peak_bytes),
        ..Faults::default()
    };
    run_with(faults).1.unwrap();
}

/// Whichever launch a device stops at, the error names the step and leaves no byte behind.
#[test]
fn a_device_that_stops_frees_everything_and_names_the_step() {
    let (gpu, answer) = run_with(Faults::default());
    answer.unwrap();
    let launches = gpu.trace().total_launches();
    let mut steps = std::collections::BTreeSet::new();
    for launch in (0..launches).step_by(5).chain([launches - 1]) {
        let faults = Faults {
            launches: Some(launch),
            ..Faults::default()
        };
        let (gpu, answer) = run_with(faults);
        let (step, source) = device_error(answer);
        assert!(
            matches!(source, windowkv_kernels::Error::Device(_)),
            "{source}"
        );
        assert_eq!(gpu.trace().live_bytes, 0, "{step}");
        steps.insert(step);
    }
    println!("{steps:?}");
    for part in [
        "the embedding of a prompt",
        "keys and values of layer",
        "attention of layer",
        "the dense layers of layer",
        "compression of layer",
        "attention of a decode step of layer",
        "the dense layers of a decode step of layer",
    ] {
        let named = steps.iter().any(|step| step.starts_with(part));
        assert!(named, "no {part} in {steps:?}");
    }
}

/// The host copies a table for each width, and then four bytes for each row of a matrix.
#[test]
fn random_weights_are_made_on_the_device() {
    let config = |layers: usize| {
        let json = serde_json::json!({
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": layers,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 500,
            "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "tie_word_embeddings": false,
        });
        ModelConfig::from_json(json.to_string().as_bytes(), "config.json".as_ref()).unwrap()
    };
    let load = |layers| {
        let gpu = Device::emulated();
        let model = DeviceModel::<bf16>::random(&gpu, &config(layers), &mut |_| ()).unwrap();
        (gpu.trace().uploaded_bytes, model)
    };
    let ((two, _), (six, model)) = (load(2), load(6));
    let (matrix_rows, norms) = ((64 + 2 * 32) + 64 + 2 * 96 + 64, 2 * 64);
    assert_eq!(six - two, 4 * (4 * matrix_rows + 2 * norms));
    let logits = |model: &DeviceModel<bf16>| {
        let prompt = Prompt {
            ids: &[3, 1, 4, 1, 5],
            method: &FullKv,
            new_tokens: 1,
            sampling: Sampling::default(),
        };
        let mut batch = Batch::new(model, &[prompt], 16).unwrap();
        batch.prefill(&mut |_| ()).unwrap();
        batch.logits().unwrap()
    };
    let (first, again) = (logits(&model), logits(&load(6).1));
    assert_eq!(first, again);
    let spread = first.iter().map(|x| x * x).sum::<f32>() / first.len() as f32;
    assert!((0.1..10.0).contains(&spread), "{spread}");
}

#[test]
fn requests_that_cannot_be_served_say_so() {
    let model = Model::demo().unwrap();
    let device = DeviceModel::<bf16>::load(&Device::emulated(), &model.llama, &mut |_| ()).unwrap();
    let ids = demo_ids(&model, 30);
    let new = |ids: &[u32], method: &dyn Method<f32>| {
        let prompt = Prompt {
            ids,
            method,
            new_tokens: 1,
            sampling: Sampling::default(),
        };
        Batch::new(&device, &[prompt], 16)
            .err()
            .map(|error| error.to_string())
    };
    let config = TokenConfig {
        granularity: Granularity::QueryHead,
        ..token_config(10, Pooling::Max)
    };
    let error = new(&ids, &SnapKv::new(config)).unwrap();
    assert!(error.contains("--device cpu"), "{error}");
    // Refused by the plan, before there is any memory.
    let long = PromptShape {
        seqlen: 140_000,
        method: &H2o::new(token_config(10, Pooling::Max)),
        new_tokens: 1,
    };
    let gpu = Device::emulated();
    let error = DevicePlan::new(&gpu, model.llama.config(), &[long], 2048).unwrap_err();
    assert!(error.to_string().contains("131,072"), "{error}");
    assert_eq!(gpu.trace().allocations, 0);
    assert!(new(&[], &FullKv).unwrap().contains("empty"));
    assert!(new(&[99_999], &FullKv).unwrap().contains("99999"));
    let request = Request {
        ids: &ids,
        method: &FullKv,
        max_new_tokens: 1 << 20,
        sampling: Sampling::default(),
        stop_strings: &[],
        ignore_stop_tokens: false,
    };
    let error = generate_batch(&model, &device, &[request], 16, &mut |_| (), &mut |_, _| ());
    assert!(matches!(error, Err(Error::ContextTooSmall { .. })));
}

/// Text, tokens kept and windows are those of the CPU runner.
#[test]
fn the_demo_answers_as_on_the_cpu() {
    let model = Model::demo().unwrap();
    let ids = model
        .tokenizer
        .encode(
            "The secret words of Boston: amber falcon river. The station was near the house. \
             Question: What are the secret words of Boston? Answer: The secret words of Boston:",
            true,
        )
        .unwrap();
    let device = DeviceModel::<bf16>::load(&Device::emulated(), &model.llama, &mut |_| ()).unwrap();
    let request = Request {
        ids: &ids,
        method: &FullKv,
        max_new_tokens: 4,
        sampling: Sampling::default(),
        stop_strings: &[],
        ignore_stop_tokens: false,
    };
    let on_cpu = generate(&model, &request, &mut |_| (), &mut |_| ()).unwrap();
    let requests = std::slice::from_ref(&request);
    let on_device = generate_batch(&model, &device, requests, 64, &mut |_| (), &mut |_, _| ());
    let on_device = on_device.unwrap().remove(0);
    assert_eq!(on_device.text, on_cpu.text);
    assert_eq!(on_device.kv.kept_per_layer, on_cpu.kv.kept_per_layer);
    assert_eq!(
        on_device.kv.bytes * 2,
        on_cpu.kv.bytes,
        "two bytes a number, not four"
    );
}
