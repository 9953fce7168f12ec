//! Finding a GPU.

use windowkv_kernels::{Device, Error};

/// The first GPU, on a stream of its own.
///
/// # Errors
/// [`Error::Unsupported`] without a driver or a GPU, with too old a driver, when this build has no code for the GPU or
/// for any; [`Error::Device`] when CUDA fails. Each says what to do.
#[cfg(feature = "cuda")]
pub fn open_gpu() -> Result<Device, Error> {
    Device::from_cudarc(&windowkv_kernels::cuda::stream(0)?)
}

/// The first GPU, on a stream of its own.
///
/// # Errors
/// [`Error::Unsupported`]: this program was built without the feature `cuda`. It says how to build it with it.
#[cfg(not(feature = "cuda"))]
pub fn open_gpu() -> Result<Device, Error> {
    let gpu = if gpu_is_there() {
        "this machine has an NVIDIA GPU, but this program"
    } else {
        "this program"
    };
    Err(Error::Unsupported(format!(
        "{gpu} was built without GPU code: build it with `cargo install --path windowkv-model --features cuda` \
         (needs nvcc 12.4 or later), or use --device cpu or --device emulated"
    )))
}

/// Whether NVIDIA's driver runs a GPU here.
pub fn gpu_is_there() -> bool {
    ["/dev/nvidia0", "/dev/dxg"]
        .iter()
        .any(|path| std::path::Path::new(path).exists())
}
