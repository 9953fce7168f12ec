//! `windowkv longbench`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use windowkv_ref::methods::{Method, MethodKind};
use windowkv_ref::policy::Task;

use super::compression::{MethodSpec, TUNING, TuningArgs, default_capacity, say_notes};
use super::longbench_report::{self, Form};
use super::run::{RunArgs, labels, sha256};
use super::terminal::say;
use crate::Result;
use crate::classifier::TaskChooser;
use crate::evaluation::Variant;
use crate::evaluation::fingerprint::Fingerprint;
use crate::evaluation::longbench::{
    DataFile, Dataset, Limits, Prediction, Prompt, Prompts, Published, Sample, Skipped, datasets_in,
};
use crate::evaluation::run::{Case, Plan};
use crate::runner::{Model, Request, Sampling, check_memory, generate_each};
use crate::settings::Capacity;

/// The command's name in manifests.
pub(super) const COMMAND: &str = "longbench";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windowkv longbench LongBench --model-dir Llama-3.2-1B-Instruct --out run    all methods, all datasets in the folder\n  \
    windowkv longbench LongBench --datasets qasper,hotpotqa --samples 20 --capacities 512,1024\n  \
    windowkv longbench LongBench --out run --resume                             after an interruption\n  \
    windowkv longbench LongBench --longbench-e                                  the *_e.jsonl files, by length\n  \
    windowkv longbench LongBench --datasets trec --task aggregation             one task for all\n  \
    windowkv longbench LongBench --predict-only --out run                       score later, or elsewhere\n  \
    windowkv longbench --score run                                              the table of a run again\n  \
    windowkv longbench --score pred/my-model --score pred/other --csv           predictions made elsewhere\n\n\
    The folder holds LongBench's own files: data/qasper.jsonl and so on, config/dataset2prompt.json and\n\
    config/dataset2maxlen.json. A line of predictions has pred, answers, all_classes and length, as LongBench's\n\
    own; its dataset is the file's name (qasper.jsonl) or a field `dataset`, its method the folder's or `method`.\n\
    --task auto, the default, classifies each sample's prompt, as the released code does; the record of\n\
    an answer has task and score.\n\n\
    The run's folder gets table.md, table.csv and scores.jsonl beside its records.")]
pub(super) struct LongBench {
    /// Folder with LongBench's data/ and config/
    #[arg(value_name = "DIR", required_unless_present = "score")]
    data: Option<PathBuf>,
    /// Folder of the model as Hugging Face writes it [default: the embedded demo model]
    #[arg(long, alias = "model_dir", value_name = "DIR")]
    model_dir: Option<PathBuf>,
    /// Which datasets [default: all whose files are in DIR]
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    datasets: Vec<Dataset>,
    /// LongBench-E: read the *_e.jsonl files, show scores by length
    #[arg(long, alias = "longbench_e", visible_alias = "e")]
    longbench_e: bool,
    /// The first N samples of each dataset [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    samples: Option<u32>,
    /// Methods; `windowkv:9` is WindowKV whose scores are pooled over 9 tokens
    #[arg(long, alias = "method", value_delimiter = ',', value_name = "NAME",
          default_values = ["fullkv", "streamingllm", "h2o", "snapkv", "pyramidkv", "windowkv"])]
    methods: Vec<MethodSpec>,
    /// Tokens that a layer may keep on average, or shares of the prompt [default: 2048; demo model 12%]
    #[arg(long, aliases = ["max-capacity-prompt", "max_capacity_prompt"], value_delimiter = ',',
          value_name = "TOKENS|PERCENT")]
    capacities: Vec<Capacity>,
    /// Longest prompt in tokens; a longer one is cut in the middle [default: the paper's for the model's family]
    #[arg(long, alias = "max_input_len", value_name = "TOKENS", value_parser = input_len)]
    max_input_len: Option<usize>,
    /// Give every prompt to the model as it is, without its chat form
    #[arg(long)]
    no_chat_template: bool,
    /// Record predictions and score nothing
    #[arg(long)]
    predict_only: bool,
    /// Score predictions and run nothing: a file, a folder of them, or that of a run (may be given several times)
    #[arg(long, value_name = "PATH", conflicts_with_all = TUNING,
          conflicts_with_all = ["data", "model_dir", "datasets", "samples", "methods", "capacities", "max_input_len",
          "no_chat_template", "predict_only", "resume", "shard"])]
    score: Vec<PathBuf>,
    /// Print the table as CSV instead of Markdown
    #[arg(long, conflicts_with = "predict_only")]
    csv: bool,
    /// One JSON object on standard output instead of the table
    #[arg(long, conflicts_with_all = ["predict_only", "csv"])]
    json: bool,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    tuning: TuningArgs,
}

fn input_len(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 2..=1 << 30)
}

/// A sample, answered by one method.
struct Question {
    /// Index of the dataset's file.
    file: usize,
    sample: usize,
    variant: usize,
    /// Names the sample.
    unit: String,
    id: String,
}

impl Case for Question {
    fn id(&self) -> String {
        self.id.clone()
    }

    /// The methods on one sample share its prefill.
    fn unit(&self) -> String {
        self.unit.clone()
    }
}

/// Everything that a run needs to know.
struct Evaluation {
    model: Model,
    files: Vec<DataFile>,
    prompts: Prompts,
    variants: Vec<Variant>,
    /// Absent where no method depends on the task.
    chooser: Option<TaskChooser>,
    max_input_len: usize,
    chat: bool,
}

impl LongBench {
    pub(super) fn run(&self) -> Result<()> {
        match &self.data {
            Some(dir) => self.evaluate(dir),
            None => longbench_report::of_predictions(
                &self.score,
                self.longbench_e,
                self.run.out(),
                self.form(),
            ),
        }
    }

    fn evaluate(&self, dir: &Path) -> Result<()> {
        let datasets = self.datasets(dir)?;
        let prompts = Prompts::load(dir, &datasets)?;
        let mut files = Vec::new();
        let mut skipped = Skipped::default();
        for &dataset in &datasets {
            let file = DataFile::open(dir, dataset, self.longbench_e)?;
            skipped.extend(file.skipped().clone());
            files.push(file);
        }
        say_notes(&skipped.notes());
        let model = match &self.model_dir {
            Some(dir) => Model::load(dir)?,
            None => Model::demo()?,
        };
        let variants = self.variants(&model)?;
        let evaluation = Evaluation {
            max_input_len: self.max_input_len.unwrap_or(model.preset.max_input_len),
            chat: !self.no_chat_template,
            chooser: self.tuning.task.chooser_of(&variants)?,
            model,
            files,
            prompts,
            variants,
        };
        evaluation.check(self.most())?;
        let plan = self.plan(&evaluation)?;
        let settings = self.settings(&evaluation)?;
        let mut work = |cases: &[&Question]| evaluation.answer(cases);
        let run = self.run.execute(
            COMMAND,
            settings,
            labels(self.model_dir.as_deref()),
            &plan,
            &mut work,
        )?;
        if skipped.count > 0 {
            say(longbench_report::skipped_note(skipped.count).trim());
        }
        if self.predict_only {
            let done = run.done();
            say(&format!(
                "{}: {done} predictions; `windowkv longbench --score` scores them",
                run.dir().display()
            ));
            return Ok(());
        }
        longbench_report::of_run(run.dir(), self.form())
    }

    /// The datasets that were asked for, or all that are there.
    fn datasets(&self, dir: &Path) -> Result<Vec<Dataset>> {
        if !self.datasets.is_empty() {
            // In the order of the paper's tables, each once.
            let datasets: BTreeSet<_> = self.datasets.iter().copied().collect();
            return Ok(datasets.into_iter().collect());
        }
        let (datasets, others) = datasets_in(dir, self.longbench_e)?;
        for name in others {
            say(&format!(
                "note: {}: no dataset of LongBench has this name; left out",
                dir.join("data").join(name).display()
            ));
        }
        Ok(datasets)
    }

    /// Every method at every capacity; one that keeps everything once.
    fn variants(&self, model: &Model) -> Result<Vec<Variant>> {
        let preset = &model.preset;
        let num_layers = model.llama.config().num_layers;
        let capacities = match self.capacities.as_slice() {
            [] => vec![default_capacity(preset)],
            given => given.to_vec(),
        };
        let is_full = |method: &&MethodSpec| method.kind == MethodKind::FullKv;
        let full = self.methods.iter().filter(is_full);
        let full = full.map(|&method| (method, Capacity::Share(1.0)));
        let compressed = capacities.iter().flat_map(|&capacity| {
            let methods = self.methods.iter().filter(|method| !is_full(method));
            methods.map(move |&method| (method, capacity))
        });
        let (variants, notes) = self
            .tuning
            .variants(full.chain(compressed), preset, num_layers)?;
        say_notes(&notes);
        Ok(variants)
    }

    /// Samples of each dataset, at most.
    fn most(&self) -> usize {
        self.samples.map_or(usize::MAX, |samples| samples as usize)
    }

    fn plan(&self, evaluation: &Evaluation) -> Result<Plan<Question>> {
        let most = self.most();
        let mut questions = Vec::new();
        for (index, file) in evaluation.files.iter().enumerate() {
            for sample in 0..file.len().min(most) {
                let unit = format!("{}/{}", file.dataset(), file.line(sample));
                for (variant, of) in evaluation.variants.iter().enumerate() {
                    let id = format!("{unit}/{}/{}", of.method, of.capacity);
                    questions.push(Question {
                        file: index,
                        sample,
                        variant,
                        unit: unit.clone(),
                        id,
                    });
                }
            }
        }
        Ok(Plan::new(questions)?)
    }

    /// Everything that the predictions depend on, and no paths: parts of a run may be made on different machines.
    fn settings(&self, evaluation: &Evaluation) -> Result<Value> {
        let Evaluation { model, .. } = evaluation;
        let config = model.llama.config();
        let files: Map<String, Value> = evaluation
            .files
            .iter()
            .map(|file| {
                let about = json!({"sha256": file.hash(), "samples": file.len(), "skipped": file.skipped().count});
                (file.dataset().to_string(), about)
            })
            .collect();
        let [templates, lengths] = evaluation.prompts.hashes();
        Ok(json!({
            "model_sha256": sha256(&Fingerprint::of(self.model_dir.as_deref())?)?,
            "known_as": Published::of(config).map(|published| published.model),
            "longbench_e": self.longbench_e, "samples": self.samples, "files": files,
            "dataset2prompt_sha256": templates, "dataset2maxlen_sha256": lengths,
            "chat_template": evaluation.chat && model.chat.is_some(), "max_input_len": evaluation.max_input_len,
            "task": self.tuning.task.settings_of(&evaluation.variants)?, "methods": evaluation.variants,
        }))
    }

    /// How standard output gets the tables.
    fn form(&self) -> Form {
        match (self.csv, self.json) {
            (true, _) => Form::Csv,
            (_, true) => Form::Json,
            _ => Form::Markdown,
        }
    }
}

impl Evaluation {
    /// Refuses a run that the memory could not hold, before it begins: by the longest sample of each dataset.
    fn check(&self, most: usize) -> Result<()> {
        let tasks = match &self.chooser {
            Some(chooser) => chooser.tasks(),
            None => &[Task::Localization],
        };
        for file in &self.files {
            let (_, prompt, limits) = self.prompt(file, &file.sample(file.longest(most))?)?;
            for &task in tasks {
                let variants: Vec<&Variant> = self.variants.iter().collect();
                check_memory_of(&self.model, &variants, task, &prompt, limits)?;
            }
        }
        Ok(())
    }

    /// The text of a sample as LongBench writes it, and the prompt that the model gets.
    fn prompt(&self, file: &DataFile, sample: &Sample) -> Result<(String, Prompt, Limits)> {
        let dataset = file.dataset();
        let template = self.prompts.template(dataset);
        let text = template.fill(&sample.context, &sample.input);
        let limits = Limits {
            max_input_len: self.max_input_len,
            max_new_tokens: self.prompts.max_new_tokens(dataset),
        };
        let chat = self.chat && dataset.takes_chat_form();
        let prompt = Prompt::new(&self.model, &text, chat, limits)?;
        Ok((text, prompt, limits))
    }

    /// Answers one sample by the methods of `cases`.
    fn answer(&self, cases: &[&Question]) -> Result<Vec<Prediction>> {
        let first = cases[0];
        let file = &self.files[first.file];
        let sample = file.sample(first.sample)?;
        let (text, prompt, limits) = self.prompt(file, &sample)?;
        // Once for all methods: the text as LongBench writes it, without cut and chat form.
        let chooser = self.chooser.as_ref();
        let decision = chooser.map(|chooser| chooser.choose(&text)).transpose()?;
        let task = decision.as_ref().map_or(Task::Localization, |it| it.task);
        let variants: Vec<&Variant> = cases
            .iter()
            .map(|case| &self.variants[case.variant])
            .collect();
        check_memory_of(&self.model, &variants, task, &prompt, limits)?;
        let methods: Vec<Box<dyn Method<f32>>> = variants
            .iter()
            .map(|variant| variant.compression(task).method(prompt.ids.len()))
            .collect();
        let requests: Vec<Request<'_>> = methods
            .iter()
            .map(|method| Request {
                ids: &prompt.ids,
                method: &**method,
                max_new_tokens: limits.max_new_tokens,
                sampling: Sampling::default(),
                stop_strings: &[],
                ignore_stop_tokens: false,
            })
            .collect();
        let answers = generate_each(&self.model, &requests, &mut |_| ())?;
        let predictions = variants
            .iter()
            .zip(answers)
            .map(|(variant, answer)| Prediction {
                dataset: file.dataset(),
                line: file.line(first.sample),
                id: sample.id.clone(),
                method: variant.method.clone(),
                capacity: (variant.kind() != MethodKind::FullKv).then(|| variant.capacity.clone()),
                pred: answer.text,
                answers: sample.answers.clone(),
                all_classes: sample.all_classes.clone(),
                length: sample.length,
                task: decision.as_ref().map(|it| it.task),
                task_score: decision.as_ref().map(|it| it.score),
                task_uncertain: decision.as_ref().is_some_and(|it| it.uncertain),
                prompt_tokens: prompt.ids.len(),
                prompt_tokens_cut: prompt.cut,
                new_tokens: answer.ids.len(),
                finish: answer.finish,
                kept_share: answer.kv.kept_share(),
                kv_bytes: answer.kv.bytes,
            });
        Ok(predictions.collect())
    }
}

/// Refuses methods on a prompt that the memory could not hold.
fn check_memory_of(
    model: &Model,
    variants: &[&Variant],
    task: Task,
    prompt: &Prompt,
    limits: Limits,
) -> Result<()> {
    let seqlen = prompt.ids.len();
    let methods: Vec<Box<dyn Method<f32>>> = variants
        .iter()
        .map(|variant| variant.compression(task).method(seqlen))
        .collect();
    let methods: Vec<&dyn Method<f32>> = methods.iter().map(|method| &**method).collect();
    check_memory(model, &methods, seqlen, limits.max_new_tokens)
}
