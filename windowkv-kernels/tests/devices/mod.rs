//! The devices that a test program runs on.

use windowkv_kernels::{Device, Error};

/// The variable that names the only device to run on: `emulated` or `cuda`.
const VARIABLE: &str = "WINDOWKV_DEVICE";

/// All devices at hand, or the one that `WINDOWKV_DEVICE` names.
///
/// # Panics
/// When the named one is not there: a run that was asked for a GPU must not pass without one.
pub(crate) fn devices() -> Vec<Device> {
    let Some(name) = only() else {
        return Device::all();
    };
    let device = match name.as_str() {
        "emulated" => Ok(Device::emulated()),
        "cuda" => cuda(),
        _ => Err(Error::InvalidArgument(
            "it is neither emulated nor cuda".into(),
        )),
    };
    vec![device.unwrap_or_else(|error| panic!("{VARIABLE} is {name}: {error}"))]
}

/// The device that is named, where one is.
pub(crate) fn only() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, Error> {
    Device::cuda(0)
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, Error> {
    Err(Error::Unsupported(
        "this program was built without the feature cuda".into(),
    ))
}
