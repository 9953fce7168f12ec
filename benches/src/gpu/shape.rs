//! Shapes of the models that the kernels are timed at.

/// One layer's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// As records name it.
    pub name: &'static str,
    /// Query heads.
    pub num_heads_q: usize,
    /// KV heads.
    pub num_heads_kv: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    /// Residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Vocabulary.
    pub vocab: usize,
}

/// Llama-3-8B, Llama-3.2-1B and Qwen2.5-1.5B.
pub const MODELS: [ModelShape; 3] = [
    ModelShape {
        name: "Llama-3-8B",
        num_heads_q: 32,
        num_heads_kv: 8,
        head_dim: 128,
        hidden: 4096,
        intermediate: 14336,
        vocab: 128_256,
    },
    ModelShape {
        name: "Llama-3.2-1B",
        num_heads_q: 32,
        num_heads_kv: 8,
        head_dim: 64,
        hidden: 2048,
        intermediate: 8192,
        vocab: 128_256,
    },
    ModelShape {
        name: "Qwen2.5-1.5B",
        num_heads_q: 12,
        num_heads_kv: 2,
        head_dim: 128,
        hidden: 1536,
        intermediate: 8960,
        vocab: 151_936,
    },
];

/// So small that the emulated GPU runs it in moments.
pub const TINY: ModelShape = ModelShape {
    name: "tiny",
    num_heads_q: 4,
    num_heads_kv: 2,
    head_dim: 32,
    hidden: 128,
    intermediate: 256,
    vocab: 512,
};

/// What is timed: one kernel at one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// The kernel.
    pub kernel: Kernel,
    /// The layer.
    pub model: ModelShape,
    /// Sequences.
    pub batch: usize,
    /// Tokens of each: of the prompt, or of the cache that decode reads.
    pub seqlen: usize,
}

impl Job {
    /// As messages name it.
    pub fn name(&self) -> String {
        format!(
            "{} {} {}x{}",
            self.kernel.name(),
            self.model.name,
            self.batch,
            self.seqlen
        )
    }
}

/// The kernels, as records name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Causal attention over a prompt.
    Prefill,
    /// The same with the log-sum-exp written.
    PrefillLse,
    /// Window scores of a suffix of 32 rows.
    Score,
    /// The windows that 2,048 tokens have room for, of 8 tokens each.
    Select,
    /// 2,048 kept tokens of eight layers, in one launch.
    Gather,
    /// One new token a sequence over its cache.
    Decode,
    /// RMS norm with residual, a row a token.
    RmsNorm,
    /// Rotary embedding of q and k.
    Rope,
    /// The gate of the feed-forward layer.
    SiluMul,
    /// The largest logit of each row.
    Sample,
    /// Rows of the vocabulary's table.
    Embedding,
    /// The lengths of the caches after a step.
    Advance,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Prefill,
        Self::PrefillLse,
        Self::Score,
        Self::Select,
        Self::Gather,
        Self::Decode,
        Self::RmsNorm,
        Self::Rope,
        Self::SiluMul,
        Self::Sample,
        Self::Embedding,
        Self::Advance,
    ];
    /// Those of a layer's rows, beside attention and compression.
    pub const ROWS: [Self; 5] = [
        Self::RmsNorm,
        Self::Rope,
        Self::SiluMul,
        Self::Sample,
        Self::Embedding,
    ];

    /// As records name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::PrefillLse => "prefill+lse",
            Self::Score => "score",
            Self::Select => "select",
            Self::Gather => "gather",
            Self::Decode => "decode",
            Self::RmsNorm => "rms_norm",
            Self::Rope => "rope",
            Self::SiluMul => "silu_mul",
            Self::Sample => "sample",
            Self::Embedding => "embedding",
            Self::Advance => "advance",
        }
    }
}

/// Which jobs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum JobSet {
    /// Llama-3-8B's layer, the sizes that the goals name: some two minutes.
    Main,
    /// The other models, odd lengths, and up to 128k tokens.
    Rest,
    /// A shape for the emulated GPU.
    Tiny,
}

impl JobSet {
    /// The jobs, none twice, the most telling first: a run may be cut off.
    pub fn jobs(self) -> Vec<Job> {
        match self {
            Self::Main => main(),
            Self::Rest => {
                let main = main();
                let mut jobs: Vec<Job> = Vec::new();
                for job in rest() {
                    if !main.contains(&job) && !jobs.contains(&job) {
                        jobs.push(job);
                    }
                }
                jobs
            }
            Self::Tiny => Kernel::ALL
                .into_iter()
                .map(|kernel| job(kernel, TINY, 2, 96))
                .collect(),
        }
    }
}

fn job(kernel: Kernel, model: ModelShape, batch: usize, seqlen: usize) -> Job {
    Job {
        kernel,
        model,
        batch,
        seqlen,
    }
}

/// What compresses a prompt.
const COMPRESSION: [Kernel; 3] = [Kernel::Score, Kernel::Select, Kernel::Gather];

fn main() -> Vec<Job> {
    let [llama_8b, ..] = MODELS;
    let mut jobs = Vec::new();
    for seqlen in [16384, 4096, 1024, 32768, 2048, 8192] {
        jobs.push(job(Kernel::Prefill, llama_8b, 1, seqlen));
    }
    jobs.push(job(Kernel::PrefillLse, llama_8b, 1, 16384));
    for seqlen in [16384, 131_072] {
        jobs.extend(COMPRESSION.map(|kernel| job(kernel, llama_8b, 1, seqlen)));
    }
    for (batch, seqlen) in [(1, 2048), (8, 2048), (32, 2048), (1, 512), (8, 16384)] {
        jobs.push(job(Kernel::Decode, llama_8b, batch, seqlen));
    }
    jobs.extend(Kernel::ROWS.map(|kernel| job(kernel, llama_8b, 8, 1)));
    jobs.push(job(Kernel::Advance, llama_8b, 8, 1));
    jobs
}

fn rest() -> Vec<Job> {
    let [llama_8b, llama_1b, qwen] = MODELS;
    let mut jobs = vec![
        job(Kernel::Prefill, llama_8b, 1, 65536),
        job(Kernel::Prefill, llama_8b, 1, 131_072),
    ];
    // Each kernel of each model, then more lengths.
    for seqlen in [16384, 1024, 131_072, 4096, 8192, 32768, 65536] {
        for model in [llama_1b, qwen, llama_8b] {
            jobs.push(job(Kernel::Prefill, model, 1, seqlen));
            jobs.extend(COMPRESSION.map(|kernel| job(kernel, model, 1, seqlen)));
            // The cache without compression.
            jobs.push(job(Kernel::Decode, model, 1, seqlen));
        }
        if seqlen == 16384 {
            for model in MODELS {
                jobs.push(job(Kernel::PrefillLse, model, 1, seqlen));
                for batch in [1, 8, 64] {
                    jobs.push(job(Kernel::Decode, model, batch, 2048));
                }
                for (batch, seqlen) in [(8, 1), (1, 1024), (1, 16384)] {
                    // A prompt's last row alone is sampled from.
                    let kernels = Kernel::ROWS.into_iter();
                    let kernels = kernels.filter(|k| seqlen == 1 || *k != Kernel::Sample);
                    jobs.extend(kernels.map(|kernel| job(kernel, model, batch, seqlen)));
                }
                jobs.push(job(Kernel::Advance, model, 64, 1));
            }
            for seqlen in [1, 17, 127, 1000, 2049, 12345] {
                jobs.push(job(Kernel::Prefill, llama_8b, 1, seqlen));
            }
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kernel for every model; those over a prompt from 1k to 128k tokens.
    #[test]
    fn every_kernel_has_every_model() {
        let mut jobs = JobSet::Main.jobs();
        jobs.extend(JobSet::Rest.jobs());
        for (index, job) in jobs.iter().enumerate() {
            assert!(!jobs[..index].contains(job), "{} twice", job.name());
        }
        let has = |kernel, model: ModelShape, seqlen| {
            let found = jobs
                .iter()
                .any(|j| j.kernel == kernel && j.model == model && seqlen == j.seqlen);
            assert!(found, "{} {} {seqlen}", kernel.name(), model.name);
        };
        for model in MODELS {
            for kernel in Kernel::ROWS {
                has(kernel, model, 1);
            }
            has(Kernel::Advance, model, 1);
            has(Kernel::PrefillLse, model, 16384);
            for seqlen in [1024, 4096, 8192, 16384, 32768, 65536, 131_072] {
                for kernel in COMPRESSION
                    .into_iter()
                    .chain([Kernel::Prefill, Kernel::Decode])
                {
                    has(kernel, model, seqlen);
                }
            }
        }
        let tiny = JobSet::Tiny.jobs();
        assert!(
            Kernel::ALL
                .iter()
                .all(|k| tiny.iter().any(|j| j.kernel == *k))
        );
    }
}
