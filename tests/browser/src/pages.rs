//! Pages to look at, with the data that they must show.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use windowkv_model::classifier::TaskClassifier;
use windowkv_model::demo;
use windowkv_model::inspect::{Prompt, Span, inspect, page};
use windowkv_model::runner::Model;
use windowkv_model::settings::{Capacity, Compression};
use windowkv_model::testing::{TestCheckpoint, byte_tokenizer};
use windowkv_model::weights::DType;
use windowkv_ref::methods::{MethodKind, TokenConfig};
use windowkv_ref::policy::WindowKvConfig;

/// A name of a prompt that would do harm in HTML.
pub const SOURCE: &str = "a </title> of <b>tests</b>";

/// A written page.
#[derive(Debug)]
pub struct Page {
    /// The file.
    pub path: PathBuf,
    /// What `--json` prints for the same prompt.
    pub json: Value,
    _dir: TempDir,
}

impl Page {
    /// All methods that fit a text, with a fact that is marked if `fact` says where.
    ///
    /// # Panics
    /// When the model does not take the text.
    fn new(
        model: &Model,
        source: &str,
        text: &str,
        share: f64,
        shared_layers: usize,
        fact: Option<Span>,
    ) -> Self {
        let pieces = model.tokenizer.pieces(text, true).expect("tokens");
        let ids: Vec<u32> = pieces.iter().map(|piece| piece.id).collect();
        let prompt = Prompt {
            source: source.to_owned(),
            added: (0..pieces.len()).filter(|&at| pieces[at].added).collect(),
            marked: fact.map(|span| (span, "the asked fact".to_owned())),
            cut: None,
            pieces: pieces.into_iter().map(|piece| piece.text).collect(),
        };
        let compressions = MethodKind::ALL.map(|kind| Compression {
            kind,
            capacity: Capacity::Share(share),
            window: WindowKvConfig {
                shared_layers,
                ..WindowKvConfig::default()
            },
            tokens: TokenConfig::default(),
            recent_given: false,
        });
        let fits = |compression: &Compression| {
            let method = compression.method(ids.len());
            method.start(model.llama.shape(), ids.len()).is_ok()
        };
        let compressions: Vec<Compression> = compressions.into_iter().filter(fits).collect();
        let mut inspection =
            inspect(model, &ids, prompt, &compressions, &mut |_| ()).expect("an inspection");
        let decision = TaskClassifier::embedded()
            .classify(text)
            .expect("a decision");
        inspection.task = Some(decision.task);
        inspection.task_score = Some(decision.score);
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("page.html");
        std::fs::write(&path, page::html(&inspection)).expect("a file");
        Self {
            path,
            json: serde_json::to_value(&inspection).expect("JSON"),
            _dir: dir,
        }
    }

    /// The demo model on one of its prompts.
    ///
    /// # Panics
    /// Never with an unchanged source tree.
    pub fn demo() -> Self {
        let settings = demo::prompts::PromptSettings {
            answer_tokens: 4,
            ..demo::prompts::PromptSettings::default()
        };
        let seed = demo::accuracy::HELD_OUT_SEED;
        let prompt = demo::prompts::prompt(&settings, seed, 0).expect("a prompt");
        let model = Model::demo().expect("the demo model");
        let fact = Span(prompt.fact_start, prompt.fact_start + 10);
        Self::new(
            &model,
            "a prompt of the demo",
            &prompt.text,
            0.12,
            2,
            Some(fact),
        )
    }

    /// A random model of `layers` layers whose tokens are bytes, on any text, of which a share may stay.
    ///
    /// # Panics
    /// When the model cannot be written.
    pub fn bytes(text: &str, layers: usize, shared_layers: usize, share: f64) -> Self {
        let mut config = TestCheckpoint::llama_config();
        config["num_hidden_layers"] = json!(layers);
        config["vocab_size"] = json!(260);
        config["max_position_embeddings"] = json!(1 << 20);
        let dir = tempfile::tempdir().expect("a folder");
        TestCheckpoint::new(config, DType::F32)
            .write(dir.path())
            .expect("a model");
        let tokenizer = byte_tokenizer(&["<|begin|>", "<|end|>"]).to_string();
        std::fs::write(dir.path().join("tokenizer.json"), tokenizer).expect("a file");
        let model = Model::load(dir.path()).expect("a model");
        Self::new(&model, SOURCE, text, share, shared_layers, None)
    }

    /// Index of a method.
    ///
    /// # Panics
    /// When the page has none of that name.
    pub fn method(&self, name: &str) -> usize {
        let methods = self.json["methods"].as_array().expect("a list");
        let found = methods.iter().position(|method| method["method"] == name);
        found.unwrap_or_else(|| panic!("no method {name}"))
    }
}
