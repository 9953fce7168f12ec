//! What can go wrong.

use std::ffi::c_int;

use crate::ffi;

/// Why a kernel did not run, or did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A tensor's shape, stride or length does not fit what the kernel computes.
    #[error("{0}")]
    Shape(String),
    /// The launcher refused a parameter.
    #[error("{0}")]
    InvalidArgument(String),
    /// This device, driver or build cannot do it.
    #[error("{0}")]
    Unsupported(String),
    /// CUDA reported an error.
    #[error("{0}")]
    Device(String),
    /// The emulated GPU found a fault in the kernel: a race, a deadlock, a read of bytes that have not
    /// landed. The message starts with file and line.
    #[error("{0}")]
    Emulator(String),
    /// No memory for a buffer, or for the stacks of a block.
    #[error("{0}")]
    OutOfMemory(String),
    /// The library answered with a status that this crate does not know.
    #[error("unknown status {status}: {message}")]
    Unknown {
        /// The status.
        status: i32,
        /// The library's message.
        message: String,
    },
}

impl Error {
    /// The error of a status, with the message that `last_error` gives.
    pub(crate) fn check(status: c_int, last_error: impl FnOnce() -> String) -> Result<(), Error> {
        let status = status as ffi::wkv_status;
        if status == ffi::wkv_status_WKV_OK {
            return Ok(());
        }
        let message = last_error();
        Err(match status {
            ffi::wkv_status_WKV_INVALID_ARGUMENT => Error::InvalidArgument(message),
            ffi::wkv_status_WKV_UNSUPPORTED => Error::Unsupported(message),
            ffi::wkv_status_WKV_DEVICE_ERROR => Error::Device(message),
            ffi::wkv_status_WKV_EMULATOR_REPORT => Error::Emulator(message),
            ffi::wkv_status_WKV_OUT_OF_MEMORY => Error::OutOfMemory(message),
            _ => Error::Unknown {
                status: status as i32,
                message,
            },
        })
    }
}
