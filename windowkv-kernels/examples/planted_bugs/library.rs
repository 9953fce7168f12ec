//! A device from a library of the emulated GPU that `planted_bugs` built.

use std::ffi::{CStr, CString};

use windowkv_kernels::{Device, ffi};

/// Opens it. It is never closed.
pub(crate) fn open(path: &str) -> Result<Device, String> {
    let file = CString::new(path).map_err(|error| format!("{path}: {error}"))?;
    // SAFETY: the library was built from this source tree and is never closed, so its tables are static;
    // the symbols have the types of ffi.rs.
    unsafe {
        let library = libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if library.is_null() {
            return Err(CStr::from_ptr(libc::dlerror())
                .to_string_lossy()
                .into_owned());
        }
        let kernels = libc::dlsym(library, c"wkv_emulated_kernels".as_ptr());
        let testing = libc::dlsym(library, c"wkv_emulated_testing".as_ptr());
        if kernels.is_null() || testing.is_null() {
            return Err(format!("{path} is no library of the emulated GPU"));
        }
        let kernels: extern "C" fn() -> &'static ffi::wkv_kernels = std::mem::transmute(kernels);
        let testing: extern "C" fn() -> &'static ffi::wkv_testing = std::mem::transmute(testing);
        Device::from_library("library", kernels(), testing()).map_err(|error| error.to_string())
    }
}
