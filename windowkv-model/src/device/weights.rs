//! A model's weights in device memory, in one half-precision type.

use windowkv_kernels::{Buffer, Device, HalfPrecision, Matrix};

use super::sizes::Sizes;
use super::step::{DeviceResult, Step};
use crate::Result;
use crate::config::ModelConfig;
use crate::weights::{LayerWeights, Linear, Tensor, Weights};

/// Elements that are converted on the host at a time: no more of the model is ever in host memory.
const PIECE: usize = 1 << 22;

/// A matrix `[out, in]` and what is added to its product.
#[derive(Debug)]
pub(super) struct DeviceLinear<T: HalfPrecision> {
    pub(super) weight: Buffer<T>,
    pub(super) bias: Option<Buffer<T>>,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
}

impl<T: HalfPrecision> DeviceLinear<T> {
    /// Rows `first ..` of the matrix.
    pub(super) fn rows(&self, rows: std::ops::Range<usize>) -> DeviceResult<Matrix<'_, T>> {
        let (first, count) = (rows.start * self.inputs, rows.len());
        Matrix::strided(self.weight.view(), count, self.inputs, self.inputs, first)
    }
}

/// The weights of one decoder layer.
#[derive(Debug)]
pub(super) struct DeviceLayer<T: HalfPrecision> {
    pub(super) input_norm: Buffer<T>,
    /// Queries, keys and values of a token side by side.
    pub(super) qkv: DeviceLinear<T>,
    pub(super) o: DeviceLinear<T>,
    pub(super) post_norm: Buffer<T>,
    /// Gate and up side by side.
    pub(super) gate_up: DeviceLinear<T>,
    pub(super) down: DeviceLinear<T>,
}

/// All weights.
#[derive(Debug)]
pub(super) struct DeviceWeights<T: HalfPrecision> {
    pub(super) embed: Buffer<T>,
    pub(super) lm_head: Option<Buffer<T>>,
    pub(super) layers: Vec<DeviceLayer<T>>,
    pub(super) norm: Buffer<T>,
    pub(super) sizes: Sizes,
}

impl<T: HalfPrecision> DeviceWeights<T> {
    /// Copies them piece by piece out of the mapped files. `progress` is told the share that is done.
    pub(super) fn upload(
        device: &Device,
        config: &ModelConfig,
        weights: &Weights,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Self> {
        let sizes = Sizes::new(config)?;
        let total = sizes.weight_elements(config.tie_word_embeddings) as f64;
        let mut done = 0_u64;
        let mut upload = Upload {
            device,
            sizes: &sizes,
            told: &mut |elements| {
                done += elements as u64;
                progress((done as f64 / total).min(1.0));
            },
        };
        let embed = upload.matrix(&[&weights.embed], Fill::None)?;
        let mut layers = Vec::with_capacity(sizes.num_layers);
        for layer in &weights.layers {
            layers.push(upload.layer(layer)?);
            weights.check()?;
        }
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(upload.matrix(&[weights.lm_head()], Fill::None)?),
        };
        let norm = upload.vector(&weights.norm)?;
        weights.check()?;
        Ok(Self {
            embed,
            lm_head,
            layers,
            norm,
            sizes,
        })
    }

    /// `[vocab, hidden]`
    pub(super) fn embed(&self) -> DeviceResult<Matrix<'_, T>> {
        self.table(&self.embed)
    }

    /// `[vocab, hidden]`: the embedding where they are tied.
    pub(super) fn lm_head(&self) -> DeviceResult<Matrix<'_, T>> {
        self.table(self.lm_head.as_ref().unwrap_or(&self.embed))
    }

    fn table<'a>(&self, table: &'a Buffer<T>) -> DeviceResult<Matrix<'a, T>> {
        Matrix::new(table.view(), self.sizes.vocab, self.sizes.hidden)
    }
}

/// Bytes that [`DeviceWeights`] takes in a type of two bytes.
pub(super) fn weight_bytes(config: &ModelConfig, sizes: &Sizes) -> u64 {
    let bias = |there: bool, len: usize| if there { len } else { 0 };
    let biases = bias(config.qkv_bias, sizes.qkv())
        + bias(config.o_bias, sizes.hidden)
        + bias(config.mlp_bias, 2 * sizes.inner + sizes.hidden);
    2 * (sizes.weight_elements(config.tie_word_embeddings) + (sizes.num_layers * biases) as u64)
}

/// Which axis runs over heads that may have to be filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fill {
    None,
    Rows,
    Columns,
}

struct Upload<'a> {
    device: &'a Device,
    sizes: &'a Sizes,
    told: &'a mut dyn FnMut(usize),
}

impl Upload<'_> {
    fn layer<T: HalfPrecision>(&mut self, layer: &LayerWeights) -> Result<DeviceLayer<T>> {
        Ok(DeviceLayer {
            input_norm: self.vector(&layer.input_norm)?,
            qkv: self.linear(&[&layer.q, &layer.k, &layer.v], Fill::Rows)?,
            o: self.linear(&[&layer.o], Fill::Columns)?,
            post_norm: self.vector(&layer.post_norm)?,
            gate_up: self.linear(&[&layer.gate, &layer.up], Fill::None)?,
            down: self.linear(&[&layer.down], Fill::None)?,
        })
    }

    /// Linear layers whose outputs lie side by side.
    fn linear<T: HalfPrecision>(
        &mut self,
        parts: &[&Linear],
        fill: Fill,
    ) -> Result<DeviceLinear<T>> {
        let weights: Vec<_> = parts.iter().map(|part| &part.weight).collect();
        let [outputs, inputs] = self.shape(&weights, fill);
        let weight = self.matrix(&weights, fill)?;
        let mut bias = Vec::new();
        for part in parts {
            let Some(values) = &part.bias else { continue };
            let rows = self.filled(values.len(), fill == Fill::Rows);
            let source = (0..rows).map(|row| self.source(row, fill == Fill::Rows));
            bias.extend(source.map(|index| index.map_or(0.0, |index| values[index])));
        }
        Ok(DeviceLinear {
            weight,
            bias: match bias.len() == outputs {
                true => Some(self.vector(&bias)?),
                false => None,
            },
            outputs,
            inputs,
        })
    }

    fn vector<T: HalfPrecision>(&mut self, values: &[f32]) -> Result<Buffer<T>> {
        let values: Vec<T> = values.iter().map(|&value| T::from_f32(value)).collect();
        (self.told)(values.len());
        self.device
            .upload(&values)
            .at("copying weights to the device")
    }

    /// Matrices one below the other.
    fn matrix<T: HalfPrecision>(&mut self, parts: &[&Tensor], fill: Fill) -> Result<Buffer<T>> {
        let [outputs, inputs] = self.shape(parts, fill);
        let mut buffer = self
            .device
            .poisoned::<T>(outputs * inputs)
            .at("making room for weights on the device")?;
        let piece_rows = (PIECE / inputs).max(1);
        let mut first_row = 0;
        for part in parts {
            let [model_rows, model_columns] = [part.shape()[0], part.shape()[1]];
            let rows = self.filled(model_rows, fill == Fill::Rows);
            let mut wide = vec![0.0; model_columns];
            for start in (0..rows).step_by(piece_rows) {
                let end = (start + piece_rows).min(rows);
                let mut piece = vec![T::default(); (end - start) * inputs];
                for (row, out) in (start..end).zip(piece.chunks_exact_mut(inputs)) {
                    let Some(row) = self.source(row, fill == Fill::Rows) else {
                        continue;
                    };
                    part.row_to_f32(row, &mut wide);
                    for (column, out) in out.iter_mut().enumerate() {
                        if let Some(column) = self.source(column, fill == Fill::Columns) {
                            *out = T::from_f32(wide[column]);
                        }
                    }
                }
                buffer
                    .write_at((first_row + start) * inputs, &piece)
                    .at("copying weights to the device")?;
                (self.told)(piece.len());
            }
            first_row += rows;
        }
        Ok(buffer)
    }

    fn shape(&self, parts: &[&Tensor], fill: Fill) -> [usize; 2] {
        let rows = |part: &&Tensor| self.filled(part.shape()[0], fill == Fill::Rows);
        let columns = self.filled(parts[0].shape()[1], fill == Fill::Columns);
        [parts.iter().map(rows).sum(), columns]
    }

    fn filled(&self, len: usize, heads: bool) -> usize {
        match heads {
            true => len / self.sizes.model_head_dim * self.sizes.head_dim,
            false => len,
        }
    }

    fn source(&self, index: usize, heads: bool) -> Option<usize> {
        match heads {
            true => self.sizes.model_index(index),
            false => Some(index),
        }
    }
}
