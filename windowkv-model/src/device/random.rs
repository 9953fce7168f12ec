//! Weights of no model: for measurements without a checkpoint.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windowkv_kernels::{Buffer, Device, HalfPrecision};

use super::sizes::Sizes;
use super::step::Step;
use super::weights::{DeviceLayer, DeviceLinear, DeviceWeights, PIECE};
use crate::Result;
use crate::config::ModelConfig;

impl<T: HalfPrecision> DeviceWeights<T> {
    /// Random numbers in the shapes of `config`. Matrices repeat one piece of random numbers, so that making them takes
    /// as long as copying them; rows are scaled to keep numbers near 1 through the layers. Norms are 1, biases 0.
    pub(super) fn random(
        device: &Device,
        config: &ModelConfig,
        seed: u64,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Self> {
        let sizes = Sizes::new(config)?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let largest = sizes.hidden * sizes.vocab.max(2 * sizes.inner);
        let piece: Vec<f32> = (0..largest.min(PIECE))
            .map(|_| random.random::<f32>() * 2.0 - 1.0)
            .collect();
        let make = Make {
            device,
            piece: &piece,
        };
        let mut layers = Vec::with_capacity(sizes.num_layers);
        for layer in 0..sizes.num_layers {
            let (hidden, inner) = (sizes.hidden, sizes.inner);
            layers.push(DeviceLayer {
                input_norm: make.ones(hidden)?,
                qkv: make.linear(sizes.qkv(), hidden, config.qkv_bias)?,
                o: make.linear(hidden, sizes.q(), config.o_bias)?,
                post_norm: make.ones(hidden)?,
                gate_up: make.linear(2 * inner, hidden, config.mlp_bias)?,
                down: make.linear(hidden, inner, config.mlp_bias)?,
            });
            progress((layer + 1) as f64 / sizes.num_layers as f64);
        }
        Ok(Self {
            embed: make.matrix(sizes.vocab, sizes.hidden, 1.0)?,
            lm_head: match config.tie_word_embeddings {
                true => None,
                false => Some(make.matrix(sizes.vocab, sizes.hidden, 1.0)?),
            },
            layers,
            norm: make.ones(sizes.hidden)?,
            sizes,
        })
    }
}

struct Make<'a> {
    device: &'a Device,
    piece: &'a [f32],
}

const STEP: &str = "making random weights on the device";

impl Make<'_> {
    fn linear<T: HalfPrecision>(
        &self,
        outputs: usize,
        inputs: usize,
        bias: bool,
    ) -> Result<DeviceLinear<T>> {
        // Uniform in (-1, 1) has a variance of 1/3.
        let scale = (3.0 / inputs as f32).sqrt();
        let bias = bias
            .then(|| self.device.zeroed(outputs).at(STEP))
            .transpose()?;
        Ok(DeviceLinear {
            weight: self.matrix(outputs, inputs, scale)?,
            bias,
            outputs,
            inputs,
        })
    }

    fn matrix<T: HalfPrecision>(
        &self,
        rows: usize,
        columns: usize,
        scale: f32,
    ) -> Result<Buffer<T>> {
        let mut buffer = self.device.poisoned(rows * columns).at(STEP)?;
        let piece: Vec<T> = self.piece.iter().map(|&x| T::from_f32(x * scale)).collect();
        for start in (0..buffer.len()).step_by(piece.len()) {
            let count = piece.len().min(buffer.len() - start);
            buffer.write_at(start, &piece[..count]).at(STEP)?;
        }
        Ok(buffer)
    }

    fn ones<T: HalfPrecision>(&self, len: usize) -> Result<Buffer<T>> {
        self.device.upload(&vec![T::from_f32(1.0); len]).at(STEP)
    }
}
