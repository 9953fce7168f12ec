//! A fuzzer of the reader of PyTorch files that needs nothing but stable Rust.
//!
//! ```sh
//! WINDOWKV_FUZZ_SECONDS=600 cargo test --release -p windowkv-model --test fuzz_pth
//! ```
//! Sound and hostile files are mutated: their bytes, or the pickle stream within a sound archive, so that the
//! machine behind the container is reached. It prints how many files were read; a panic prints the seed and the
//! number of the file, which together bring it back, and leaves the file.

#[path = "pth/archive.rs"]
mod archive;
#[path = "pth/hostile.rs"]
mod hostile;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use windowkv_model::runner::peak_memory;
use windowkv_model::testing::read_untrusted_pth;

/// Memory that the reader may take beside the corpus, in bytes.
const MAX_MEMORY: u64 = 512 << 20;

fn main() -> ExitCode {
    // `cargo test -- --list` and filters: this is no libtest.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let number = |name, default| {
        let value = std::env::var(name).ok().and_then(|text| text.parse().ok());
        value.unwrap_or(default)
    };
    let seconds = number("WINDOWKV_FUZZ_SECONDS", 3);
    let seed = number("WINDOWKV_FUZZ_SEED", 1);
    let corpus = Corpus::new();
    let before = peak_memory();
    let start = Instant::now();
    let (mut executions, mut accepted, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(seconds) {
        let file = corpus.mutated(seed, executions);
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| read_untrusted_pth(&file))) {
            Ok(read) => accepted += u64::from(read),
            Err(_) => {
                let path = std::env::temp_dir().join(format!("fuzz-{seed}-{executions}.pth"));
                let kept = std::fs::write(&path, &file);
                eprintln!(
                    "seed {seed}, file {executions}: the reader panicked; {} ({kept:?})",
                    path.display()
                );
                return ExitCode::FAILURE;
            }
        }
        slowest = slowest.max(began.elapsed());
        executions += 1;
    }
    println!(
        "fuzz_pth: {executions} executions in {:.1} s (seed {seed}, {} files in the corpus): {accepted} accepted, {} \
         refused, slowest {slowest:.1?}",
        start.elapsed().as_secs_f64(),
        corpus.files.len(),
        executions - accepted
    );
    if let (Some(before), Some(after)) = (before, peak_memory())
        && after - before > MAX_MEMORY
    {
        eprintln!("memory grew from {before} to {after} bytes");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct Corpus {
    /// Whole files.
    files: Vec<Vec<u8>>,
    /// Pickle streams of sound files.
    streams: Vec<Vec<u8>>,
}

impl Corpus {
    fn new() -> Self {
        let fixture = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/bert-fixture/classifier.pth"
        );
        let mut files = vec![archive::state_dict(&archive::op::sound(), 6)];
        files.extend(hostile::cases().into_iter().map(|(_, file, _)| file));
        // Large ones would take the time of thousands of small ones.
        files.retain(|file| file.len() < 100_000);
        files.extend(std::fs::read(fixture));
        let mut streams = vec![archive::op::sound()];
        streams.extend(files.iter().filter_map(|file| stream(file)));
        streams.retain(|stream| stream.len() < 20_000);
        Self { files, streams }
    }

    /// The file of a number: it depends on the seed and the number alone.
    fn mutated(&self, seed: u64, number: u64) -> Vec<u8> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number);
        let any = |random: &mut ChaCha8Rng, from: &[Vec<u8>]| {
            from[random.next_u32() as usize % from.len()].clone()
        };
        if random.next_u32().is_multiple_of(3) {
            let mut file = any(&mut random, &self.files);
            mutate(&mut file, &mut random);
            return file;
        }
        // Half of them begin as a sound stream, so that tensors are built.
        let mut stream = match random.next_u32() % 2 {
            0 => archive::op::sound(),
            _ => any(&mut random, &self.streams),
        };
        if random.next_u32().is_multiple_of(4) {
            // The beginning of one and the end of another.
            let other = any(&mut random, &self.streams);
            let at = random.next_u32() as usize;
            stream.truncate(at % (stream.len() + 1));
            stream.extend(&other[at % (other.len() + 1)..]);
        }
        mutate(&mut stream, &mut random);
        archive::state_dict(&stream, 6)
    }
}

/// The pickle stream of a file that [`archive`] made: it begins behind the first entry's name.
fn stream(file: &[u8]) -> Option<Vec<u8>> {
    let name = b"archive/data.pkl";
    let start = 30 + name.len();
    let len = u32::from_le_bytes(file.get(22..26)?.try_into().ok()?) as usize;
    let sound = file.get(30..start)? == name;
    sound.then(|| file.get(start..start + len).map(<[u8]>::to_vec))?
}

fn mutate(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    /// Operations of the machine, and bytes at the edges of numbers.
    const BYTES: &[u8] = b"\x00\x01\x7f\x80\xff().tuseb}QRXJKMN\x85\x86\x87\x88\x89\x8acqrhj]aG0";
    for _ in 0..1 + random.next_u32() % 4 {
        let pick =
            |limit: usize, random: &mut ChaCha8Rng| random.next_u32() as usize % limit.max(1);
        let at = pick(bytes.len() + 1, random);
        let byte = BYTES[pick(BYTES.len(), random)];
        match random.next_u32() % 7 {
            0 if at < bytes.len() => bytes[at] ^= 1 << pick(8, random),
            1 if at < bytes.len() => bytes[at] = byte,
            2 => bytes.insert(at, byte),
            3 if at < bytes.len() => _ = bytes.remove(at),
            4 => bytes.truncate(at),
            5 => {
                let end = (at + pick(64, random)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = pick(bytes.len() + 1, random);
                bytes.splice(to..to, part);
            }
            6 if at + 4 <= bytes.len() => {
                let numbers = [
                    0,
                    1,
                    u32::MAX,
                    u32::MAX - 1,
                    i32::MAX as u32,
                    1 << 16,
                    bytes.len() as u32,
                ];
                let number = numbers[pick(numbers.len(), random)];
                bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            }
            _ => {}
        }
    }
}
