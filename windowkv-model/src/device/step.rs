//! Naming the step at which a device failed.

use crate::{Error, Result};

/// What a call of the device gives, before it is known in which step.
pub(super) type DeviceResult<T> = std::result::Result<T, windowkv_kernels::Error>;

/// Says what was being done when a device failed.
pub(super) trait Step<T> {
    /// During `step`.
    fn at(self, step: &str) -> Result<T>;

    /// During `step` of a layer.
    fn in_layer(self, step: &str, layer: usize) -> Result<T>;
}

impl<T> Step<T> for DeviceResult<T> {
    fn at(self, step: &str) -> Result<T> {
        self.map_err(|source| Error::Device {
            step: step.to_owned(),
            source,
        })
    }

    fn in_layer(self, step: &str, layer: usize) -> Result<T> {
        self.map_err(|source| Error::Device {
            step: format!("{step} of layer {layer}"),
            source,
        })
    }
}
