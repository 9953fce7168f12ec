//! Prints the demo's prompts, its tokenizer and the data that the training script reads.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};
use windowkv_model::demo::prompts::{PromptSettings, prompt, training_text};
use windowkv_model::demo::vocabulary::{
    BEGIN_ID, END_ID, Vocabulary, config_json, generation_config_json, tokenizer_config_json,
};

const USAGE: &str = "usage: demo-data files DIR MAX_TOKENS
       demo-data prompts SEED FIRST COUNT TOKENS FACTS ANSWER_TOKENS [DEPTH]
       demo-data train SEED < requests > samples";

/// Marks an id of a training sample that the loss is on.
const ANSWER: u16 = 0x8000;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["files", dir, max_tokens] => files(Path::new(dir), max_tokens.parse()?),
        [
            "prompts",
            seed,
            first,
            count,
            tokens,
            facts,
            answer_tokens,
            ref depth @ ..,
        ] if depth.len() < 2 => {
            let settings = PromptSettings {
                tokens: tokens.parse()?,
                facts: facts.parse()?,
                answer_tokens: answer_tokens.parse()?,
                depth: depth.first().map(|d| d.parse()).transpose()?,
            };
            prompts(&settings, seed.parse()?, first.parse()?, count.parse()?)
        }
        ["train", seed] => train(seed.parse()?),
        _ => Err(USAGE.into()),
    }
}

/// Writes everything of the model's folder but its weights.
fn files(dir: &Path, max_tokens: usize) -> Result<(), Box<dyn Error>> {
    let vocabulary = Vocabulary::new();
    fs::create_dir_all(dir)?;
    let files: [(&str, Value); 4] = [
        ("tokenizer.json", vocabulary.tokenizer_json()),
        ("tokenizer_config.json", tokenizer_config_json(max_tokens)),
        ("config.json", config_json(&vocabulary, max_tokens)),
        ("generation_config.json", generation_config_json()),
    ];
    for (name, value) in files {
        fs::write(dir.join(name), serde_json::to_string_pretty(&value)? + "\n")?;
    }
    Ok(())
}

/// Prints prompts as lines of JSON.
fn prompts(
    settings: &PromptSettings,
    seed: u64,
    first: u64,
    count: u64,
) -> Result<(), Box<dyn Error>> {
    let vocabulary = Vocabulary::new();
    let mut out = io::stdout().lock();
    for index in first..first + count {
        let prompt = prompt(settings, seed, index)?;
        let mut ids = vocabulary
            .encode(&prompt.text)
            .ok_or("a word without a token")?;
        ids.insert(0, BEGIN_ID);
        let mut answer_ids = vocabulary
            .encode(&prompt.answer)
            .ok_or("a word without a token")?;
        answer_ids.push(END_ID);
        let line = json!({
            "index": index, "text": prompt.text, "answer": prompt.answer, "key": prompt.key,
            "fact": [prompt.fact.start, prompt.fact.end], "fact_start": prompt.fact_start, "tokens": prompt.tokens,
            "ids": ids, "answer_ids": answer_ids,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Answers each line `INDEX TOKENS FACTS ANSWER_TOKENS QUESTIONS` with a sample: the number of its tokens and then each id,
/// all as little-endian 16-bit numbers, answers marked with [`ANSWER`]. An empty line flushes.
fn train(seed: u64) -> Result<(), Box<dyn Error>> {
    let vocabulary = Vocabulary::new();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let numbers: Vec<u64> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [index, tokens, facts, answer_tokens, questions] = numbers[..] else {
            out.flush()?;
            continue;
        };
        let settings = PromptSettings {
            tokens: usize::try_from(tokens)?,
            facts: usize::try_from(facts)?,
            answer_tokens: usize::try_from(answer_tokens)?,
            depth: None,
        };
        let mut ids = vec![u16::try_from(BEGIN_ID)?];
        for segment in training_text(&settings, usize::try_from(questions)?, seed, index)? {
            let mark = if segment.answer { ANSWER } else { 0 };
            for id in vocabulary
                .encode(&segment.text)
                .ok_or("a word without a token")?
            {
                ids.push(u16::try_from(id)? | mark);
            }
            if segment.answer {
                ids.push(u16::try_from(END_ID)? | mark);
            }
        }
        out.write_all(&u16::try_from(ids.len())?.to_le_bytes())?;
        for id in ids {
            out.write_all(&id.to_le_bytes())?;
        }
    }
    out.flush()?;
    Ok(())
}
