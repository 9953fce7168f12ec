//! The one error type of this crate.
//!
//! Every message names the file, the value that was wrong, the limit that it broke, and the way out.

use std::path::{Path, PathBuf};

/// What `Result` means in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a model folder and its text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted, as a verb: "open", "read", "map".
        action: &'static str,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A path names a folder, a pipe or a device where a file is needed.
    #[error("{} is not a regular file; give the path of a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file is larger than anything that this program would read into memory.
    #[error("{} has {len} bytes; at most {limit} bytes are read from such a file, so it is not what its name says", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The greatest length in bytes that is accepted.
        limit: u64,
    },
    /// A file that must be text is not valid UTF-8.
    #[error("{} is not valid UTF-8: {source}; save it as UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where the first bad byte is.
        source: std::str::Utf8Error,
    },
    /// A file is not the JSON that it should be.
    #[error("{} is not valid JSON: {source}; download it again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A field without a default is absent.
    #[error("{} has no field `{field}`; it is required, download the file again", path.display())]
    MissingField {
        /// The JSON file.
        path: PathBuf,
        /// The field, with dots for nesting.
        field: String,
    },
    /// A field has a value that is wrong in type or out of its limits.
    #[error("{}: `{field}` is {value}; it must be {expected}", path.display())]
    InvalidField {
        /// The JSON file.
        path: PathBuf,
        /// The field, with dots for nesting.
        field: String,
        /// The value as it stands in the file, cut to a readable length.
        value: String,
        /// What is accepted, limits included.
        expected: String,
    },
    /// The model is of a family that this program does not run.
    #[error("{}: model family `{model_type}` is not supported; supported are {supported}", path.display())]
    UnsupportedFamily {
        /// The `config.json`.
        path: PathBuf,
        /// Its `model_type`.
        model_type: String,
        /// The families that are supported.
        supported: &'static str,
    },
    /// The rotary embedding is scaled in a way that this program does not compute.
    #[error("{}: rope type `{rope_type}` is not supported; supported are `default` and `llama3`", path.display())]
    UnsupportedRope {
        /// The `config.json`.
        path: PathBuf,
        /// The type that it names.
        rope_type: String,
    },
    /// The model uses a feature that this program does not compute.
    #[error("{}: `{field}` is {value}, which is not supported: {way_out}", path.display())]
    UnsupportedFeature {
        /// The `config.json`.
        path: PathBuf,
        /// The field that asks for it.
        field: String,
        /// The value of that field, cut to a readable length.
        value: String,
        /// What to use instead.
        way_out: &'static str,
    },
    /// Each field is within its limits but the model as a whole is not.
    #[error("{}: the model has {parameters} parameters; at most {limit} are supported", path.display())]
    TooManyParameters {
        /// The `config.json`.
        path: PathBuf,
        /// The number of parameters, or "more than 2^64".
        parameters: String,
        /// The greatest number that is accepted.
        limit: u64,
    },
    /// A folder has neither `model.safetensors` nor an index of shards.
    #[error(
        "{} has neither model.safetensors nor model.safetensors.index.json; \
         download the safetensors weights (PyTorch .bin files are not read)", dir.display()
    )]
    WeightsMissing {
        /// The model folder.
        dir: PathBuf,
    },
    /// The index of shards names a file that is not a plain name inside the model folder.
    #[error("{} names the shard {name:?}; a shard must be a plain file name inside the model folder", index.display())]
    ShardName {
        /// The index file.
        index: PathBuf,
        /// The name as it stands in the index.
        name: String,
    },
    /// A shard that the index names does not exist.
    #[error("{} names the shard {}, which does not exist; download it", index.display(), shard.display())]
    ShardMissing {
        /// The index file.
        index: PathBuf,
        /// The path of the absent shard.
        shard: PathBuf,
    },
    /// The index of shards names more files than are opened.
    #[error("{} names {count} shards; at most {limit} are supported, use larger shards", index.display())]
    TooManyShards {
        /// The index file.
        index: PathBuf,
        /// The number of different shards that it names.
        count: usize,
        /// The greatest number that is accepted.
        limit: usize,
    },
    /// A weights file is shorter than its header says.
    #[error("{} is truncated: it has {len} bytes and its header asks for {needed}; download it again", path.display())]
    WeightsTruncated {
        /// The safetensors file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The length that the header implies, in bytes.
        needed: u64,
    },
    /// The header of a weights file is not a valid safetensors header.
    #[error("{} is not a valid safetensors file: {reason}; download it again", path.display())]
    WeightsHeader {
        /// The safetensors file.
        path: PathBuf,
        /// What is wrong, with the offending tensor or value.
        reason: String,
    },
    /// A tensor that the model needs, or that the index promises, is absent.
    #[error("{} has no tensor `{name}`{hint}", path.display())]
    TensorMissing {
        /// The safetensors file or folder that was searched.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// Why it is expected and what to do, or an empty string.
        hint: &'static str,
    },
    /// A tensor's shape does not fit `config.json`.
    #[error(
        "{}: tensor `{name}` has shape {found:?} and config.json asks for {expected:?}; \
         weights and config.json are not of the same model", path.display()
    )]
    TensorShape {
        /// The safetensors file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape that follows from `config.json`.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor's element type is not one that is computed with.
    #[error("{}: tensor `{name}` is of dtype {dtype}; supported are BF16, F16 and F32, convert the checkpoint", path.display())]
    TensorDtype {
        /// The safetensors file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The dtype as the file names it.
        dtype: String,
    },
    /// The process has mapped as many weights files as it can guard.
    #[error("cannot map {}: {limit} weights files are mapped already; drop a model first", path.display())]
    TooManyMappings {
        /// The file.
        path: PathBuf,
        /// The greatest number of guarded mappings of one process.
        limit: usize,
    },
    /// A weights file became shorter, changed, or failed to read after it was opened.
    #[error("{} {reason} while in use; results since then are void, load the model again", path.display())]
    WeightsChanged {
        /// The safetensors file.
        path: PathBuf,
        /// What happened to it.
        reason: &'static str,
    },
    /// A PyTorch file was refused.
    #[error("{} {source}", path.display())]
    Pth {
        /// The .pth or .bin file.
        path: PathBuf,
        /// Why.
        source: crate::classifier::pth::PthError,
    },
    /// The task classifier cannot work on a text.
    #[error("task classifier: {reason}")]
    Classifier {
        /// What is wrong and what to do.
        reason: String,
    },
    /// A line of a JSONL file is not as it should be.
    #[error("{}, line {line}: {reason}", path.display())]
    JsonLine {
        /// The JSONL file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// The tokenizer could not be read or refused a text.
    #[error("tokenizer {}: {reason}", path.display())]
    Tokenizer {
        /// The `tokenizer.json`.
        path: PathBuf,
        /// What the tokenizers library says.
        reason: String,
    },
    /// `tokenizer_config.json` names a special token that the tokenizer does not have.
    #[error(
        "{}: `{key}` is {token:?}, which tokenizer.json does not contain; \
         the two files are not of the same model", path.display()
    )]
    SpecialTokenMissing {
        /// The `tokenizer_config.json`.
        path: PathBuf,
        /// The field that names the token: `bos_token` or `eos_token`.
        key: &'static str,
        /// The token's text.
        token: String,
    },
    /// A token id is not below the model's vocabulary size.
    #[error(
        "token id {id} ({origin}) is not below vocab_size {vocab_size}; \
         the tokenizer and the model do not fit together"
    )]
    TokenId {
        /// The id.
        id: u64,
        /// Where it comes from: a file and field, or the piece of text that it encodes.
        origin: String,
        /// The model's vocabulary size.
        vocab_size: usize,
    },
    /// There is nothing to start from.
    #[error(
        "the prompt is empty; give it with --prompt or --prompt-file (inspect: a file's name alone), or on standard \
         input"
    )]
    EmptyPrompt,
    /// A file of prompts has none.
    #[error("{} has no prompt; give one JSON object a line", path.display())]
    NoPrompts {
        /// The file.
        path: PathBuf,
    },
    /// A setting is out of its limits.
    #[error("{name} is {value}; it must be {expected}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is accepted, limits included.
        expected: &'static str,
    },
    /// The prompt and the new tokens do not fit the model's context.
    #[error(
        "a prompt of {prompt_tokens} tokens and {max_new_tokens} new ones do not fit the model's context of \
         {limit}: shorten the prompt or ask for fewer new tokens"
    )]
    ContextTooSmall {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// New tokens that were asked for.
        max_new_tokens: usize,
        /// The model's `max_position_embeddings`.
        limit: usize,
    },
    /// The run would take more memory than there is.
    #[error(
        "the run needs {needed} bytes beside the weights and {available} are free: lower --max-new-tokens, \
         --max-input-len or --max-capacity-prompt"
    )]
    Memory {
        /// Bytes that the plan asks for, the mapped weights left out.
        needed: u64,
        /// Bytes that the system has free.
        available: u64,
    },
    /// The device cannot run this model.
    #[error(
        "the device's kernels take {what} of {expected}, and the model's is {value}: use --device cpu"
    )]
    DeviceModel {
        /// The number that does not fit.
        what: &'static str,
        /// Its value.
        value: usize,
        /// What is accepted.
        expected: &'static str,
    },
    /// A request that the device does not serve.
    #[error("{what} is not available on the device: {way_out}")]
    DeviceRequest {
        /// What was asked for.
        what: &'static str,
        /// What to do instead.
        way_out: &'static str,
    },
    /// The run would take more of the device's memory than there is.
    #[error(
        "the run needs {needed} bytes on the device ({plan}) and {available} are free: lower --max-new-tokens, \
         --max-input-len, --prefill-chunk or --max-capacity-prompt"
    )]
    DeviceMemory {
        /// Bytes of the plan.
        needed: u64,
        /// Bytes that are free.
        available: u64,
        /// The plan, purpose by purpose.
        plan: String,
    },
    /// The device failed; everything that lay on it has been given back.
    #[error("{step}: {source}")]
    Device {
        /// What was being done.
        step: String,
        /// What went wrong.
        source: windowkv_kernels::Error,
    },
    /// Kernels met numbers or lengths that cannot be.
    #[error(
        "{step} met {found}; the weights are broken or overflowed: download them again, or try --dtype bf16"
    )]
    DeviceNumbers {
        /// What was being done.
        step: String,
        /// What was found.
        found: &'static str,
    },
    /// The page of an inspection would be larger than a browser opens.
    #[error(
        "the page would have about {needed} bytes, over the limit of {limit}: show fewer --methods, or lower \
         --max-input-len"
    )]
    PageTooLarge {
        /// Bytes that are predicted.
        needed: u64,
        /// The greatest number that is written.
        limit: u64,
    },
    /// A file stands where a page should be written, and is not one.
    #[error("{} exists and is no page of `windowkv inspect`; name another file with --output", path.display())]
    NotOurPage {
        /// The file.
        path: PathBuf,
    },
    /// A limit on the prompt that leaves nothing, or that the model has no room for.
    #[error(
        "max-input-len is {len}; it must be from 2 to {room}, which with the new tokens fills the model's \
         context of {limit}"
    )]
    InputLimit {
        /// The limit that was given.
        len: usize,
        /// The longest prompt that leaves room for the new tokens.
        room: usize,
        /// The model's `max_position_embeddings`.
        limit: usize,
    },
    /// The model's output is not a number.
    #[error(
        "the logit of token {token} is NaN or infinite; the weights are broken or overflowed, download them again"
    )]
    NanLogit {
        /// The token's id.
        token: usize,
    },
    /// The compression method refuses the request.
    #[error(transparent)]
    Method(#[from] windowkv_ref::Error),
    /// The demo's prompt generator refuses the settings.
    #[error(transparent)]
    Demo(#[from] crate::demo::prompts::DemoError),
    /// The folder of an evaluation run cannot be used.
    #[error(transparent)]
    Run(#[from] crate::evaluation::run::RunError),
    /// No needle can be hidden with these settings.
    #[error(transparent)]
    Needle(#[from] crate::evaluation::needle::NeedleError),
    /// LongBench's files cannot be used.
    #[error(transparent)]
    LongBench(#[from] crate::evaluation::longbench::LongBenchError),
    /// A line of a text file cannot be used.
    #[error(transparent)]
    Line(#[from] crate::lines::LineError),
    /// Standard output or standard input failed.
    #[error("cannot {action}: {source}")]
    Stream {
        /// What failed, for example "write to standard output".
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The model has no chat template.
    #[error("{} has no chat template{hint}; give the prompt as it is, without the chat form", path.display())]
    ChatTemplateMissing {
        /// The model folder or `tokenizer_config.json`.
        path: PathBuf,
        /// The names of the templates that exist where none is called `default`, or an empty string.
        hint: String,
    },
    /// The chat template does not parse, or failed while it was rendered.
    #[error("chat template: {reason}; give the prompt as it is, without the chat form")]
    ChatTemplate {
        /// What the template engine says.
        reason: String,
    },
    /// The chat template did not end within its allowance of work.
    #[error(
        "the chat template did not end within {fuel} steps; it is broken, give the prompt without the chat form"
    )]
    ChatTemplateEndless {
        /// The allowance, in steps of the template engine.
        fuel: u64,
    },
}

impl Error {
    /// An [`Error::Pth`] on `path`.
    pub(crate) fn pth(path: &Path, source: crate::classifier::pth::PthError) -> Self {
        Error::Pth {
            path: path.to_owned(),
            source,
        }
    }

    /// An [`Error::Io`] on `path`; `action` is a verb such as "open".
    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Error::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }
}
