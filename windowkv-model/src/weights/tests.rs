//! Good checkpoints in every form, and every way in which one can be bad.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::error::Error;
use crate::testing::{TestCheckpoint, with_header};

const Q: &str = "model.layers.1.self_attn.q_proj.weight";
const INDEX: &str = "model.safetensors.index.json";

fn leak(bytes: Vec<u8>) -> &'static [u8] {
    bytes.leak()
}

/// Writes `bytes` as the weights of a Llama and opens them.
fn open_bytes(bytes: &[u8]) -> Result<Weights> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    Weights::open(dir.path(), &TestCheckpoint::llama().model_config())
}

fn open(checkpoint: &TestCheckpoint) -> Result<Weights> {
    let dir = tempfile::tempdir().unwrap();
    checkpoint.write(dir.path()).unwrap();
    Weights::open(dir.path(), &checkpoint.model_config())
}

/// Opens a sharded Llama after `spoil` changed its index (given as parsed JSON) and folder.
fn open_index(spoil: impl FnOnce(&mut Value, &Path)) -> Result<Weights> {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = TestCheckpoint::llama();
    checkpoint.write_sharded(dir.path(), 3).unwrap();
    let path = dir.path().join(INDEX);
    let mut index = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    spoil(&mut index, dir.path());
    fs::write(&path, index.to_string()).unwrap();
    Weights::open(dir.path(), &checkpoint.model_config())
}

/// The error as text, after asserting that it is the variant `$pattern` and shows every part.
macro_rules! assert_error {
    ($result:expr, $pattern:pat, [$($part:expr),* $(,)?]) => {{
        let error = $result.expect_err("an error");
        assert!(matches!(&error, $pattern), "{error:?}");
        let message = error.to_string();
        $(assert!(message.contains(&$part.to_string()), "{:?} is not in {message:?}", $part.to_string());)*
    }};
}

#[test]
fn every_dtype_keeps_its_bits() {
    for dtype in [DType::Bf16, DType::F16, DType::F32] {
        let checkpoint = TestCheckpoint::new(TestCheckpoint::llama_config(), dtype);
        let weights = open(&checkpoint).unwrap();
        assert_eq!(weights.layers.len(), 2);
        for (info, written) in weights.tensors().iter().map(|info| {
            let written = checkpoint.tensors.iter().find(|t| t.name == info.name);
            (info, written.unwrap())
        }) {
            assert_eq!((info.dtype, &info.shape), (dtype, &written.shape));
        }
        let mut checkpoint = checkpoint;
        let q = &weights.layers[1].q.weight;
        let written = &checkpoint.tensor_mut(Q).bytes;
        let bytes: Vec<u8> = match q.elements() {
            Elements::Bf16(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Elements::F16(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Elements::F32(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        assert_eq!(&bytes, written);
        let mut row = vec![0.0; 16];
        q.row_to_f32(3, &mut row);
        assert_eq!(row, q.to_f32()[48..64]);
        let elements: usize = weights
            .tensors()
            .iter()
            .map(|t| t.shape.iter().product::<usize>())
            .sum();
        assert_eq!(elements as u64, checkpoint.model_config().parameters());
        let vectors = 5 * 16 * 4;
        assert_eq!(
            weights.total_bytes(),
            (elements * dtype.size()) as u64 + vectors
        );
        weights.check().unwrap();
    }
}

#[test]
fn shards_and_program_bytes_give_the_same_weights() {
    let checkpoint = TestCheckpoint::llama();
    let single = open(&checkpoint).unwrap();
    let sharded = open_index(|_, _| {}).unwrap();
    let config = checkpoint.model_config();
    let bytes = leak(checkpoint.safetensors());
    let embedded = Weights::from_static(bytes, Path::new("demo"), &config).unwrap();
    for other in [&sharded, &embedded] {
        assert_eq!(other.tensors(), single.tensors());
        assert_eq!(other.embed.to_f32(), single.embed.to_f32());
        assert_eq!(other.lm_head().to_f32(), single.lm_head().to_f32());
        assert_eq!(other.norm, single.norm);
        for (a, b) in other.layers.iter().zip(&single.layers) {
            assert_eq!(a.input_norm, b.input_norm);
            assert_eq!(a.down.weight.to_f32(), b.down.weight.to_f32());
        }
        other.check().unwrap();
    }
}

#[test]
fn unaligned_tensors_are_copied_and_right() {
    let checkpoint = TestCheckpoint::new(TestCheckpoint::llama_config(), DType::F32);
    let config = checkpoint.model_config();
    let aligned = open(&checkpoint).unwrap();
    let mut copied = 0;
    for shift in 0..4 {
        let mut bytes = vec![0; shift];
        bytes.extend(checkpoint.safetensors());
        let bytes = &leak(bytes)[shift..];
        let weights = Weights::from_static(bytes, Path::new("demo"), &config).unwrap();
        copied += usize::from(weights.embed.is_copied());
        assert_eq!(weights.embed.to_f32(), aligned.embed.to_f32());
        assert_eq!(
            weights.layers[1].q.weight.to_f32(),
            aligned.layers[1].q.weight.to_f32()
        );
    }
    assert_eq!(copied, 3);
    assert!(!aligned.embed.is_copied());
}

#[test]
fn qwen2_has_biases_and_tied_embeddings() {
    let weights = open(&TestCheckpoint::qwen2()).unwrap();
    let layer = &weights.layers[0];
    assert_eq!(layer.q.bias.as_ref().map(Vec::len), Some(16));
    assert_eq!(layer.v.bias.as_ref().map(Vec::len), Some(8));
    assert!(layer.o.bias.is_none() && layer.gate.bias.is_none());
    assert_eq!(weights.lm_head().to_f32(), weights.embed.to_f32());
}

#[test]
fn llama_may_have_every_bias_and_an_odd_head_dim() {
    let mut config = TestCheckpoint::llama_config();
    config["attention_bias"] = json!(true);
    config["mlp_bias"] = json!(true);
    config["head_dim"] = json!(6);
    let weights = open(&TestCheckpoint::new(config, DType::F16)).unwrap();
    let layer = &weights.layers[1];
    assert_eq!(layer.o.weight.shape(), [16, 24]);
    assert_eq!(layer.o.bias.as_ref().map(Vec::len), Some(16));
    assert_eq!(layer.down.bias.as_ref().map(Vec::len), Some(16));
}

#[test]
fn refuses_a_folder_without_weights() {
    let dir = tempfile::tempdir().unwrap();
    let config = TestCheckpoint::llama().model_config();
    assert_error!(
        Weights::open(dir.path(), &config),
        Error::WeightsMissing { .. },
        [dir.path().display(), "model.safetensors", INDEX]
    );
    fs::create_dir(dir.path().join("model.safetensors")).unwrap();
    assert_error!(
        Weights::open(dir.path(), &config),
        Error::NotAFile { .. },
        ["model.safetensors"]
    );
}

#[test]
fn refuses_a_file_truncated_anywhere() {
    let bytes = TestCheckpoint::llama().safetensors();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for len in [
        0,
        1,
        7,
        8,
        9,
        header - 1,
        header,
        header + 100,
        bytes.len() - 1,
    ] {
        assert_error!(
            open_bytes(&bytes[..len]),
            Error::WeightsTruncated { .. },
            [format!("it has {len} bytes"), "model.safetensors"]
        );
    }
}

#[test]
fn refuses_bad_headers() {
    let entry = |dtype: &str, shape: &str, start: u64, end: u64| {
        format!("{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}")
    };
    let huge = u64::MAX - 7;
    let cases = [
        (String::from("{"), "EOF"),
        (String::from("[]"), "an object of tensors"),
        (String::from("{\"a\":3}"), "3"),
        (format!("{{\"a\":{}}}", entry("F32", "[-1]", 0, 4)), "-1"),
        (
            format!("{{\"a\":{}}}", entry("F32", "[2]", 4, 12)),
            "begin at 0",
        ),
        (
            format!("{{\"a\":{}}}", entry("F32", "[2]", 8, 0)),
            "begin at 0",
        ),
        (format!("{{\"a\":{}}}", entry("F32", "[2]", 0, 4)), "[2]"),
        (
            format!(
                "{{\"a\":{}}}",
                entry("F32", "[4294967296,4294967296,2]", 0, 8)
            ),
            "4294967296",
        ),
        (
            format!(
                "{{\"a\":{},\"b\":{}}}",
                entry("F32", "[2]", 0, 8),
                entry("F32", "[2]", 4, 12)
            ),
            "`b`",
        ),
        (
            format!(
                "{{\"a\":{},\"b\":{}}}",
                entry("F32", "[2]", 0, 8),
                entry("F32", "[1]", 12, 16)
            ),
            "must begin at 8",
        ),
        (
            format!(
                "{{\"a\":{},\"a\":{}}}",
                entry("F32", "[2]", 0, 8),
                entry("F32", "[2]", 8, 16)
            ),
            "twice",
        ),
        (
            format!("{{\"a\":{}}}", entry("F32", "[0]", huge, huge)),
            "begin at 0",
        ),
        (format!("{{\"a\":{}}}", entry("F4", "[3]", 0, 1)), "[3]"),
        (
            format!("{{\"a\":{}}}", entry("F32", "[2]", 0, 8)),
            "8 bytes follow",
        ),
    ];
    for (header, part) in cases {
        assert_error!(
            open_bytes(&with_header(&header, &[0; 16])),
            Error::WeightsHeader { .. },
            [part, "model.safetensors"]
        );
    }

    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend([b' '; 64]);
    assert_error!(
        open_bytes(&bytes),
        Error::WeightsHeader { .. },
        [u64::MAX, MAX_HEADER_BYTES]
    );
    let deep = "[".repeat(100_000);
    assert_error!(
        open_bytes(&with_header(&format!("{{\"a\":{deep}"), &[])),
        Error::WeightsHeader { .. },
        ["header"]
    );
    assert_error!(
        open_bytes(&with_header("{\"\u{0}\u{1}", b"")),
        Error::WeightsHeader { .. },
        ["header"]
    );
}

#[test]
fn refuses_offsets_whose_sum_overflows() {
    // Each tensor is valid by itself; with the header before them they end above 2^64.
    let (bytes, shape) = ((1u64 << 61) - 4, (1u64 << 59) - 1);
    let entries: Vec<String> = (0..8)
        .map(|i| {
            let (start, end) = (i * bytes, (i + 1) * bytes);
            let entry = format!("\"dtype\":\"F32\",\"shape\":[{shape}]");
            format!("\"t{i}\":{{{entry},\"data_offsets\":[{start},{end}]}}")
        })
        .collect();
    assert_error!(
        open_bytes(&with_header(
            &format!("{{{}}}", entries.join(",")),
            &[0; 16]
        )),
        Error::WeightsHeader { .. },
        ["t7", 8 * bytes]
    );
}

#[test]
fn refuses_tensors_that_do_not_fit() {
    let mut missing = TestCheckpoint::llama();
    missing.tensors.retain(|t| t.name != Q);
    assert_error!(open(&missing), Error::TensorMissing { .. }, [Q]);

    let mut untied = TestCheckpoint::llama();
    untied.tensors.retain(|t| t.name != "lm_head.weight");
    assert_error!(
        open(&untied),
        Error::TensorMissing { .. },
        ["lm_head.weight", "tie_word_embeddings"]
    );

    let mut shape = TestCheckpoint::llama();
    shape.tensor_mut(Q).shape = vec![8, 32];
    assert_error!(
        open(&shape),
        Error::TensorShape { .. },
        [Q, "[8, 32]", "[16, 16]"]
    );

    let mut bias = TestCheckpoint::qwen2();
    let name = "model.layers.0.self_attn.k_proj.bias";
    bias.tensor_mut(name).shape = vec![8, 1];
    assert_error!(
        open(&bias),
        Error::TensorShape { .. },
        [name, "[8, 1]", "[8]"]
    );

    let mut config = TestCheckpoint::llama();
    config.config["vocab_size"] = json!(33);
    assert_error!(
        open(&config),
        Error::TensorShape { .. },
        ["model.embed_tokens.weight", "[32, 16]", "[33, 16]"]
    );
}

#[test]
fn refuses_other_dtypes() {
    for dtype in ["I16", "U16"] {
        let mut checkpoint = TestCheckpoint::llama();
        checkpoint.tensor_mut(Q).dtype = dtype.into();
        assert_error!(open(&checkpoint), Error::TensorDtype { .. }, [Q, dtype]);
    }
    let mut checkpoint = TestCheckpoint::llama();
    checkpoint.tensor_mut(Q).dtype = "Q4_K".into();
    assert_error!(open(&checkpoint), Error::TensorDtype { .. }, [Q, "Q4_K"]);
}

#[test]
fn ignores_tensors_that_are_not_needed() {
    let mut checkpoint = TestCheckpoint::llama();
    let mut extra = checkpoint.tensor_mut(Q).clone();
    extra.name = "model.layers.0.self_attn.rotary_emb.inv_freq".into();
    extra.dtype = "U8".into();
    extra.shape = vec![extra.bytes.len()];
    checkpoint.tensors.push(extra);
    open(&checkpoint).unwrap();
}

#[test]
fn refuses_shard_names_that_leave_the_folder() {
    for name in [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..\\x",
        "C:x",
        "..",
        ".",
        "",
        "a\0b",
    ] {
        assert_error!(
            open_index(|index, _| index["weight_map"][Q] = json!(name)),
            Error::ShardName { .. },
            [format!("{name:?}"), INDEX]
        );
    }
    assert_error!(
        open_index(|index, _| index["weight_map"][Q] = json!(7)),
        Error::ShardName { .. },
        ["7"]
    );
}

#[test]
fn refuses_bad_indexes() {
    let shard = "model-00002-of-00003.safetensors";
    assert_error!(
        open_index(|_, dir| fs::remove_file(dir.join(shard)).unwrap()),
        Error::ShardMissing { .. },
        [shard, INDEX]
    );
    assert_error!(
        open_index(|index, _| index["weight_map"][Q] = json!("model-00001-of-00003.safetensors")),
        Error::TensorMissing { .. },
        [Q, "model-00001-of-00003.safetensors"]
    );
    assert_error!(
        open_index(|index, _| {
            index["weight_map"].as_object_mut().unwrap().remove(Q);
        }),
        Error::TensorMissing { .. },
        [Q, INDEX]
    );
    assert_error!(
        open_index(|index, _| *index = json!({"weight_map": []})),
        Error::MissingField { .. },
        ["weight_map"]
    );
    assert_error!(
        open_index(|index, _| *index = json!([1, 2])),
        Error::InvalidField { .. },
        ["[1,2]"]
    );
    assert_error!(
        open_index(|index, _| {
            for i in 0..=MAX_SHARDS {
                index["weight_map"][format!("t{i}")] = json!(format!("s{i}"));
            }
        }),
        Error::TooManyShards { .. },
        [MAX_SHARDS + 1 + 3, MAX_SHARDS]
    );
    let truncated = |_: &mut Value, dir: &Path| {
        let bytes = fs::read(dir.join(shard)).unwrap();
        fs::write(dir.join(shard), &bytes[..bytes.len() - 2]).unwrap();
    };
    assert_error!(
        open_index(truncated),
        Error::WeightsTruncated { .. },
        [shard]
    );
}

#[test]
fn reports_a_file_that_shrinks_while_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = TestCheckpoint::llama();
    checkpoint.write_sharded(dir.path(), 3).unwrap();
    let weights = Weights::open(dir.path(), &checkpoint.model_config()).unwrap();
    let shard = dir.path().join("model-00002-of-00003.safetensors");
    let file = fs::File::options().write(true).open(&shard).unwrap();
    file.set_len(0).unwrap();
    for layer in &weights.layers {
        std::hint::black_box(layer.q.weight.to_f32());
        std::hint::black_box(layer.down.weight.to_f32());
    }
    assert_error!(
        weights.check(),
        Error::WeightsChanged { .. },
        [shard.display(), "truncated"]
    );
}
