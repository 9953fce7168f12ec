//! `windowkv inspect`

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use windowkv_ref::methods::FullKv;
use windowkv_ref::policy::Task;

use super::compression::{CompressionArgs, MethodName, say_notes};
use super::output::{bytes, grouped};
use super::terminal::{print, progress};
use super::{input, prompt, task};
use crate::classifier::TaskDecision;
use crate::demo::ADVERTISED_TOKENS;
use crate::demo::accuracy::HELD_OUT_SEED;
use crate::demo::prompts::{DemoPrompt, PromptSettings};
use crate::inspect::{Cut, Estimate, Inspection, Prompt, Span, Unit, inspect, page};
use crate::runner::{MemoryPlan, Model, available_memory};
use crate::settings::{Compression, cut_middle};
use crate::tokenizer::Piece;
use crate::{Error, Result, files};

/// The largest page that is written, in bytes: what a browser on a phone still opens.
const MAX_PAGE_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windowkv inspect                                  a demo prompt, all methods, into windowkv-inspect.html\n  \
    windowkv inspect report.txt --model-dir Llama-3.2-1B-Instruct --max-capacity-prompt 1024 -o report.html\n  \
    windowkv inspect report.txt --methods windowkv,snapkv --task aggregation\n  \
    windowkv demo prompt --tokens 1000 | windowkv inspect - --json | jq '.methods[0].groups'\n\n\
    The page is one file that loads nothing: text shaded by what each group of layers keeps, scores and ranks,\n\
    budgets, and how much alike the layers choose.")]
pub(super) struct Inspect {
    /// File with the prompt; - is standard input [default: a prompt of the demo]
    #[arg(value_name = "PROMPT")]
    prompt_file: Option<PathBuf>,
    /// The page; - is standard output. Only a page of this command is written over
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "windowkv-inspect.html"
    )]
    output: PathBuf,
    /// One JSON object with the same data on standard output instead of the page
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Methods to show, all from one run; --method shows one [default: all that fit the prompt]
    #[arg(
        long,
        value_enum,
        value_name = "NAME,NAME,...",
        value_delimiter = ',',
        conflicts_with = "method"
    )]
    methods: Vec<MethodName>,
    /// Folder of the model as Hugging Face writes it [default: the embedded demo model]
    #[arg(long, alias = "model_dir", value_name = "DIR")]
    model_dir: Option<PathBuf>,
    /// Message of the system in the model's chat form
    #[arg(long, value_name = "TEXT", conflicts_with = "no_chat_template")]
    system: Option<String>,
    /// Give the prompt to the model as it is, without its chat form
    #[arg(long)]
    no_chat_template: bool,
    /// Longest prompt in tokens; a longer one is cut in the middle [default: what the model has room for]
    #[arg(long, alias = "max_input_len", value_name = "TOKENS")]
    max_input_len: Option<usize>,
    #[command(flatten)]
    compression: CompressionArgs,
}

/// What is shown, before the model has read it.
struct Text {
    source: String,
    text: String,
    /// Bytes of the text that a reader may look for, with what they are.
    marked: Option<(std::ops::Range<usize>, String)>,
}

impl Inspect {
    pub(super) fn run(&self) -> Result<()> {
        let to_stdout = self.json || self.output.as_os_str() == "-";
        if !to_stdout {
            check_target(&self.output)?;
        }
        let text = self.text()?;
        let model = match &self.model_dir {
            Some(dir) => Model::load(dir)?,
            None => Model::demo()?,
        };
        let mut notes = Vec::new();
        let decision = self.task_of(&text.text, &mut notes)?;
        let task = decision.as_ref().map_or(Task::Localization, |it| it.task);
        let (prompt, ids) = self.read(&model, text, &mut notes)?;
        let compressions = self.compressions(&model, ids.len(), task, &mut notes)?;
        say_notes(&notes);
        self.check_size(&model, &compressions, ids.len())?;

        let bar = progress("prefill", 1000);
        let mut part = |done: f64| bar.set_position((done * 1000.0) as u64);
        let mut inspection = inspect(&model, &ids, prompt, &compressions, &mut part)?;
        bar.finish_and_clear();
        inspection.task = decision.as_ref().map(|it| it.task);
        inspection.task_score = decision.as_ref().map(|it| it.score);
        inspection.notes = notes;
        if let Some(name) = self.model_dir.as_deref().and_then(Path::file_name) {
            inspection.model.name = name.to_string_lossy().into_owned();
        }
        if self.json {
            let json =
                serde_json::to_string(&inspection).expect("no map with other keys than strings");
            return print(&format!("{json}\n"));
        }
        let html = page::html(&inspection);
        if to_stdout {
            return print(&html);
        }
        files::write_whole(&self.output, html.as_bytes())?;
        let task = decision.as_ref().map(task::described);
        let page_bytes = html.len() as u64;
        print(&summary(&inspection, task, &self.output, page_bytes))
    }

    /// The methods that were asked for by name; none if all are shown that fit the prompt.
    fn by_name(&self) -> Vec<MethodName> {
        match self.compression.method() {
            Some(method) => vec![method],
            None => self.methods.clone(),
        }
    }

    /// The task of the prompt, once for all methods; nothing where WindowKV is not among them.
    fn task_of(&self, prompt: &str, notes: &mut Vec<String>) -> Result<Option<TaskDecision>> {
        let by_name = self.by_name();
        let windowkv = by_name.is_empty() || by_name.contains(&MethodName::WindowKv);
        let args = &self.compression.tuning.task;
        notes.extend(args.notes(windowkv));
        if !windowkv {
            return Ok(None);
        }
        let decision = args.choose(prompt)?.decision;
        notes.extend(task::doubt(&decision));
        Ok(Some(decision))
    }

    fn text(&self) -> Result<Text> {
        let Some(path) = &self.prompt_file else {
            let settings = PromptSettings {
                tokens: ADVERTISED_TOKENS,
                answer_tokens: 4,
                ..PromptSettings::default()
            };
            let DemoPrompt { text, fact, .. } =
                crate::demo::prompts::prompt(&settings, HELD_OUT_SEED, 0)?;
            return Ok(Text {
                source: "a prompt of the demo".to_owned(),
                text,
                marked: Some((fact, "the asked fact".to_owned())),
            });
        };
        let source = match path.file_name() {
            Some(name) if path.as_os_str() != "-" => name.to_string_lossy().into_owned(),
            _ => "standard input".to_owned(),
        };
        let text = prompt::read(None, Some(path))?;
        if text.trim().is_empty() {
            return Err(Error::EmptyPrompt);
        }
        Ok(Text {
            source,
            text,
            marked: None,
        })
    }

    /// The tokens of the prompt, cut to what the model has room for.
    fn read(
        &self,
        model: &Model,
        text: Text,
        notes: &mut Vec<String>,
    ) -> Result<(Prompt, Vec<u32>)> {
        let system = self.system.as_deref();
        let (formed, add_special_tokens) =
            input::form(model, &text.text, system, self.no_chat_template)?;
        let pieces = model.tokenizer.pieces(&formed, add_special_tokens)?;
        let given = pieces.len();
        let model_type = self.compression.model_type;
        let limit = input::limit(model, given, 0, self.max_input_len, model_type)?;
        let (pieces, cut) = cut_middle(pieces, limit);
        let before = pieces.len() / 2;
        // A mark moves with the chat form around the text; in a prompt that was cut it may be gone.
        let marked = text.marked.filter(|_| cut == 0).and_then(|(range, name)| {
            let moved = formed.find(&text.text)?;
            let span = tokens_of(&pieces, moved + range.start..moved + range.end)?;
            Some((span, name))
        });
        let ids: Vec<u32> = pieces.iter().map(|piece| piece.id).collect();
        notes.extend(input::cut_note(given, limit, cut));
        if self.model_dir.is_none() {
            notes.extend(input::demo_notes(model, &ids));
        }
        let added = (0..pieces.len()).filter(|&index| pieces[index].added);
        let prompt = Prompt {
            source: text.source,
            added: added.collect(),
            cut: (cut > 0).then_some(Cut {
                before,
                tokens: cut,
            }),
            marked,
            pieces: pieces.into_iter().map(|piece| piece.text).collect(),
        };
        Ok((prompt, ids))
    }

    /// The methods, resolved. Of those that were not asked for by name, one that does not fit is told and left out.
    fn compressions(
        &self,
        model: &Model,
        seqlen: usize,
        task: Task,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Compression>> {
        let by_name = self.by_name();
        let methods = if by_name.is_empty() {
            MethodName::value_variants()
        } else {
            &by_name
        };
        let mut compressions: Vec<Compression> = Vec::new();
        let mut refused = None;
        for &method in methods {
            let args = self.compression.with_method(method);
            let (compression, more) =
                args.resolve_for(&model.preset, model.llama.config().num_layers, task)?;
            match compression
                .method(seqlen)
                .start(model.llama.shape(), seqlen)
            {
                Ok(_)
                    if compressions
                        .iter()
                        .any(|other| other.kind == compression.kind) => {}
                Ok(_) => compressions.push(compression),
                Err(error) if by_name.is_empty() => {
                    notes.push(format!(
                        "{} is not shown: {error}",
                        compression.kind.title()
                    ));
                    refused = Some(error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            for note in more {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        match refused {
            Some(error) if compressions.is_empty() => Err(error.into()),
            _ => Ok(compressions),
        }
    }

    /// Refuses what would not fit the memory or a browser, before anything is computed.
    fn check_size(&self, model: &Model, compressions: &[Compression], seqlen: usize) -> Result<()> {
        let estimate = Estimate::new(compressions, model.llama.shape(), seqlen)?;
        if !self.json && estimate.page > MAX_PAGE_BYTES {
            return Err(Error::PageTooLarge {
                needed: estimate.page,
                limit: MAX_PAGE_BYTES,
            });
        }
        let weights = model.llama.weights().total_bytes();
        let config = model.llama.config();
        let plan = MemoryPlan::new(config, weights, model.tokenizer_bytes, &FullKv, seqlen, 0)?;
        // No cache is kept, and the system drops mapped weights when it must.
        let needed = plan.total() - plan.weights - plan.kv_cache + estimate.memory;
        match available_memory() {
            Some(available) if needed > available => Err(Error::Memory { needed, available }),
            _ => Ok(()),
        }
    }
}

/// The tokens that have bytes of the range.
fn tokens_of(pieces: &[Piece], range: std::ops::Range<usize>) -> Option<Span> {
    let mut at = 0;
    let mut span: Option<Span> = None;
    for (index, piece) in pieces.iter().enumerate().filter(|(_, piece)| !piece.added) {
        let end = at + piece.text.len();
        if at < range.end && end > range.start {
            span = Some(Span(span.map_or(index, |span| span.0), index + 1));
        }
        at = end;
    }
    span
}

/// Whether the page may be written there: a new file, or one that this command wrote.
fn check_target(path: &Path) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    std::fs::metadata(folder.unwrap_or(Path::new(".")))
        .map_err(|error| Error::io(path, "write", error))?;
    let mut start = Vec::new();
    match files::open_regular(path) {
        Ok(file) => {
            let mark = file.take(page::MARK.len() as u64).read_to_end(&mut start);
            mark.map_err(|error| Error::io(path, "read", error))?;
        }
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(()),
        // A folder or a device: no page either.
        Err(Error::NotAFile { .. }) => {}
        Err(error) => return Err(error),
    }
    if start == page::MARK.as_bytes() {
        Ok(())
    } else {
        Err(Error::NotOurPage {
            path: path.to_owned(),
        })
    }
}

/// What a person sees without the page.
fn summary(inspection: &Inspection, task: Option<String>, path: &Path, page_bytes: u64) -> String {
    let tokens = inspection.prompt.pieces.len();
    let mut text = format!(
        "{} of {} tokens\n\n{:<14}{:>12}{:>10}{:>22}{:>10}\n",
        inspection.prompt.source,
        grouped(tokens as u64),
        "",
        "kept",
        "of full",
        "alike inside groups",
        "across"
    );
    for method in &inspection.methods {
        let kept: usize = method.layers.iter().map(|layer| layer.kept_tokens).sum();
        let kept = kept as f64 / method.layers.len() as f64;
        let alike = method.similarity.first();
        let shown =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let inside = alike.filter(|_| method.unit == Unit::Window);
        text += &format!(
            "{:<14}{:>12}{:>10}{:>22}{:>10}\n",
            method.title,
            format!("{kept:.0} tok"),
            format!("{:.1} %", 100.0 * kept / tokens as f64),
            shown(inside.and_then(|alike| alike.mean_inside)),
            shown(alike.and_then(|alike| alike.mean_across)),
        );
    }
    if let Some(task) = task {
        text += &format!("\n{task}\n");
    }
    text + &format!(
        "\n{} ({}): open it in a browser\n",
        path.display(),
        bytes(page_bytes)
    )
}
