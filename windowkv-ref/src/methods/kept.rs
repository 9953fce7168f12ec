use crate::policy::WindowChoice;

/// Which prompt tokens one layer keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The whole prompt.
    All,
    /// The same positions for every head, ascending.
    Shared(Vec<usize>),
    /// Positions for each cache head, ascending, as many for each: `num_heads_kv` lists, or `num_heads_q`
    /// when every query head keeps its own copy.
    PerHead(Vec<Vec<usize>>),
}

impl Kept {
    /// Tokens that a cache head keeps of a prompt of `seqlen`.
    pub fn len(&self, seqlen: usize) -> usize {
        match self {
            Self::All => seqlen,
            Self::Shared(positions) => positions.len(),
            Self::PerHead(heads) => heads.first().map_or(0, Vec::len),
        }
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self, seqlen: usize) -> bool {
        self.len(seqlen) == 0
    }

    /// How many heads the cache stores for a model with `num_heads_kv`.
    pub fn cache_heads(&self, num_heads_kv: usize) -> usize {
        match self {
            Self::All | Self::Shared(_) => num_heads_kv,
            Self::PerHead(heads) => heads.len(),
        }
    }

    /// Positions that cache head `head` keeps, ascending.
    pub fn positions(&self, head: usize, seqlen: usize) -> impl Iterator<Item = usize> + '_ {
        let (all, list) = match self {
            Self::All => (0..seqlen, [].as_slice()),
            Self::Shared(positions) => (0..0, positions.as_slice()),
            Self::PerHead(heads) => (0..0, heads[head].as_slice()),
        };
        all.chain(list.iter().copied())
    }
}

/// What a layer keeps, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection<F> {
    /// The tokens.
    pub kept: Kept,
    /// WindowKV only: the windows.
    pub windows: Option<WindowChoice>,
    /// The scores behind the choice, where the layer was scored: one a window for WindowKV, one row a
    /// cache head for the others.
    pub scores: Option<ndarray::Array2<F>>,
}

impl<F> Selection<F> {
    /// A choice that no score was needed for.
    pub(crate) fn unscored(kept: Kept) -> Self {
        Self {
            kept,
            windows: None,
            scores: None,
        }
    }
}
