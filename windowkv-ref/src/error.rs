/// What can be wrong with a request to the method. Each message names the value, the limit and the way out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that counts something is zero.
    #[error("{name} is 0: it must be at least 1")]
    Zero {
        /// The setting's name.
        name: &'static str,
    },
    /// The number of layers is not a multiple of the group size.
    #[error(
        "{num_layers} layers cannot be divided into groups of {shared_layers} (shared_layers): \
         choose a divisor of {num_layers}"
    )]
    LayersNotDivisible {
        /// Layers of the model.
        num_layers: usize,
        /// Layers that share one set of windows.
        shared_layers: usize,
    },
    /// Groups so large that the first group's budget would be negative.
    #[error(
        "shared_layers {shared_layers} is more than twice beta {beta}: the first group's budget, \
         2 * {capacity} - {last}, is negative; choose smaller groups, a larger beta, or the budget rule `paper`"
    )]
    NegativeBudget {
        /// Layers that share one set of windows.
        shared_layers: usize,
        /// Ratio of the pyramid.
        beta: usize,
        /// Mean budget of a layer.
        capacity: usize,
        /// Budget of the last group.
        last: usize,
    },
    /// A method that always keeps the last tokens has no room left to choose any other.
    #[error(
        "{method}: a capacity of {capacity} tokens leaves nothing to choose beside the last {recent_len} \
         (always kept): choose a capacity above {recent_len}"
    )]
    CapacityTooSmall {
        /// The method's name.
        method: &'static str,
        /// Tokens a layer may keep.
        capacity: usize,
        /// Last tokens that are always kept.
        recent_len: usize,
    },
    /// A pooling width that is even or zero.
    #[error("{name} is {width}: a pooling width must be odd and at least 1 (1 turns pooling off)")]
    PoolingWidth {
        /// The setting's name.
        name: &'static str,
        /// The width that was given.
        width: usize,
    },
    /// A score is NaN, so no choice would be better than another.
    #[error(
        "layer {layer}: the score of {what} {index} is NaN; the model's activations are broken"
    )]
    NanScore {
        /// The layer.
        layer: usize,
        /// `window` or `token`.
        what: &'static str,
        /// Its index.
        index: usize,
    },
    /// A layer of a group was asked for before the group's leader.
    #[error("layer {layer} shares the windows of layer {leader}, which has not been selected yet")]
    LeaderMissing {
        /// The layer that was asked for.
        layer: usize,
        /// The first layer of its group.
        leader: usize,
    },
    /// A layer index past the end of the model.
    #[error("layer {layer} does not exist: the model has {num_layers}")]
    LayerOutOfRange {
        /// The layer that was asked for.
        layer: usize,
        /// Layers of the model.
        num_layers: usize,
    },
    /// Two tensors disagree, or a size is not possible.
    #[error("{what} is {found}, expected {expected}")]
    Shape {
        /// What was measured, for example `k's head_dim`.
        what: &'static str,
        /// The size that was found.
        found: usize,
        /// The size that fits the other tensors.
        expected: usize,
    },
    /// Query heads cannot be divided over the KV heads.
    #[error("num_heads_q {num_heads_q} is not a multiple of num_heads_kv {num_heads_kv}")]
    HeadsNotDivisible {
        /// Query heads.
        num_heads_q: usize,
        /// KV heads.
        num_heads_kv: usize,
    },
    /// A name that is not one of the known ones.
    #[error("unknown {what} `{found}`: choose one of {choices}")]
    UnknownName {
        /// What is named, for example `method`.
        what: &'static str,
        /// The name that was given.
        found: String,
        /// The names that exist.
        choices: &'static str,
    },
}

impl Error {
    pub(crate) fn nonzero(name: &'static str, value: usize) -> Result<(), Error> {
        if value == 0 {
            Err(Error::Zero { name })
        } else {
            Ok(())
        }
    }

    pub(crate) fn same(what: &'static str, found: usize, expected: usize) -> Result<(), Error> {
        if found == expected {
            Ok(())
        } else {
            Err(Error::Shape {
                what,
                found,
                expected,
            })
        }
    }
}
