use super::budgeted::Plan;
use super::snapkv::ObservedRows;
use super::{Method, MethodKind, Selector, TokenConfig};
use crate::policy::ModelShape;
use crate::{Error, Real};

/// SnapKV's scores with budgets that fall linearly from the first layer to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PyramidKv {
    config: TokenConfig,
}

impl PyramidKv {
    /// With these settings.
    pub fn new(config: TokenConfig) -> Self {
        Self { config }
    }
}

impl<F: Real> Method<F> for PyramidKv {
    fn kind(&self) -> MethodKind {
        MethodKind::PyramidKv
    }

    fn start(&self, model: ModelShape, seqlen: usize) -> Result<Box<dyn Selector<F>>, Error> {
        self.config.check_pooling()?;
        Error::nonzero("beta", self.config.beta)?;
        let TokenConfig {
            beta, recent_len, ..
        } = self.config;
        let falling = |layer, mean| {
            let budgets = Pyramid {
                num_layers: model.num_layers,
                mean,
                beta,
                seqlen,
                recent_len,
            };
            budgets.of_layer(layer)
        };
        Ok(Box::new(ObservedRows(Plan::new(
            "PyramidKV",
            model,
            self.config,
            seqlen,
            falling,
        )?)))
    }
}

/// Budgets of scored tokens; their mean over the layers is `mean = C - w`.
struct Pyramid {
    num_layers: usize,
    mean: usize,
    beta: usize,
    seqlen: usize,
    recent_len: usize,
}

impl Pyramid {
    fn of_layer(&self, layer: usize) -> usize {
        if self.num_layers == 1 || self.seqlen < 2 * self.mean {
            return self.mean;
        }
        let scored = self.seqlen - self.recent_len;
        let mut min = self.mean / self.beta;
        let mut max = 2 * self.mean - min;
        if max >= scored {
            max = scored;
            min = 2 * self.mean - max;
        }
        max - layer * ((max - min) / (self.num_layers - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_fall_from_twice_the_mean() {
        let pyramid = |seqlen| {
            let pyramid = Pyramid {
                num_layers: 4,
                mean: 100,
                beta: 20,
                seqlen,
                recent_len: 8,
            };
            [0, 1, 2, 3].map(|layer| pyramid.of_layer(layer))
        };
        assert_eq!(pyramid(1000), [195, 132, 69, 6]);
        assert_eq!(
            pyramid(200),
            [192, 131, 70, 9],
            "the first layer cannot keep more than there is"
        );
        assert_eq!(pyramid(199), [100; 4], "too short for a pyramid");
    }
}
