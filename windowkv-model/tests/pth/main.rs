//! The reader of PyTorch files: what is sound, what is hostile. `fuzz_pth.rs` goes on at random.

mod archive;
mod hostile;

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use archive::{op, state_dict, zip};
use windowkv_model::Error;
use windowkv_model::classifier::pth::StateDict;
use windowkv_model::runner::peak_memory;

fn open(bytes: &[u8]) -> windowkv_model::Result<StateDict<Cursor<&[u8]>>> {
    StateDict::new(Cursor::new(bytes), Path::new("m.pth"))
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/bert-fixture")
        .join(name)
}

#[test]
fn a_sound_file_gives_its_tensors() {
    let file = state_dict(&op::sound(), 6);
    let mut dict = open(&file).unwrap();
    assert_eq!(dict.tensors(), [("w", &[2, 3][..])]);
    assert_eq!(
        dict.tensor("w", &[2, 3]).unwrap().unwrap(),
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    );
    assert!(dict.tensor("v", &[2]).unwrap().is_none());
    let error = dict.tensor("w", &[3, 2]).unwrap_err();
    assert!(matches!(error, Error::TensorShape { .. }), "{error}");
}

#[test]
fn each_element_type_is_converted() {
    for (kind, bytes, expected) in [
        ("DoubleStorage", 1.5_f64.to_le_bytes().to_vec(), Some(1.5)),
        (
            "FloatStorage",
            (-2.25_f32).to_le_bytes().to_vec(),
            Some(-2.25),
        ),
        ("HalfStorage", 0x3e00_u16.to_le_bytes().to_vec(), Some(1.5)),
        (
            "BFloat16Storage",
            0x3fc0_u16.to_le_bytes().to_vec(),
            Some(1.5),
        ),
        ("LongStorage", 7_u64.to_le_bytes().to_vec(), None),
    ] {
        let one = op::tuple(&[op::int(1)]);
        let storage = op::storage(kind, "0", &op::int(1));
        let stream = op::dict("w", &op::tensor(&storage, &op::int(0), &one, &one));
        let mut entries = archive::entries(&stream, 0);
        entries[2] = archive::Entry::new("archive/data/0", &bytes);
        let file = zip(&entries, |_| ());
        match (open(&file).unwrap().tensor("w", &[1]), expected) {
            (Ok(Some(values)), Some(expected)) => assert_eq!(values, [expected], "{kind}"),
            (Err(Error::TensorDtype { dtype, .. }), None) => assert_eq!(dtype, "int64"),
            (found, _) => panic!("{kind}: {found:?}"),
        }
    }
}

/// A view of a storage's middle, as a module that shares weights writes it.
#[test]
fn a_tensor_may_begin_within_its_storage() {
    let storage = op::storage("FloatStorage", "0", &op::int(6));
    let (shape, strides) = (op::tuple(&[op::int(2)]), op::tuple(&[op::int(1)]));
    let file = state_dict(
        &op::dict("w", &op::tensor(&storage, &op::int(3), &shape, &strides)),
        6,
    );
    assert_eq!(
        open(&file).unwrap().tensor("w", &[2]).unwrap().unwrap(),
        [3.0, 4.0]
    );
}

#[test]
fn what_torch_writes_is_read() {
    let mut dict = StateDict::open(&fixture("classifier.pth")).unwrap();
    assert_eq!(dict.tensors().len(), 41);
    let safetensors = std::fs::read(fixture("classifier.safetensors")).unwrap();
    let expected = safetensors::SafeTensors::deserialize(&safetensors).unwrap();
    for (name, view) in expected.tensors() {
        let values = dict.tensor(&name, view.shape()).unwrap().unwrap();
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(bytes, view.data(), "{name}");
    }
}

#[test]
fn end_records_of_64_bits_that_agree_are_read() {
    let file = hostile::zip64(&state_dict(&op::sound(), 6), 4);
    assert_eq!(open(&file).unwrap().tensors(), [("w", &[2, 3][..])]);
}

/// Its size is compared before anything of it is read: the file has holes and takes no space.
#[test]
fn a_file_over_4_gb_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(5 << 30).unwrap();
    let error = StateDict::open(file.path()).unwrap_err().to_string();
    assert!(
        error.contains("has 5368709120 bytes; at most 4294967294"),
        "{error}"
    );
}

/// Every prefix of a real file is an error, and so is every file with one byte of its structure changed, unless
/// the change does not matter.
#[test]
fn cut_and_bent_files_never_panic() {
    let file = std::fs::read(fixture("classifier.pth")).unwrap();
    for len in (0..file.len())
        .step_by(997)
        .chain(file.len() - 100..file.len())
    {
        assert!(open(&file[..len]).is_err(), "{len} bytes");
    }
    let structure = (0..8000).chain(file.len() - 4000..file.len());
    for at in structure.step_by(3) {
        for change in [1, 0x80, 0xff] {
            let mut bent = file.clone();
            bent[at] ^= change;
            if let Ok(mut dict) = open(&bent) {
                let _ = dict.tensor("linear.weight", &[2, 24]);
            }
        }
    }
}

#[test]
fn hostile_files_are_refused_and_nothing_else_happens() {
    let cases = hostile::cases();
    assert!(cases.len() >= 30, "{}", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), cases.len());
    let before = peak_memory();
    let mut wrong = Vec::new();
    for (name, file, part) in &cases {
        let start = std::time::Instant::now();
        let message = match open(file) {
            Ok(_) => "no error".to_owned(),
            Err(error @ Error::Pth { .. }) => error.to_string(),
            Err(other) => format!("another error: {other}"),
        };
        if !(message.contains(part) && message.starts_with("m.pth")) {
            wrong.push(format!("{name}: {message:?} lacks {part:?}"));
        }
        assert!(
            start.elapsed().as_secs() < 5,
            "{name} took {:?}",
            start.elapsed()
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after - before < 256 << 20, "{before} to {after} bytes");
    }
    assert!(!Path::new("/tmp/owned").exists());
    println!("{} hostile files refused", cases.len());
}
