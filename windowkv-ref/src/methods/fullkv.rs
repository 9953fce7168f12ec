use super::{
    Kept, LayerInput, Method, MethodKind, Rule, Selection, Selector, check_input, check_model,
};
use crate::policy::ModelShape;
use crate::{Error, Real};

/// Keeps everything: what the others are measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FullKv;

struct FullKvSelector {
    model: ModelShape,
    seqlen: usize,
}

impl<F: Real> Method<F> for FullKv {
    fn kind(&self) -> MethodKind {
        MethodKind::FullKv
    }

    fn start(&self, model: ModelShape, seqlen: usize) -> Result<Box<dyn Selector<F>>, Error> {
        check_model(model)?;
        Ok(Box::new(FullKvSelector { model, seqlen }))
    }
}

impl<F: Real> Selector<F> for FullKvSelector {
    fn query_rows(&self, _layer: usize) -> usize {
        0
    }

    fn max_kept(&self, _layer: usize) -> usize {
        self.seqlen
    }

    fn cache_heads(&self, _layer: usize) -> usize {
        self.model.num_heads_kv
    }

    fn rule(&self, _layer: usize) -> Rule {
        Rule::All
    }

    fn select(&mut self, layer: usize, input: &LayerInput<'_, F>) -> Result<Selection<F>, Error> {
        check_input(layer, self.model, self.seqlen, input)?;
        Ok(Selection::unscored(Kept::All))
    }
}
