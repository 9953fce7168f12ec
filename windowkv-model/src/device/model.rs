//! A model on a device.

use windowkv_kernels::matmul::{MatmulParams, matmul};
use windowkv_kernels::{Buffer, Device, HalfPrecision, InOut, Matrix, MatrixMut, ops};

use super::sizes::Sizes;
use super::step::{DeviceResult, Step};
use super::weights::{DeviceLinear, DeviceWeights};
use crate::Result;
use crate::config::ModelConfig;
use crate::runner::Llama;

/// The weights of a model on a device, in `T`.
#[derive(Debug)]
pub struct DeviceModel<T: HalfPrecision> {
    pub(super) device: Device,
    pub(super) sizes: Sizes,
    pub(super) weights: DeviceWeights<T>,
    /// `[head_dim / 2]`: see `ops::rope_turns`.
    pub(super) turns: Buffer<u64>,
    pub(super) softmax_scale: f32,
    eps: f32,
}

impl<T: HalfPrecision> DeviceModel<T> {
    /// Copies the weights to the device, piece by piece. `progress` is told the share that is done.
    ///
    /// # Errors
    /// A model that the kernels do not take, weights that changed, a device without room for them.
    pub fn load(device: &Device, llama: &Llama, progress: &mut dyn FnMut(f64)) -> Result<Self> {
        let config = llama.config();
        let weights = DeviceWeights::upload(device, config, llama.weights(), progress)?;
        Self::new(device, config, weights)
    }

    /// Random weights in the shapes of `config`, the same on every run: for measurements without a checkpoint.
    ///
    /// # Errors
    /// A model that the kernels do not take, a device without room for it.
    pub fn random(
        device: &Device,
        config: &ModelConfig,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Self> {
        const SEED: u64 = 42;
        let weights = DeviceWeights::random(device, config, SEED, progress)?;
        Self::new(device, config, weights)
    }

    fn new(device: &Device, config: &ModelConfig, weights: DeviceWeights<T>) -> Result<Self> {
        let sizes = weights.sizes;
        let scaling = config.rope_scaling.map(|scaling| ops::Llama3Scaling {
            factor: scaling.factor,
            low_freq_factor: scaling.low_freq_factor,
            high_freq_factor: scaling.high_freq_factor,
            original_max_position_embeddings: scaling.original_max_position_embeddings as f64,
        });
        let mut turns = ops::rope_turns(sizes.model_head_dim, config.rope_theta, scaling)
            .at("the rotary embedding")?;
        turns.resize(sizes.head_dim / 2, 0);
        Ok(Self {
            device: device.clone(),
            sizes,
            weights,
            turns: device
                .upload(&turns)
                .at("copying the rotary embedding to the device")?,
            softmax_scale: windowkv_ref::softmax_scale(sizes.model_head_dim),
            eps: config.rms_norm_eps as f32,
        })
    }

    /// Sizes on the device.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// `out = norm(x) * weight`, row by row.
    pub(super) fn norm(
        &self,
        x: Matrix<'_, T>,
        weight: &Buffer<T>,
        out: MatrixMut<'_, T>,
    ) -> DeviceResult<()> {
        let params = ops::RmsNormParams {
            x: InOut::Apart(x, out),
            residual: None,
            weight: weight.view(),
            eps: self.eps,
        };
        ops::rms_norm(&self.device, params)
    }

    /// `y = linear(x)`, or `y += linear(x)`.
    pub(super) fn linear(
        &self,
        x: Matrix<'_, T>,
        linear: &DeviceLinear<T>,
        y: MatrixMut<'_, T>,
        accumulate: bool,
    ) -> DeviceResult<()> {
        self.part_of_linear(x, linear, 0..linear.outputs, y, accumulate)
    }

    /// The same with some of the outputs.
    pub(super) fn part_of_linear(
        &self,
        x: Matrix<'_, T>,
        linear: &DeviceLinear<T>,
        outputs: std::ops::Range<usize>,
        y: MatrixMut<'_, T>,
        accumulate: bool,
    ) -> DeviceResult<()> {
        let bias = linear
            .bias
            .as_ref()
            .map(|bias| bias.view().range(outputs.clone()));
        let params = MatmulParams {
            x,
            weight: linear.rows(outputs)?,
            bias: bias.transpose()?,
            y,
            accumulate,
        };
        matmul(&self.device, params)
    }

    /// `[rows, vocab]` logits of normed rows.
    pub(super) fn logits(&self, x: Matrix<'_, T>, y: MatrixMut<'_, f32>) -> DeviceResult<()> {
        let params = MatmulParams {
            x,
            weight: self.weights.lm_head()?,
            bias: None,
            y,
            accumulate: false,
        };
        matmul(&self.device, params)
    }
}
