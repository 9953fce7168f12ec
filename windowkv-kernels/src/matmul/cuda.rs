//! Products on a GPU, through cuBLASLt: half precision in, sums in float32.
//!
//! cuBLASLt's matrices are column by column, so `y [rows, out]` is its `[out, rows]`, a product of the transposed
//! weight and of x as they lie. A bias along its rows is part of the same kernel.

use std::collections::HashMap;
use std::ffi::c_void;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::{CudaSlice, DevicePtr};

use super::MatmulParams;
use crate::cuda::driver_error;
use crate::device::Device;
use crate::element::{Float, HalfPrecision};
use crate::error::Error;
use crate::ffi;

/// Bytes of workspace: what NVIDIA recommends for Hopper.
pub(super) const WORKSPACE_BYTES: usize = 32 << 20;

/// What makes one product another than the next, for the choice of its kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    sizes: [usize; 6],
    dtype: u32,
    output: u32,
    bias: bool,
    accumulate: bool,
}

/// cuBLASLt on one stream, with the kernels that it chose.
pub(crate) struct Products {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    workspace_start: u64,
    algorithms: HashMap<Key, sys::cublasLtMatmulAlgo_t>,
}

// SAFETY: a handle may be used by one thread after the other; the device's mutex sees to it.
unsafe impl Send for Products {}

impl Drop for Products {
    fn drop(&mut self) {
        // SAFETY: the handle was created by `new` and is destroyed once. A failure leaves nothing to do.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Products {
    fn new(device: &Device) -> Result<Self, Error> {
        // SAFETY: the function loads cuBLASLt, whose initialisers are NVIDIA's.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::Unsupported(
                "there is no cuBLASLt (libcublasLt) on this machine: install the CUDA toolkit's libraries and add \
                 their folder to LD_LIBRARY_PATH"
                    .into(),
            ));
        }
        let stream = device.cudarc_stream()?;
        // SAFETY: kernels write the workspace before they read it.
        let workspace = unsafe { stream.alloc::<u8>(WORKSPACE_BYTES) }.map_err(driver_error)?;
        // The address stays; asked for once, so that no event is recorded while a graph is captured.
        let workspace_start = workspace.device_ptr(stream).0;
        Ok(Self {
            handle: result::create_handle().map_err(cublas_error)?,
            workspace,
            workspace_start,
            algorithms: HashMap::new(),
        })
    }
}

/// Shapes and devices were checked.
pub(super) fn matmul<T: HalfPrecision, O: Float>(
    device: &Device,
    mut params: MatmulParams<'_, T, O>,
) -> Result<(), Error> {
    if params.x.rows() == 0 || params.weight.rows() == 0 {
        return Ok(());
    }
    // cuBLASLt works in the thread's current context.
    let stream = device.cudarc_stream()?;
    stream.context().bind_to_thread().map_err(driver_error)?;
    let mut guard = device
        .products
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if guard.is_none() {
        *guard = Some(Products::new(device)?);
    }
    let Some(products) = guard.as_mut() else {
        return Ok(());
    };
    let (rows, inner, outputs) = (params.x.rows(), params.x.columns(), params.weight.rows());
    let key = Key {
        sizes: [
            rows,
            inner,
            outputs,
            params.x.stride(),
            params.weight.stride(),
            params.y.stride(),
        ],
        dtype: T::DTYPE,
        output: O::DTYPE,
        bias: params.bias.is_some(),
        accumulate: params.accumulate,
    };
    let (half, output) = (data_type(T::DTYPE), data_type(O::DTYPE));
    let weight = MatrixLayout::new(half, inner, outputs, params.weight.stride())?;
    let x = MatrixLayout::new(half, inner, rows, params.x.stride())?;
    let y = MatrixLayout::new(output, outputs, rows, params.y.stride())?;
    let description = Description::new()?;
    description.set(
        sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
        &1_i32,
    )?;
    if let Some(bias) = &params.bias {
        let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
        description.set(
            sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE,
            &epilogue,
        )?;
        let start = bias.as_ptr().addr() as u64;
        description.set(
            sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
            &start,
        )?;
    }
    let algorithm = match products.algorithms.get(&key) {
        Some(algorithm) => *algorithm,
        None => {
            let algorithm = choose(products.handle, &description, &weight, &x, &y)?;
            products.algorithms.insert(key, algorithm);
            algorithm
        }
    };
    let alpha = 1.0_f32;
    let beta = if params.accumulate { 1.0_f32 } else { 0.0 };
    let y_start: *mut O = params.y.as_mut_ptr();
    // SAFETY: the layouts describe the views, which were checked against their memory; it lies on the stream's GPU, and
    // the stream orders the product before every later use. The workspace belongs to this stream alone. alpha and beta
    // are read during the call.
    unsafe {
        result::matmul(
            products.handle,
            description.0,
            (&raw const alpha).cast(),
            (&raw const beta).cast(),
            params.weight.as_ptr().cast(),
            weight.0,
            params.x.as_ptr().cast(),
            x.0,
            y_start.cast_const().cast(),
            y.0,
            y_start.cast(),
            y.0,
            &algorithm,
            std::ptr::without_provenance_mut(products.workspace_start as usize),
            products.workspace.len(),
            stream.cu_stream().cast(),
        )
    }
    .map_err(cublas_error)
}

/// The kernel that cuBLASLt takes for the fastest.
fn choose(
    handle: sys::cublasLtHandle_t,
    description: &Description,
    weight: &MatrixLayout,
    x: &MatrixLayout,
    y: &MatrixLayout,
) -> Result<sys::cublasLtMatmulAlgo_t, Error> {
    let preference = Preference(result::create_matmul_pref().map_err(cublas_error)?);
    let bytes = WORKSPACE_BYTES;
    let attribute =
        sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
    // SAFETY: all handles are alive, and the attribute is a usize.
    let found = unsafe {
        let value: *const c_void = (&raw const bytes).cast();
        result::set_matmul_pref_attribute(preference.0, attribute, value, size_of::<usize>())
            .map_err(cublas_error)?;
        result::get_matmul_algo_heuristic(
            handle,
            description.0,
            weight.0,
            x.0,
            y.0,
            y.0,
            preference.0,
        )
    };
    Ok(found.map_err(cublas_error)?.algo)
}

fn data_type(dtype: ffi::wkv_dtype) -> sys::cudaDataType {
    match dtype {
        ffi::wkv_dtype_WKV_F16 => sys::cudaDataType::CUDA_R_16F,
        ffi::wkv_dtype_WKV_BF16 => sys::cudaDataType::CUDA_R_16BF,
        _ => sys::cudaDataType::CUDA_R_32F,
    }
}

fn cublas_error(error: CublasError) -> Error {
    let message = format!("cuBLASLt: {error}");
    match error.0 {
        sys::cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => Error::OutOfMemory(message),
        sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED
        | sys::cublasStatus_t::CUBLAS_STATUS_ARCH_MISMATCH => Error::Unsupported(message),
        _ => Error::Device(message),
    }
}

/// One column-major matrix.
struct MatrixLayout(sys::cublasLtMatrixLayout_t);

impl MatrixLayout {
    fn new(
        dtype: sys::cudaDataType,
        rows: usize,
        columns: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        // The stride of a single column means nothing, but has to reach over it.
        let stride = if columns > 1 {
            stride
        } else {
            stride.max(rows)
        };
        result::create_matrix_layout(dtype, rows as u64, columns as u64, stride as i64)
            .map(Self)
            .map_err(cublas_error)
    }
}

impl Drop for MatrixLayout {
    fn drop(&mut self) {
        // SAFETY: it was created by `new` and is destroyed once.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// What is computed.
struct Description(sys::cublasLtMatmulDesc_t);

impl Description {
    fn new() -> Result<Self, Error> {
        let sums = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        result::create_matmul_desc(sums, sys::cudaDataType::CUDA_R_32F)
            .map(Self)
            .map_err(cublas_error)
    }

    fn set<V>(
        &self,
        attribute: sys::cublasLtMatmulDescAttributes_t,
        value: &V,
    ) -> Result<(), Error> {
        let value: *const V = value;
        // SAFETY: the callers give the attribute's own type, which is copied during the call.
        unsafe {
            result::set_matmul_desc_attribute(self.0, attribute, value.cast(), size_of::<V>())
        }
        .map_err(cublas_error)
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: it was created by `new` and is destroyed once.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// What the choice of a kernel is bound to.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: it was created by `choose` and is destroyed once.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
