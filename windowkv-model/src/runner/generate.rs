//! From a prompt to text: prefill, compression, decode, and a report of what it cost.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use windowkv_ref::methods::{Method, MethodKind, Selection};

use super::kv_cache::KvCache;
use super::llama::Prefilled;
use super::memory::BYTES;
use super::model::Model;
use super::sampling::{Sampler, Sampling};
use super::stop::StopStrings;
use crate::tokenizer::StreamDecoder;
use crate::{Error, Result};

/// One prompt and what to do with it. Everything here belongs to one request: in a batch each has its own.
pub struct Request<'a> {
    /// Token ids of the prompt.
    pub ids: &'a [u32],
    /// How the cache is compressed.
    pub method: &'a dyn Method<f32>,
    /// New tokens at most.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer; they are not part of it.
    pub stop_strings: &'a [String],
    /// Go on past the model's end-of-text token, for measurements.
    pub ignore_stop_tokens: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model's end-of-text token.
    StopToken,
    /// One of the request's stop strings.
    StopString,
    /// The request's number of new tokens.
    Length,
}

/// Seconds, on the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Timing {
    /// From the ids to the first new token.
    pub prefill_seconds: f64,
    /// All later tokens (in a batch: of the whole batch).
    pub decode_seconds: f64,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generation {
    /// The answer without special tokens and stop strings.
    pub text: String,
    /// The new tokens, a stop token included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// What the cache kept.
    pub kv: KvReport,
    /// How long it took.
    pub timing: Timing,
}

/// Layers that keep the same tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// The first of them; for WindowKV the group's leader.
    pub first_layer: usize,
    /// How many they are.
    pub layers: usize,
    /// Prompt tokens that each of them keeps.
    pub kept_tokens: usize,
    /// WindowKV: how many windows these are (beside the suffix).
    pub kept_windows: Option<usize>,
    /// WindowKV: indices of the windows, ascending.
    pub windows: Option<Vec<usize>>,
}

/// What the cache kept of the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KvReport {
    /// The method.
    pub method: MethodKind,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Prompt tokens that each layer keeps.
    pub kept_per_layer: Vec<usize>,
    /// The same by group (WindowKV), or by runs of layers that keep as many.
    pub groups: Vec<GroupReport>,
    /// Bytes of the prompt's compressed keys and values.
    pub bytes: u64,
    /// Bytes of the whole prompt's.
    pub full_bytes: u64,
    /// Bytes of the same tokens in the released code's layout, which stores each KV head once for each of
    /// its query heads.
    pub released_layout_bytes: u64,
}

impl KvReport {
    /// `number_bytes`: of one number of a key or value, `head_dim`: of a head as it is stored.
    fn new(
        model: &Model,
        request: &Request<'_>,
        selections: &[Selection<f32>],
        head_dim: usize,
        number_bytes: u64,
    ) -> Self {
        let shape = model.llama.shape();
        let prompt_tokens = request.ids.len();
        let kept_per_layer: Vec<usize> = selections
            .iter()
            .map(|selection| selection.kept.len(prompt_tokens))
            .collect();
        let token_bytes = 2 * head_dim as u64 * number_bytes;
        let bytes = |heads: &dyn Fn(&Selection<f32>) -> usize| {
            let of_layer = |selection| heads(selection) * selection.kept.len(prompt_tokens);
            token_bytes * selections.iter().map(of_layer).sum::<usize>() as u64
        };
        Self {
            method: request.method.kind(),
            prompt_tokens,
            groups: groups(selections, prompt_tokens),
            kept_per_layer,
            bytes: bytes(&|selection| selection.kept.cache_heads(shape.num_heads_kv)),
            full_bytes: token_bytes
                * (shape.num_layers * shape.num_heads_kv * prompt_tokens) as u64,
            released_layout_bytes: bytes(&|_| shape.num_heads_q),
        }
    }

    /// Mean of kept tokens over the layers, as a share of the prompt.
    pub fn kept_share(&self) -> f64 {
        let kept: usize = self.kept_per_layer.iter().sum();
        kept as f64 / (self.kept_per_layer.len() * self.prompt_tokens).max(1) as f64
    }
}

fn groups(selections: &[Selection<f32>], prompt_tokens: usize) -> Vec<GroupReport> {
    let mut groups: Vec<GroupReport> = Vec::new();
    for (layer, selection) in selections.iter().enumerate() {
        let kept_tokens = selection.kept.len(prompt_tokens);
        let windows = selection
            .windows
            .as_ref()
            .map(|choice| choice.windows.clone());
        let leads = selection
            .windows
            .as_ref()
            .is_some_and(|choice| choice.leader == Some(layer));
        match groups.last_mut() {
            Some(group)
                if !leads && group.kept_tokens == kept_tokens && group.windows == windows =>
            {
                group.layers += 1;
            }
            _ => groups.push(GroupReport {
                first_layer: layer,
                layers: 1,
                kept_tokens,
                kept_windows: windows.as_ref().map(Vec::len),
                windows,
            }),
        }
    }
    groups
}

/// Answers one request. `progress` is told the share of prefill that is done; `on_text` gets the answer
/// piece by piece.
///
/// # Errors
/// A request that does not fit the model, weights that changed or are broken.
pub fn generate(
    model: &Model,
    request: &Request<'_>,
    progress: &mut dyn FnMut(f64),
    on_text: &mut dyn FnMut(&str),
) -> Result<Generation> {
    let requests = std::slice::from_ref(request);
    let mut answers = generate_batch(model, requests, progress, &mut |_, text| on_text(text))?;
    Ok(answers.remove(0))
}

/// Answers several requests, decoding them together: each weight is read once a step for all of them. A
/// sequence that ends leaves the batch. Each answer has the same bits as from [`generate`].
///
/// `on_text` gets the index of the request and a piece of its answer.
///
/// # Errors
/// As [`generate`]; the first request that fails ends the batch.
pub fn generate_batch(
    model: &Model,
    requests: &[Request<'_>],
    progress: &mut dyn FnMut(f64),
    on_text: &mut dyn FnMut(usize, &str),
) -> Result<Vec<Generation>> {
    let mut sequences = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        let mut part = |done: f64| progress((index as f64 + done) / requests.len() as f64);
        sequences.push(Sequence::prefill(
            model, request, index, &mut part, on_text,
        )?);
    }
    decode(model, sequences, on_text)
}

/// Answers several requests on one prompt, which is read once for all of them and decoded together: what it takes to
/// compare methods. Each answer has the same bits as from [`generate`]; its prefill time is that of all.
///
/// # Errors
/// As [`generate`], and [`Error::Setting`] when the prompts differ.
pub fn generate_each(
    model: &Model,
    requests: &[Request<'_>],
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Generation>> {
    let Some(first) = requests.first() else {
        return Ok(Vec::new());
    };
    if let Some(other) = requests.iter().position(|other| other.ids != first.ids) {
        return Err(Error::Setting {
            name: "the prompt of a request",
            value: format!("another in request {other} than in request 0"),
            expected: "the same in all; generate_batch takes different prompts",
        });
    }
    let start = Instant::now();
    let methods: Vec<_> = requests.iter().map(|request| request.method).collect();
    let new_tokens = requests.iter().map(|request| request.max_new_tokens).max();
    let prefilled =
        model
            .llama
            .prefill_each(first.ids, &methods, new_tokens.unwrap_or(0), progress)?;
    let sequences = requests.iter().zip(prefilled).enumerate();
    let sequences = sequences
        .map(|(index, (request, prefilled))| {
            Sequence::new(model, request, index, prefilled, start, &mut |_, _| ())
        })
        .collect::<Result<_>>()?;
    decode(model, sequences, &mut |_, _| ())
}

/// Decodes sequences together until each has ended.
fn decode(
    model: &Model,
    mut sequences: Vec<Sequence<'_>>,
    on_text: &mut dyn FnMut(usize, &str),
) -> Result<Vec<Generation>> {
    let start = Instant::now();
    loop {
        let mut running: Vec<_> = sequences
            .iter_mut()
            .filter(|sequence| sequence.answer.finish.is_none())
            .collect();
        if running.is_empty() {
            break;
        }
        let mut batch: Vec<_> = running
            .iter_mut()
            .map(|sequence| (sequence.answer.last_id, &mut sequence.cache))
            .collect();
        let logits = model.llama.decode(&mut batch)?;
        for (sequence, logits) in running.into_iter().zip(logits.rows()) {
            sequence.take(
                model,
                logits.as_slice().expect("rows are contiguous"),
                on_text,
            )?;
            sequence.answer.timing.decode_seconds = start.elapsed().as_secs_f64();
        }
    }
    sequences
        .into_iter()
        .map(|sequence| sequence.answer.end(on_text))
        .collect()
}

struct Sequence<'a> {
    answer: Answer<'a>,
    sampler: Sampler,
    cache: KvCache,
}

impl<'a> Sequence<'a> {
    fn prefill(
        model: &'a Model,
        request: &'a Request<'a>,
        index: usize,
        progress: &mut dyn FnMut(f64),
        on_text: &mut dyn FnMut(usize, &str),
    ) -> Result<Self> {
        let start = Instant::now();
        let prefilled = model.llama.prefill(
            request.ids,
            request.method,
            request.max_new_tokens,
            progress,
        )?;
        Self::new(model, request, index, prefilled, start, on_text)
    }

    /// The sequence of a prompt that was read since `start`, with its first new token.
    fn new(
        model: &'a Model,
        request: &'a Request<'a>,
        index: usize,
        prefilled: Prefilled,
        start: Instant,
        on_text: &mut dyn FnMut(usize, &str),
    ) -> Result<Self> {
        let head_dim = model.llama.shape().head_dim;
        let selections = &prefilled.selections;
        let mut sequence = Self {
            answer: Answer::new(model, request, index, selections, head_dim, BYTES),
            sampler: Sampler::new(request.sampling)?,
            cache: prefilled.cache,
        };
        if sequence.answer.finish.is_none() {
            sequence.take(model, &prefilled.logits, on_text)?;
        }
        sequence.answer.prefilled(start);
        Ok(sequence)
    }

    /// Chooses the next token and shows the text that it completes.
    fn take(
        &mut self,
        model: &Model,
        logits: &[f32],
        on_text: &mut dyn FnMut(usize, &str),
    ) -> Result<()> {
        let id = self.sampler.next(logits)?;
        self.answer.take(model, id, on_text)
    }
}

/// The text of one request as it grows, and what it costs.
pub(crate) struct Answer<'a> {
    index: usize,
    request: &'a Request<'a>,
    decoder: StreamDecoder<'a>,
    stop: StopStrings<'a>,
    last_id: u32,
    ids: Vec<u32>,
    text: String,
    pub(crate) finish: Option<Finish>,
    kv: KvReport,
    pub(crate) timing: Timing,
}

impl<'a> Answer<'a> {
    /// Nothing yet, of a prompt whose layers kept `selections`, in heads of `head_dim` numbers of `number_bytes` each.
    pub(crate) fn new(
        model: &'a Model,
        request: &'a Request<'a>,
        index: usize,
        selections: &[Selection<f32>],
        head_dim: usize,
        number_bytes: u64,
    ) -> Self {
        Self {
            index,
            request,
            decoder: model.tokenizer.stream(true),
            stop: StopStrings::new(request.stop_strings),
            last_id: 0,
            ids: Vec::new(),
            text: String::new(),
            finish: (request.max_new_tokens == 0).then_some(Finish::Length),
            kv: KvReport::new(model, request, selections, head_dim, number_bytes),
            timing: Timing {
                prefill_seconds: 0.0,
                decode_seconds: 0.0,
            },
        }
    }

    /// Notes that the prompt, which was begun at `start`, has its first token.
    pub(crate) fn prefilled(&mut self, start: Instant) {
        self.timing.prefill_seconds = start.elapsed().as_secs_f64();
        tracing::info!(
            request = self.index,
            method = self.request.method.kind().name(),
            prompt_tokens = self.request.ids.len(),
            kept_share = self.kv.kept_share(),
            seconds = self.timing.prefill_seconds,
            "prefill"
        );
    }

    /// Takes the next token and shows the text that it completes.
    pub(crate) fn take(
        &mut self,
        model: &Model,
        id: u32,
        on_text: &mut dyn FnMut(usize, &str),
    ) -> Result<()> {
        self.last_id = id;
        self.ids.push(id);
        if model.generation.stop_token_ids.contains(&id) && !self.request.ignore_stop_tokens {
            self.finish = Some(Finish::StopToken);
            return Ok(());
        }
        let piece = self.decoder.push(id)?;
        let (shown, stopped) = self.stop.push(&piece);
        show(self.index, &mut self.text, &shown, on_text);
        if stopped {
            self.finish = Some(Finish::StopString);
        } else if self.ids.len() == self.request.max_new_tokens {
            self.finish = Some(Finish::Length);
        }
        Ok(())
    }

    /// The whole answer, when it has ended.
    pub(crate) fn end(mut self, on_text: &mut dyn FnMut(usize, &str)) -> Result<Generation> {
        let finish = self.finish.unwrap_or(Finish::Length);
        if finish != Finish::StopString {
            let (mut rest, stopped) = self.stop.push(&self.decoder.finish()?);
            if !stopped {
                rest.push_str(&self.stop.finish());
            }
            show(self.index, &mut self.text, &rest, on_text);
        }
        let Self {
            text,
            ids,
            kv,
            timing,
            ..
        } = self;
        Ok(Generation {
            text,
            ids,
            finish,
            kv,
            timing,
        })
    }
}

fn show(index: usize, text: &mut String, piece: &str, on_text: &mut dyn FnMut(usize, &str)) {
    if !piece.is_empty() {
        text.push_str(piece);
        on_text(index, piece);
    }
}
