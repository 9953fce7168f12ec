//! WindowKV and the methods it is compared with, behind one trait (spec section 7).
//!
//! A [`Method`] holds the settings; [`Method::start`] makes a [`Selector`] for one sequence, which is asked
//! once for each layer, in order, what to keep. All state lives in the selector, so requests never
//! share any. A new method is one file: implement the two traits and add it to [`MethodKind`].

mod budgeted;
mod fullkv;
mod h2o;
mod kept;
mod pyramidkv;
mod rule;
mod snapkv;
mod streamingllm;
mod windowkv;

use ndarray::{ArrayView2, ArrayView3};
use serde::{Deserialize, Serialize};

pub use budgeted::{Granularity, Pooling, TokenConfig};
pub use fullkv::FullKv;
pub use h2o::H2o;
pub use kept::{Kept, Selection};
pub use pyramidkv::PyramidKv;
pub use rule::{Chooser, Rule, ScorePooling, Scored};
pub use snapkv::SnapKv;
pub use streamingllm::StreamingLlm;
pub use windowkv::WindowKv;

use crate::policy::ModelShape;
use crate::{Error, Real};

/// A way to choose which tokens of the prompt stay in the cache.
pub trait Method<F: Real>: Send + Sync {
    /// Which method this is.
    fn kind(&self) -> MethodKind;

    /// Prepares one sequence of `seqlen` prompt tokens.
    ///
    /// # Errors
    /// When the settings do not fit the model or leave nothing to choose.
    fn start(&self, model: ModelShape, seqlen: usize) -> Result<Box<dyn Selector<F>>, Error>;
}

/// Chooses for one sequence, layer by layer.
pub trait Selector<F: Real>: Send {
    /// How many of the last query rows [`select`](Self::select) looks at in this layer; 0 when it needs none.
    fn query_rows(&self, layer: usize) -> usize;

    /// The most tokens that a cache head of this layer can keep: known before prefill, to plan memory.
    fn max_kept(&self, layer: usize) -> usize;

    /// How many cache heads this layer stores.
    fn cache_heads(&self, layer: usize) -> usize;

    /// How layer `layer` chooses, where the choice is not made here.
    fn rule(&self, layer: usize) -> Rule;

    /// Chooses what layer `layer` keeps. Layers come in ascending order.
    ///
    /// # Errors
    /// NaN scores, shapes that do not fit, or a layer that does not exist.
    fn select(&mut self, layer: usize, input: &LayerInput<'_, F>) -> Result<Selection<F>, Error>;
}

/// What one layer's prefill attention leaves for the choice.
#[derive(Debug, Clone, Copy)]
pub struct LayerInput<'a, F> {
    /// At least the last [`Selector::query_rows`] query rows, `[rows, num_heads_q, head_dim]`, after RoPE
    pub q: ArrayView3<'a, F>,
    /// Keys of the whole prompt, `[seqlen, num_heads_kv, head_dim]`, after RoPE
    pub k: ArrayView3<'a, F>,
    /// Log-sum-exp (natural log) of the same query rows, `[num_heads_q, rows]`
    pub lse: ArrayView2<'a, F>,
    /// Factor on `q . k`.
    pub softmax_scale: F,
}

impl<'a, F: Real> LayerInput<'a, F> {
    /// The same input with the last `rows` query rows only.
    fn last_rows(&self, rows: usize) -> Result<LayerInput<'a, F>, Error> {
        let given = self.q.dim().0;
        Error::same("lse's rows", self.lse.ncols(), given)?;
        if given < rows {
            return Err(Error::Shape {
                what: "query rows",
                found: given,
                expected: rows,
            });
        }
        Ok(LayerInput {
            q: self.q.slice_move(ndarray::s![given - rows.., .., ..]),
            lse: self.lse.slice_move(ndarray::s![.., given - rows..]),
            ..*self
        })
    }

    /// Column scores of the first `columns` tokens, observed by the last `rows` query rows.
    fn column_scores(&self, rows: usize, columns: usize) -> Result<ndarray::Array2<F>, Error> {
        let last = self.last_rows(rows)?;
        crate::scoring::column_scores(last.q, last.k, last.lse, last.softmax_scale, columns)
    }
}

/// The methods by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodKind {
    /// Whole windows, chosen by group leaders ([`WindowKv`]).
    WindowKv,
    /// Everything ([`FullKv`]).
    FullKv,
    /// The first tokens and the last ([`StreamingLlm`]).
    StreamingLlm,
    /// The tokens that all rows attend to most ([`H2o`]).
    H2o,
    /// The tokens that the last rows attend to most, pooled ([`SnapKv`]).
    SnapKv,
    /// SnapKV's scores with a pyramid of budgets ([`PyramidKv`]).
    PyramidKv,
}

impl MethodKind {
    /// Every method, WindowKV first.
    pub const ALL: [Self; 6] = [
        Self::WindowKv,
        Self::FullKv,
        Self::StreamingLlm,
        Self::H2o,
        Self::SnapKv,
        Self::PyramidKv,
    ];

    /// The name that a user gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::WindowKv => "windowkv",
            Self::FullKv => "fullkv",
            Self::StreamingLlm => "streamingllm",
            Self::H2o => "h2o",
            Self::SnapKv => "snapkv",
            Self::PyramidKv => "pyramidkv",
        }
    }

    /// The name in papers.
    pub fn title(self) -> &'static str {
        match self {
            Self::WindowKv => "WindowKV",
            Self::FullKv => "FullKV",
            Self::StreamingLlm => "StreamingLLM",
            Self::H2o => "H2O",
            Self::SnapKv => "SnapKV",
            Self::PyramidKv => "PyramidKV",
        }
    }
}

impl std::str::FromStr for MethodKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| Error::UnknownName {
                what: "method",
                found: name.to_owned(),
                choices: "windowkv, fullkv, streamingllm, h2o, snapkv, pyramidkv",
            })
    }
}

/// Whether the input is what a layer of this model and sequence leaves.
fn check_input<F: Real>(
    layer: usize,
    model: ModelShape,
    seqlen: usize,
    input: &LayerInput<'_, F>,
) -> Result<(), Error> {
    if layer >= model.num_layers {
        let num_layers = model.num_layers;
        return Err(Error::LayerOutOfRange { layer, num_layers });
    }
    Error::same("k's seqlen", input.k.dim().0, seqlen)?;
    Error::same("k's num_heads_kv", input.k.dim().1, model.num_heads_kv)?;
    Error::same("q's num_heads_q", input.q.dim().1, model.num_heads_q)
}

fn check_model(model: ModelShape) -> Result<(), Error> {
    Error::nonzero("num_layers", model.num_layers)?;
    Error::nonzero("num_heads_kv", model.num_heads_kv)?;
    Error::nonzero("num_heads_q", model.num_heads_q)?;
    let ModelShape {
        num_heads_q,
        num_heads_kv,
        ..
    } = model;
    if num_heads_q % num_heads_kv != 0 {
        return Err(Error::HeadsNotDivisible {
            num_heads_q,
            num_heads_kv,
        });
    }
    Ok(())
}
