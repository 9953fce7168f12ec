//! What stands behind attention in a layer, for the rows of a chunk or of a step.

use std::ops::Range;

use windowkv_kernels::{Buffer, HalfPrecision, InOut, Matrix, MatrixMut, ops};

use super::model::DeviceModel;
use super::step::DeviceResult;
use super::weights::DeviceLayer;

/// Working memory of the dense layers for up to some number of rows.
#[derive(Debug)]
pub(super) struct Activations<T: HalfPrecision> {
    /// `[rows, hidden]`
    pub(super) normed: Buffer<T>,
    /// `[rows, q]`: attention's output.
    pub(super) attended: Buffer<T>,
    /// `[rows, 2 * inner]`
    gate_up: Buffer<T>,
    /// `[rows, inner]`
    gated: Buffer<T>,
}

impl<T: HalfPrecision> Activations<T> {
    pub(super) fn new(model: &DeviceModel<T>, rows: usize) -> DeviceResult<Self> {
        let (device, sizes) = (&model.device, &model.sizes);
        Ok(Self {
            normed: device.poisoned(rows * sizes.hidden)?,
            attended: device.poisoned(rows * sizes.q())?,
            gate_up: device.poisoned(rows * 2 * sizes.inner)?,
            gated: device.poisoned(rows * sizes.inner)?,
        })
    }
}

/// Rows of a matrix without gaps.
pub(super) fn rows_of<T: HalfPrecision>(
    buffer: &Buffer<T>,
    rows: Range<usize>,
    columns: usize,
) -> DeviceResult<Matrix<'_, T>> {
    Matrix::strided(
        buffer.view(),
        rows.len(),
        columns,
        columns,
        rows.start * columns,
    )
}

/// The same, to be written.
pub(super) fn rows_of_mut<T: HalfPrecision>(
    buffer: &mut Buffer<T>,
    rows: Range<usize>,
    columns: usize,
) -> DeviceResult<MatrixMut<'_, T>> {
    MatrixMut::strided(
        buffer.view_mut(),
        rows.len(),
        columns,
        columns,
        rows.start * columns,
    )
}

impl<T: HalfPrecision> DeviceModel<T> {
    /// `x += o(attended)`, then `x += mlp(norm(x))`, for rows `target` of the residual stream `x [.., hidden]` and as
    /// many rows of `attended` from `first` on. Six launches.
    pub(super) fn output_and_mlp(
        &self,
        layer: &DeviceLayer<T>,
        x: &mut Buffer<T>,
        target: Range<usize>,
        first: usize,
        activations: &mut Activations<T>,
    ) -> DeviceResult<()> {
        let Activations {
            normed,
            attended,
            gate_up,
            gated,
        } = activations;
        let (rows, sizes) = (target.len(), &self.sizes);
        let (hidden, inner) = (sizes.hidden, sizes.inner);
        let attended = rows_of(attended, first..first + rows, sizes.q())?;
        let stream = rows_of_mut(x, target.clone(), hidden)?;
        self.linear(attended, &layer.o, stream, true)?;

        let stream = rows_of(x, target.clone(), hidden)?;
        let out = rows_of_mut(normed, 0..rows, hidden)?;
        self.norm(stream, &layer.post_norm, out)?;
        let normed = rows_of(normed, 0..rows, hidden)?;
        let both = rows_of_mut(gate_up, 0..rows, 2 * inner)?;
        self.linear(normed, &layer.gate_up, both, false)?;
        let part = |first| Matrix::strided(gate_up.view(), rows, inner, 2 * inner, first);
        let out = rows_of_mut(gated, 0..rows, inner)?;
        let params = ops::SiluMulParams {
            gate: InOut::Apart(part(0)?, out),
            up: part(inner)?,
        };
        ops::silu_mul(&self.device, params)?;
        let gated = rows_of(gated, 0..rows, inner)?;
        self.linear(gated, &layer.down, rows_of_mut(x, target, hidden)?, true)
    }
}
