//! The BERT classifier against what transformers and PyTorch compute of the fixture (`bert-fixture/make.py`).

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use windowkv_model::Error;
use windowkv_model::classifier::bert::BertClassifier;
use windowkv_ref::policy::Task;

#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    pooled: Vec<f32>,
    logits: [f32; 2],
    softmax: [f32; 2],
    label: usize,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/bert-fixture")
        .join(name)
}

fn cases() -> Vec<Case> {
    let text = fs::read(fixture("expected.json")).unwrap();
    serde_json::from_slice::<Expected>(&text).unwrap().cases
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let difference = (found - expected).abs();
        // NaN fails as well.
        assert!(difference <= 1e-4, "{what}: {found} and {expected}");
    }
}

fn check(classifier: &BertClassifier) -> f32 {
    let mut most = 0.0_f32;
    let mut labels = [0; 2];
    for case in cases() {
        assert_eq!(
            classifier.ids(&case.text).unwrap(),
            case.ids,
            "{:.60}",
            case.text
        );
        let output = classifier.classify(&case.text).unwrap();
        assert_close(&output.pooled, &case.pooled, "pooled");
        assert_close(&output.logits, &case.logits, "logits");
        assert_close(&output.softmax, &case.softmax, "softmax");
        let label = usize::from(output.task == Task::Aggregation);
        assert_eq!(label, case.label, "{:.60}", case.text);
        labels[label] += 1;
        let pairs = output.pooled.iter().zip(&case.pooled);
        most = pairs.fold(most, |most, (a, b)| most.max((a - b).abs()));
    }
    assert!(labels[0] > 0 && labels[1] > 0, "the cases have both labels");
    most
}

/// A folder with some of the fixture's files, under other names.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in files {
        fs::copy(fixture(from), dir.path().join(to)).unwrap();
    }
    dir
}

const CONFIG: (&str, &str) = ("config.json", "config.json");
const VOCAB: (&str, &str) = ("vocab.txt", "vocab.txt");
const CASE: (&str, &str) = ("tokenizer_config.json", "tokenizer_config.json");

/// `linear.*` alone, as safetensors.
fn head(dir: &Path) -> PathBuf {
    let bytes = fs::read(fixture("classifier.safetensors")).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let head = all
        .tensors()
        .into_iter()
        .filter(|(name, _)| name.starts_with("linear"));
    let path = dir.join("head.safetensors");
    let bytes = safetensors::serialize(head, None).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn both_forms_give_what_pytorch_computes() {
    for form in ["classifier.pth", "classifier.safetensors"] {
        let classifier = BertClassifier::load(&fixture(""), &fixture(form)).unwrap();
        println!(
            "{form}: largest difference of pooled outputs {:e}",
            check(&classifier)
        );
    }
}

#[test]
fn what_the_classifier_lacks_comes_from_the_folder() {
    for (from, to) in [
        ("classifier.safetensors", "model.safetensors"),
        ("classifier.pth", "pytorch_model.bin"),
    ] {
        let dir = folder(&[CONFIG, VOCAB, CASE, (from, to)]);
        let head = head(dir.path());
        check(&BertClassifier::load(dir.path(), &head).unwrap());
    }
    let dir = folder(&[CONFIG, VOCAB, CASE]);
    let error = BertClassifier::load(dir.path(), &head(dir.path())).unwrap_err();
    assert!(error.to_string().contains("pytorch_model.bin"), "{error}");
}

/// The names of the first published checkpoints: no `bert.`, and norms with gamma and beta.
#[test]
fn old_names_are_understood() {
    let dir = folder(&[CONFIG, VOCAB, CASE]);
    let bytes = fs::read(fixture("classifier.safetensors")).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = all.tensors().into_iter().filter_map(|(name, view)| {
        let name = name.strip_prefix("bert.")?;
        let old = name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta");
        Some((old, view))
    });
    let bytes = safetensors::serialize(renamed, None).unwrap();
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    check(&BertClassifier::load(dir.path(), &head(dir.path())).unwrap());
}

#[test]
fn tokenizer_json_is_taken_where_it_exists() {
    let dir = folder(&[CONFIG]);
    let vocab = fs::read_to_string(fixture("vocab.txt")).unwrap();
    let ids = vocab.lines().enumerate();
    let ids: serde_json::Map<_, _> = ids.map(|(id, token)| (token.into(), id.into())).collect();
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let added: Vec<_> = special
        .iter()
        .enumerate()
        .map(|(id, token)| {
            serde_json::json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                               "normalized": false, "special": true})
        })
        .collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": false},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": ids},
    });
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    check(&BertClassifier::load(dir.path(), &fixture("classifier.pth")).unwrap());
}

#[test]
fn broken_folders_are_refused_by_file() {
    let load = |dir: &Path, file: &Path| BertClassifier::load(dir, file).unwrap_err();
    let pth = fixture("classifier.pth");
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[VOCAB], "config.json"),
        (&[CONFIG], "neither tokenizer.json nor vocab.txt"),
        (&[CONFIG, ("config.json", "vocab.txt")], "[SEP]"),
    ];
    for (files, part) in cases {
        let message = load(folder(files).path(), &pth).to_string();
        assert!(message.contains(part), "{message}");
    }
    let absent = load(&fixture(""), Path::new("absent.pth"));
    assert!(matches!(absent, Error::Io { .. }), "{absent}");
    let folder_as_file = load(&fixture(""), &fixture(""));
    assert!(
        matches!(folder_as_file, Error::NotAFile { .. }),
        "{folder_as_file}"
    );
    let text = load(&fixture(""), &fixture("vocab.txt"));
    assert!(matches!(text, Error::Pth { .. }), "{text}");

    // A config of another size than the weights.
    let dir = folder(&[VOCAB]);
    let config = fs::read_to_string(fixture("config.json")).unwrap();
    let config = config.replace("\"hidden_size\": 24", "\"hidden_size\": 48");
    fs::write(dir.path().join("config.json"), config).unwrap();
    let error = load(dir.path(), &pth);
    assert!(matches!(error, Error::TensorShape { .. }), "{error}");
}

#[test]
fn a_text_without_room_and_broken_weights_are_errors() {
    let classifier = BertClassifier::load(&fixture(""), &fixture("classifier.pth")).unwrap();
    for len in [0, 513] {
        let message = classifier
            .classify_ids(&vec![5; len])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(&len.to_string()) && message.contains("512"),
            "{message}"
        );
    }
    // NaN in the head.
    let dir = folder(&[CONFIG, VOCAB, CASE]);
    let bytes = fs::read(fixture("classifier.safetensors")).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let nan: Vec<u8> = [f32::NAN; 2].iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensors = all.tensors().into_iter().map(|(name, view)| {
        let data = if name == "linear.bias" {
            &nan[..]
        } else {
            view.data()
        };
        let shape = view.shape().to_vec();
        (
            name,
            safetensors::tensor::TensorView::new(view.dtype(), shape, data).unwrap(),
        )
    });
    let path = dir.path().join("nan.safetensors");
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let classifier = BertClassifier::load(dir.path(), &path).unwrap();
    let message = classifier.classify("a").unwrap_err().to_string();
    assert!(message.contains("NaN"), "{message}");
}
