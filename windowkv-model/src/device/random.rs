//! Weights of no model: for measurements without a checkpoint.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use windowkv_kernels::{Buffer, Device, HalfPrecision, Matrix, MatrixMut, ops};

use super::sizes::Sizes;
use super::step::{DeviceResult, Step};
use super::weights::{DeviceLayer, DeviceLinear, DeviceWeights};
use crate::Result;
use crate::config::ModelConfig;

/// Different rows of a matrix.
const ROWS: usize = 1024;

impl<T: HalfPrecision> DeviceWeights<T> {
    /// Random numbers in the shapes of `config`, made on the device: it draws the rows of each matrix from a table of
    /// random rows, of which there is one for each width. Numbers are scaled to stay near 1 through the layers. Norms
    /// are 1, biases 0.
    pub(super) fn random(
        device: &Device,
        config: &ModelConfig,
        seed: u64,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Self> {
        const STEP: &str = "making random weights on the device";
        let sizes = Sizes::new(config)?;
        let mut make = Make {
            device,
            random: ChaCha8Rng::seed_from_u64(seed),
            tables: HashMap::new(),
        };
        let hidden = sizes.hidden;
        let embed = make.matrix(sizes.vocab, hidden).at(STEP)?;
        let lm_head = (!config.tie_word_embeddings).then(|| make.matrix(sizes.vocab, hidden));
        let lm_head = lm_head.transpose().at(STEP)?;
        let mut layers = Vec::with_capacity(sizes.num_layers);
        for layer in 0..sizes.num_layers {
            layers.push(make.layer(config, &sizes).in_layer(STEP, layer)?);
            progress((layer + 1) as f64 / sizes.num_layers as f64);
        }
        let norm = make.ones(hidden).at(STEP)?;
        Ok(Self {
            embed,
            lm_head,
            layers,
            norm,
            sizes,
        })
    }
}

struct Make<'a, T: HalfPrecision> {
    device: &'a Device,
    random: ChaCha8Rng,
    /// `[ROWS, width]` by width.
    tables: HashMap<usize, Buffer<T>>,
}

impl<T: HalfPrecision> Make<'_, T> {
    fn layer(&mut self, config: &ModelConfig, sizes: &Sizes) -> DeviceResult<DeviceLayer<T>> {
        let (hidden, inner) = (sizes.hidden, sizes.inner);
        Ok(DeviceLayer {
            input_norm: self.ones(hidden)?,
            qkv: self.linear(sizes.qkv(), hidden, config.qkv_bias)?,
            o: self.linear(hidden, sizes.q(), config.o_bias)?,
            post_norm: self.ones(hidden)?,
            gate_up: self.linear(2 * inner, hidden, config.mlp_bias)?,
            down: self.linear(hidden, inner, config.mlp_bias)?,
        })
    }

    fn linear(
        &mut self,
        outputs: usize,
        inputs: usize,
        bias: bool,
    ) -> DeviceResult<DeviceLinear<T>> {
        let bias = bias.then(|| self.device.zeroed(outputs)).transpose()?;
        Ok(DeviceLinear {
            weight: self.matrix(outputs, inputs)?,
            bias,
            outputs,
            inputs,
        })
    }

    /// Rows from the table, as `embedding` copies them.
    fn matrix(&mut self, rows: usize, columns: usize) -> DeviceResult<Buffer<T>> {
        let draw = |_| self.random.random_range(0..ROWS as i32);
        let ids = self
            .device
            .upload(&(0..rows).map(draw).collect::<Vec<_>>())?;
        let mut matrix = self.device.poisoned(rows * columns)?;
        let device = self.device;
        let params = ops::EmbeddingParams {
            table: Matrix::new(self.table(columns)?.view(), ROWS, columns)?,
            ids: ids.view(),
            out: MatrixMut::new(matrix.view_mut(), rows, columns)?,
            flags: None,
        };
        ops::embedding(device, params)?;
        Ok(matrix)
    }

    fn table(&mut self, columns: usize) -> DeviceResult<&Buffer<T>> {
        if !self.tables.contains_key(&columns) {
            // Uniform in (-1, 1) has a variance of 1/3.
            let scale = (3.0 / columns as f32).sqrt();
            let draw = |_| T::from_f32((self.random.random::<f32>() * 2.0 - 1.0) * scale);
            let numbers: Vec<T> = (0..ROWS * columns).map(draw).collect();
            self.tables.insert(columns, self.device.upload(&numbers)?);
        }
        Ok(&self.tables[&columns])
    }

    fn ones(&self, len: usize) -> DeviceResult<Buffer<T>> {
        self.device.upload(&vec![T::from_f32(1.0); len])
    }
}
