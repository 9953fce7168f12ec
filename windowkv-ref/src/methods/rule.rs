/// How a layer chooses what it keeps, in numbers known before the prompt is read: for runners whose kernels score and
/// select by themselves. [`Selector::select`](super::Selector::select) is the same choice made on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Everything stays.
    All,
    /// The first `first` tokens and the last `suffix_len`.
    Ends {
        /// Tokens at the beginning.
        first: usize,
        /// Tokens at the end.
        suffix_len: usize,
    },
    /// The windows of highest score and the suffix, chosen by this layer.
    Scored(Scored),
    /// What layer `leader`, an earlier one whose rule is [`Rule::Scored`], has chosen.
    AsLeader {
        /// The layer.
        leader: usize,
    },
}

/// A choice by scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scored {
    /// The last so many query rows observe.
    pub query_len: usize,
    /// Last tokens, which stay unscored.
    pub suffix_len: usize,
    /// Tokens of a window; 1 where single tokens are chosen.
    pub window_len: usize,
    /// Windows before the suffix.
    pub num_windows: usize,
    /// Windows that stay.
    pub num_keep: usize,
    /// A window's score is the mean of its so many largest column scores.
    pub top_tokens: usize,
    /// What is made of neighbouring column scores first.
    pub pooling: ScorePooling,
    /// Who chooses.
    pub chooser: Chooser,
}

/// Pooling of column scores: stride 1, an odd width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScorePooling {
    /// None.
    None,
    /// The mean, zeros outside counted.
    Average(usize),
    /// The largest.
    Max(usize),
}

/// Whose scores choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chooser {
    /// All heads together: each head's columns are pooled, then windows are averaged over the heads.
    Layer,
    /// Each KV head by the mean of its query heads, which is pooled.
    KvHead,
    /// Each query head, for a copy of its own.
    QueryHead,
}
