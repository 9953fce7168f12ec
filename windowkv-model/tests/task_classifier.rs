//! The embedded task classifier: how it is made, how it does, and how requests of one batch follow their tasks.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use windowkv_model::classifier::corpus::{Split, different_instructions, prompts};
use windowkv_model::classifier::linear::LinearClassifier;
use windowkv_model::classifier::training::{TrainingSettings, measure, train};
use windowkv_model::classifier::{TaskClassifier, TaskDecision};
use windowkv_model::demo::prompts::{PromptSettings, filler, prompt};
use windowkv_model::evaluation::needle::{Prompts, TextNeedle};
use windowkv_model::runner::{Model, Request, Sampling, generate, generate_batch};
use windowkv_model::settings::window_config;
use windowkv_ref::methods::WindowKv;
use windowkv_ref::policy::{ModelPreset, Strategy, Task, TaskMapping, WindowKvConfig};

fn classify(prompt: &str) -> TaskDecision {
    TaskClassifier::embedded().classify(prompt).unwrap()
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn the_embedded_weights_are_what_the_program_trains() {
    let settings = TrainingSettings::default();
    let trained_on = prompts(Split::Train, settings.variants, settings.seed);
    assert!(different_instructions(&trained_on) >= 2000);
    let trained = train(&settings, &mut |_| ());
    assert!(
        trained == LinearClassifier::embedded(),
        "run the example train-classifier and commit its weights"
    );
}

#[test]
fn held_out_phrasings_are_right_in_95_of_100() {
    let held_out = prompts(Split::HeldOut, 10, 2);
    let labelled = held_out.iter().map(|p| (p.prompt.as_str(), p.task));
    let confusion = measure(&TaskClassifier::embedded(), labelled, &mut || ()).unwrap();
    println!("{confusion:?}: {:.2} %", 100.0 * confusion.accuracy());
    assert!(confusion.accuracy() >= 0.95, "{confusion:?}");
    // Neither task is bought at the cost of the other.
    for row in confusion.matrix {
        assert!(
            row.iter().max().unwrap() * 100 >= 93 * row.iter().sum::<usize>(),
            "{confusion:?}"
        );
    }
}

#[test]
fn a_prompt_of_100_000_characters_takes_less_than_a_millisecond() {
    let classifier = LinearClassifier::embedded();
    // Texts of many different words: repeated ones cost a fraction.
    let texts = prompts(Split::Train, 4, 1);
    for language in ["en", "zh"] {
        let of = texts.iter().filter(|text| text.language == language);
        let chars = of.flat_map(|text| text.prompt.chars());
        let prompt: String = chars.take(100_000).collect();
        assert_eq!(prompt.chars().count(), 100_000);
        let mut seconds: Vec<f64> = (0..41)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(classifier.classify(std::hint::black_box(&prompt)));
                start.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        println!("{language}: median {:.0} us", seconds[20] * 1e6);
        // The least of them: other programs run on this machine.
        assert!(seconds[0] < 1e-3 || cfg!(debug_assertions), "{seconds:?}");
    }
}

#[test]
fn a_prompt_without_a_known_word_is_localization_and_says_so() {
    for prompt in ["", "!", "zzz", "xyzzy qwrt"] {
        let decision = classify(prompt);
        assert_eq!(decision.task, Task::Localization, "{prompt:?} {decision:?}");
        assert!(decision.uncertain, "{prompt:?} {decision:?}");
    }
}

/// Instructions like those of real benchmarks, with what stands between their parts there: texts, code, examples.
#[test]
fn instructions_of_benchmarks_get_their_tasks() {
    let stories = filler(3000, 7);
    let code = "def area(width, height):\n    return width * height\n".repeat(100);
    let examples = "Question: How far is it to the moon?\nKind: distance\n".repeat(100);
    let mut counted = [0; 2];
    for line in include_str!("task-prompts/benchmarks.txt").lines() {
        let Some((task, rest)) = line.split_once(" | ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (like, template) = rest.split_once(" | ").expect("what it is like");
        let expected = match task {
            "localization" => Task::Localization,
            "aggregation" => Task::Aggregation,
            other => panic!("{other}"),
        };
        let template = template.replace("\\n", "\n");
        let contexts = match like {
            like if like.contains("code") => [&code[..], &code[..300]],
            like if like.contains("examples") => [&examples[..], &examples[..400]],
            _ => [&stories[..], &stories[..500]],
        };
        for context in contexts {
            let decision = classify(&template.replace("{context}", context));
            assert_eq!(decision.task, expected, "{like}: {decision:?}");
            counted[usize::from(expected == Task::Aggregation)] += 1;
        }
    }
    println!("{counted:?} prompts like those of benchmarks, all right");
    assert!(counted.iter().all(|&count| count >= 20), "{counted:?}");
}

fn longbench() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let dir = std::env::var_os("WINDOWKV_LONGBENCH")
        .map_or_else(|| root.join("../shared/longbench"), PathBuf::from);
    dir.join("config/dataset2prompt.json")
        .exists()
        .then_some(dir)
}

/// Real benchmark phrasings and documents, none of which the training has seen.
#[test]
fn longbench_prompts_get_their_tasks() {
    let Some(dir) = longbench() else {
        println!("skipped: no ../shared/longbench (or WINDOWKV_LONGBENCH=DIR)");
        return;
    };
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let templates: Value =
        serde_json::from_str(&read(dir.join("config/dataset2prompt.json"))).unwrap();
    let cases = |dataset: &str| -> Vec<Value> {
        let lines = read(dir.join(format!("data/{dataset}.jsonl")));
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let documents = ["multi_news", "multifieldqa_zh", "passage_retrieval_zh"]
        .map(|dataset| cases(dataset).into_iter().map(move |case| (dataset, case)));
    let documents: Vec<(&str, Value)> = documents.into_iter().flatten().collect();
    let code = "def area(width, height):\n    return width * height\n".repeat(100);
    let questions = "Question: How far is it to the moon?\nType: distance\n".repeat(100);
    let mut counted = 0;
    for (dataset, template) in templates.as_object().unwrap() {
        let template = template.as_str().unwrap();
        let expected = match dataset.as_str() {
            "narrativeqa" | "multifieldqa_zh" => Task::Localization,
            "multi_news" | "passage_retrieval_zh" | "trec" | "lcc" => Task::Aggregation,
            // Further datasets of the benchmark, where a copy has them.
            "qasper" | "multifieldqa_en" | "hotpotqa" | "2wikimqa" | "musique" | "dureader" => {
                Task::Localization
            }
            "gov_report"
            | "qmsum"
            | "vcsum"
            | "samsum"
            | "lsht"
            | "passage_count"
            | "passage_retrieval_en"
            | "repobench-p" => Task::Aggregation,
            _ => continue,
        };
        let chinese = !template.is_ascii();
        let made = |context: &str, input: &str| {
            template
                .replace("{context}", context)
                .replace("{input}", input)
        };
        let prompts: Vec<String> = match dataset.as_str() {
            "lcc" | "repobench-p" => vec![made(&code, "")],
            "trec" | "lsht" | "samsum" => {
                vec![made(&questions, "Question: Who built the bridge?\nType:")]
            }
            _ => documents
                .iter()
                .filter(|(_, case)| {
                    let input = case["input"].as_str().unwrap_or_default();
                    chinese != input.is_ascii()
                })
                .map(|(from, case)| {
                    // What is asked goes with a template: an abstract is no question, and a question no abstract.
                    let retrieval = dataset.starts_with("passage_retrieval");
                    let input = match case["input"].as_str().filter(|input| !input.is_empty()) {
                        Some(input) if *from == dataset => input,
                        _ if retrieval && chinese => "文中介绍了这条河上的第一座桥和出钱建桥的人。",
                        _ if retrieval => {
                            "The text tells of the first bridge and of those who paid for it."
                        }
                        _ if chinese => "谁下了这个命令？",
                        _ => "Who gave the order?",
                    };
                    made(case["context"].as_str().unwrap(), input)
                })
                .collect(),
        };
        assert!(!prompts.is_empty(), "{dataset}");
        for prompt in &prompts {
            let decision = classify(prompt);
            assert_eq!(decision.task, expected, "{dataset}: {decision:?}");
            counted += 1;
        }
    }
    println!("{counted} prompts of LongBench's templates, all right");
}

fn config(preset: &ModelPreset, mapping: TaskMapping, task: Task) -> WindowKvConfig {
    WindowKvConfig {
        capacity: 96,
        ..window_config(preset, mapping, task)
    }
}

#[test]
fn each_request_of_a_batch_follows_its_own_task() {
    let model = Model::demo().unwrap();
    let settings = |tokens| PromptSettings {
        tokens,
        facts: 4,
        answer_tokens: 3,
        depth: None,
    };
    let question = prompt(&settings(700), 5, 0).unwrap().text;
    let report = prompt(&settings(600), 5, 1).unwrap().text;
    let report = report.split("Question:").next().unwrap();
    let texts = [
        question,
        format!("Summarize the following text in a few sentences.\n\n{report}\n\nSummary:"),
    ];
    let tasks = texts.each_ref().map(|text| classify(text).task);
    assert_eq!(tasks, [Task::Localization, Task::Aggregation]);

    for mapping in [TaskMapping::Paper, TaskMapping::Released] {
        let ids = texts
            .each_ref()
            .map(|text| model.tokenizer.encode(text, true).unwrap());
        let configs = tasks.map(|task| config(&model.preset, mapping, task));
        assert_ne!(configs[0].strategy, configs[1].strategy);
        assert_eq!(
            configs[0].strategy,
            match mapping {
                TaskMapping::Paper => Strategy::Average,
                TaskMapping::Released => Strategy::Max,
            }
        );
        let methods = configs.clone().map(WindowKv::new);
        let requests = [0, 1].map(|index| Request {
            ids: &ids[index],
            method: &methods[index],
            max_new_tokens: 4,
            sampling: Sampling::default(),
            stop_strings: &[],
            ignore_stop_tokens: true,
        });
        let together = generate_batch(&model, &requests, &mut |_| (), &mut |_, _| ()).unwrap();
        for (index, request) in requests.iter().enumerate() {
            let alone = generate(&model, request, &mut |_| (), &mut |_| ()).unwrap();
            assert_eq!(together[index].ids, alone.ids);
            assert_eq!(together[index].kv, alone.kv);
            // The windows are those of the request's own window length and suffix.
            let config = &configs[index];
            for group in &together[index].kv.groups {
                let windows = group.windows.as_ref().unwrap();
                let review = ids[index].len() - config.suffix_len;
                let kept: usize = windows
                    .iter()
                    .map(|window| {
                        ((window + 1) * config.window_len).min(review) - window * config.window_len
                    })
                    .sum();
                assert_eq!(
                    group.kept_tokens,
                    kept + config.suffix_len,
                    "{mapping:?} {index}"
                );
            }
        }
        // Had the second request followed the first one's task, it would have kept other windows.
        let other = WindowKv::new(config(&model.preset, mapping, tasks[0]));
        let other = Request {
            method: &other,
            ..requests_like(&requests[1])
        };
        let other = generate(&model, &other, &mut |_| (), &mut |_| ()).unwrap();
        assert_ne!(other.kv.groups, together[1].kv.groups);
    }
}

fn requests_like<'a>(request: &Request<'a>) -> Request<'a> {
    Request {
        ids: request.ids,
        method: request.method,
        max_new_tokens: request.max_new_tokens,
        sampling: request.sampling,
        stop_strings: request.stop_strings,
        ignore_stop_tokens: request.ignore_stop_tokens,
    }
}

/// `niah` and `compare` on the demo model ask for one place of the prompt, and are taken for that.
#[test]
fn the_demos_needles_are_localization() {
    let model = Model::demo().unwrap();
    let needles = Prompts::Demo {
        facts: 8,
        answer_tokens: 4,
    };
    for length in [256, 512, 1024, 2048] {
        for depth in (0..=100).step_by(10) {
            for index in 0..5 {
                let prompt = needles.prompt(&model, length, f64::from(depth), index);
                let decision = classify(&prompt.unwrap().text);
                assert_eq!(decision.task, Task::Localization);
                assert!(
                    !decision.uncertain,
                    "{length} {depth} {index}: {decision:?}"
                );
            }
        }
    }
}

/// The prompt of the released evaluation.
#[test]
fn the_released_needle_is_localization() {
    let released = TextNeedle::default();
    let haystack = filler(6000, 1);
    let text = released.template.replace("{context}", &haystack);
    let decision = classify(&text.replace("{question}", &released.question));
    assert_eq!(decision.task, Task::Localization, "{decision:?}");
}
