//! The driver's errors as cudarc reports them, in this crate's terms.

use cudarc::driver::{DriverError, sys::CUresult};

use crate::error::Error;

pub(crate) fn driver_error(error: DriverError) -> Error {
    classify(error.0, format!("CUDA driver: {error}"))
}

/// The kinds and the ways out are those of the C ABI (`cuda/common/cuda_status.h`).
fn classify(result: CUresult, message: String) -> Error {
    match result {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory(message),
        CUresult::CUDA_ERROR_NO_DEVICE | CUresult::CUDA_ERROR_INVALID_DEVICE => {
            Error::Unsupported(format!(
                "{message}. Is there such an NVIDIA GPU, and is it visible (CUDA_VISIBLE_DEVICES)?"
            ))
        }
        CUresult::CUDA_ERROR_STUB_LIBRARY
        | CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
        | CUresult::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            Error::Unsupported(format!("{message}. Install or update the NVIDIA driver"))
        }
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            Error::Unsupported(format!(
                "{message}. Build with WINDOWKV_CUDA_ARCHS set to this GPU's architecture, or update the driver"
            ))
        }
        _ => Error::Device(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_unsupported_and_says_what_to_do() {
        let told = |result| classify(result, "CUDA driver: x".into());
        for (result, advice) in [
            (CUresult::CUDA_ERROR_NO_DEVICE, "CUDA_VISIBLE_DEVICES"),
            (CUresult::CUDA_ERROR_INVALID_DEVICE, "CUDA_VISIBLE_DEVICES"),
            (CUresult::CUDA_ERROR_STUB_LIBRARY, "driver"),
            (CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "update"),
            (
                CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU,
                "WINDOWKV_CUDA_ARCHS",
            ),
        ] {
            let Error::Unsupported(text) = told(result) else {
                panic!("{result:?} is {:?}", told(result));
            };
            assert!(text.starts_with("CUDA driver: x. "), "{text}");
            assert!(text.contains(advice), "{text}");
        }
        let out_of_memory = told(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        assert!(matches!(out_of_memory, Error::OutOfMemory(_)));
        let sticky = told(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        assert!(matches!(sticky, Error::Device(_)));
    }
}
