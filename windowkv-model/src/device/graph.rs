//! A decode step as one CUDA graph: captured once, replayed for every later token.
//!
//! A graph holds the addresses of the batch's memory, which is made once and lives as long as the graph; the batch drops
//! the graph first.

use windowkv_kernels::HalfPrecision;
use windowkv_kernels::cuda::{Graph, begin_capture};

use super::batch::Batch;
use super::step::Step;
use crate::Result;

/// How far a batch's graph is.
#[derive(Default)]
pub(super) enum StepGraph {
    /// No step was run: the first one lets cuBLASLt choose its kernels and make its workspace, which a capture may not.
    #[default]
    Cold,
    /// The next step is captured.
    Warm,
    /// Every step is a replay.
    Captured(Graph),
}

impl std::fmt::Debug for StepGraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cold => "Cold",
            Self::Warm => "Warm",
            Self::Captured(_) => "Captured",
        })
    }
}

impl<T: HalfPrecision> Batch<'_, T> {
    /// Runs a step on a GPU: launch by launch the first time, captured the second, and replayed from then on.
    pub(super) fn graph_step(&mut self) -> Result<()> {
        const STEP: &str = "the graph of a decode step";
        match &self.graph {
            StepGraph::Cold => {
                self.launch_step()?;
                self.graph = StepGraph::Warm;
                return Ok(());
            }
            StepGraph::Warm => {
                let capture = begin_capture(&self.model.device).at(STEP)?;
                // A launch that fails ends the capture with the guard.
                self.launch_step()?;
                self.graph = StepGraph::Captured(capture.end().at(STEP)?);
            }
            StepGraph::Captured(_) => {}
        }
        match &self.graph {
            // SAFETY: the batch made its memory once, holds it as long as the graph, and is borrowed for this call alone;
            // the model's, which is borrowed with it, is read.
            #[allow(unsafe_code)]
            StepGraph::Captured(graph) => unsafe { graph.replay() }.at(STEP),
            StepGraph::Cold | StepGraph::Warm => Ok(()),
        }
    }
}
