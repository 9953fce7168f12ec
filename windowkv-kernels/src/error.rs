//! What can go wrong.

use std::ffi::c_int;

use crate::device::Place;
use crate::ffi;
use crate::view::Shape;

/// Why a kernel did not run, or did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor's shape, stride or length does not fit its memory or what the kernel computes.
    #[error("{0}")]
    Shape(String),
    /// A view lies on another device, or belongs to another stream, than the call.
    #[error(
        "{name} lies on {found}, the call runs on {expected}: upload it there, or call on its device"
    )]
    WrongDevice {
        /// The parameter.
        name: &'static str,
        /// Where its memory is.
        found: Place,
        /// Where the kernel was to run.
        expected: Place,
    },
    /// A parameter that no device could serve.
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

    /// [`Error::Shape`] unless `found` is `expected`.
    pub(crate) fn same(name: &str, found: usize, expected: usize) -> Result<(), Error> {
        if found == expected {
            Ok(())
        } else {
            Err(Error::Shape(format!(
                "{name} is {found}, expected {expected}"
            )))
        }
    }

    /// The same of shapes.
    pub(crate) fn same_shape(name: &str, found: Shape, expected: Shape) -> Result<(), Error> {
        if found == expected {
            Ok(())
        } else {
            Err(Error::Shape(format!(
                "{name} is {found}, expected {expected}"
            )))
        }
    }

    /// The number as the C ABI holds it, or [`Error::Shape`] with the limit.
    pub(crate) fn int32(name: &str, value: usize) -> Result<i32, Error> {
        i32::try_from(value)
            .map_err(|_| Error::Shape(format!("{name} is {value}, the limit is {}", i32::MAX)))
    }
}
