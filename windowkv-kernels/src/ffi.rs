//! The C ABI as bindgen 0.73 sees `cuda/include`; `.ci/bindings.sh` writes this file.

#![allow(
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub
)]

pub const WKV_ABI_VERSION: u32 = 1;
pub const wkv_status_WKV_OK: wkv_status = 0;
pub const wkv_status_WKV_INVALID_ARGUMENT: wkv_status = 1;
pub const wkv_status_WKV_UNSUPPORTED: wkv_status = 2;
pub const wkv_status_WKV_DEVICE_ERROR: wkv_status = 3;
pub const wkv_status_WKV_EMULATOR_REPORT: wkv_status = 4;
pub const wkv_status_WKV_OUT_OF_MEMORY: wkv_status = 5;
pub type wkv_status = ::std::os::raw::c_uint;
pub const wkv_dtype_WKV_F16: wkv_dtype = 0;
pub const wkv_dtype_WKV_BF16: wkv_dtype = 1;
pub const wkv_dtype_WKV_F32: wkv_dtype = 2;
pub type wkv_dtype = ::std::os::raw::c_uint;
unsafe extern "C" {
    pub fn wkv_abi_version() -> ::std::os::raw::c_int;
}
unsafe extern "C" {
    pub fn wkv_last_error() -> *const ::std::os::raw::c_char;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_row_sum_params {
    pub struct_size: usize,
    pub input: *const f32,
    pub output: *mut f32,
    pub rows: i64,
    pub columns: i64,
    pub input_stride: i64,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_row_sum_params"][::std::mem::size_of::<wkv_row_sum_params>() - 56usize];
    ["Alignment of wkv_row_sum_params"][::std::mem::align_of::<wkv_row_sum_params>() - 8usize];
    ["Offset of field: wkv_row_sum_params::struct_size"]
        [::std::mem::offset_of!(wkv_row_sum_params, struct_size) - 0usize];
    ["Offset of field: wkv_row_sum_params::input"]
        [::std::mem::offset_of!(wkv_row_sum_params, input) - 8usize];
    ["Offset of field: wkv_row_sum_params::output"]
        [::std::mem::offset_of!(wkv_row_sum_params, output) - 16usize];
    ["Offset of field: wkv_row_sum_params::rows"]
        [::std::mem::offset_of!(wkv_row_sum_params, rows) - 24usize];
    ["Offset of field: wkv_row_sum_params::columns"]
        [::std::mem::offset_of!(wkv_row_sum_params, columns) - 32usize];
    ["Offset of field: wkv_row_sum_params::input_stride"]
        [::std::mem::offset_of!(wkv_row_sum_params, input_stride) - 40usize];
    ["Offset of field: wkv_row_sum_params::stream"]
        [::std::mem::offset_of!(wkv_row_sum_params, stream) - 48usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_product_params {
    pub struct_size: usize,
    pub a: *const ::std::os::raw::c_void,
    pub b: *const ::std::os::raw::c_void,
    pub c: *mut ::std::os::raw::c_void,
    pub m: i64,
    pub n: i64,
    pub k: i64,
    pub a_stride: i64,
    pub b_stride: i64,
    pub c_stride: i64,
    pub dtype: wkv_dtype,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_product_params"][::std::mem::size_of::<wkv_product_params>() - 96usize];
    ["Alignment of wkv_product_params"][::std::mem::align_of::<wkv_product_params>() - 8usize];
    ["Offset of field: wkv_product_params::struct_size"]
        [::std::mem::offset_of!(wkv_product_params, struct_size) - 0usize];
    ["Offset of field: wkv_product_params::a"]
        [::std::mem::offset_of!(wkv_product_params, a) - 8usize];
    ["Offset of field: wkv_product_params::b"]
        [::std::mem::offset_of!(wkv_product_params, b) - 16usize];
    ["Offset of field: wkv_product_params::c"]
        [::std::mem::offset_of!(wkv_product_params, c) - 24usize];
    ["Offset of field: wkv_product_params::m"]
        [::std::mem::offset_of!(wkv_product_params, m) - 32usize];
    ["Offset of field: wkv_product_params::n"]
        [::std::mem::offset_of!(wkv_product_params, n) - 40usize];
    ["Offset of field: wkv_product_params::k"]
        [::std::mem::offset_of!(wkv_product_params, k) - 48usize];
    ["Offset of field: wkv_product_params::a_stride"]
        [::std::mem::offset_of!(wkv_product_params, a_stride) - 56usize];
    ["Offset of field: wkv_product_params::b_stride"]
        [::std::mem::offset_of!(wkv_product_params, b_stride) - 64usize];
    ["Offset of field: wkv_product_params::c_stride"]
        [::std::mem::offset_of!(wkv_product_params, c_stride) - 72usize];
    ["Offset of field: wkv_product_params::dtype"]
        [::std::mem::offset_of!(wkv_product_params, dtype) - 80usize];
    ["Offset of field: wkv_product_params::stream"]
        [::std::mem::offset_of!(wkv_product_params, stream) - 88usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_kernels {
    pub struct_size: usize,
    pub row_sum: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_row_sum_params) -> ::std::os::raw::c_int,
    >,
    pub mma_product: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_product_params) -> ::std::os::raw::c_int,
    >,
    pub wgmma_product: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_product_params) -> ::std::os::raw::c_int,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_kernels"][::std::mem::size_of::<wkv_kernels>() - 32usize];
    ["Alignment of wkv_kernels"][::std::mem::align_of::<wkv_kernels>() - 8usize];
    ["Offset of field: wkv_kernels::struct_size"]
        [::std::mem::offset_of!(wkv_kernels, struct_size) - 0usize];
    ["Offset of field: wkv_kernels::row_sum"]
        [::std::mem::offset_of!(wkv_kernels, row_sum) - 8usize];
    ["Offset of field: wkv_kernels::mma_product"]
        [::std::mem::offset_of!(wkv_kernels, mma_product) - 16usize];
    ["Offset of field: wkv_kernels::wgmma_product"]
        [::std::mem::offset_of!(wkv_kernels, wgmma_product) - 24usize];
};
unsafe extern "C" {
    pub fn wkv_emulated_kernels() -> *const wkv_kernels;
}
unsafe extern "C" {
    pub fn wkv_cuda_kernels() -> *const wkv_kernels;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_tensor_spec {
    pub element: i32,
    pub rank: i32,
    pub swizzle: i32,
    pub fill: i32,
    pub of_output: i32,
    pub size: [u64; 4usize],
    pub stride_bytes: [u64; 4usize],
    pub box_: [u32; 4usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_tensor_spec"][::std::mem::size_of::<wkv_tensor_spec>() - 104usize];
    ["Alignment of wkv_tensor_spec"][::std::mem::align_of::<wkv_tensor_spec>() - 8usize];
    ["Offset of field: wkv_tensor_spec::element"]
        [::std::mem::offset_of!(wkv_tensor_spec, element) - 0usize];
    ["Offset of field: wkv_tensor_spec::rank"]
        [::std::mem::offset_of!(wkv_tensor_spec, rank) - 4usize];
    ["Offset of field: wkv_tensor_spec::swizzle"]
        [::std::mem::offset_of!(wkv_tensor_spec, swizzle) - 8usize];
    ["Offset of field: wkv_tensor_spec::fill"]
        [::std::mem::offset_of!(wkv_tensor_spec, fill) - 12usize];
    ["Offset of field: wkv_tensor_spec::of_output"]
        [::std::mem::offset_of!(wkv_tensor_spec, of_output) - 16usize];
    ["Offset of field: wkv_tensor_spec::size"]
        [::std::mem::offset_of!(wkv_tensor_spec, size) - 24usize];
    ["Offset of field: wkv_tensor_spec::stride_bytes"]
        [::std::mem::offset_of!(wkv_tensor_spec, stride_bytes) - 56usize];
    ["Offset of field: wkv_tensor_spec::box_"]
        [::std::mem::offset_of!(wkv_tensor_spec, box_) - 88usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_probe_params {
    pub struct_size: usize,
    pub name: *const ::std::os::raw::c_char,
    pub input: *const ::std::os::raw::c_void,
    pub output: *mut ::std::os::raw::c_void,
    pub blocks: i32,
    pub threads: i32,
    pub arguments: [i64; 8usize],
    pub tensor: wkv_tensor_spec,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_probe_params"][::std::mem::size_of::<wkv_probe_params>() - 208usize];
    ["Alignment of wkv_probe_params"][::std::mem::align_of::<wkv_probe_params>() - 8usize];
    ["Offset of field: wkv_probe_params::struct_size"]
        [::std::mem::offset_of!(wkv_probe_params, struct_size) - 0usize];
    ["Offset of field: wkv_probe_params::name"]
        [::std::mem::offset_of!(wkv_probe_params, name) - 8usize];
    ["Offset of field: wkv_probe_params::input"]
        [::std::mem::offset_of!(wkv_probe_params, input) - 16usize];
    ["Offset of field: wkv_probe_params::output"]
        [::std::mem::offset_of!(wkv_probe_params, output) - 24usize];
    ["Offset of field: wkv_probe_params::blocks"]
        [::std::mem::offset_of!(wkv_probe_params, blocks) - 32usize];
    ["Offset of field: wkv_probe_params::threads"]
        [::std::mem::offset_of!(wkv_probe_params, threads) - 36usize];
    ["Offset of field: wkv_probe_params::arguments"]
        [::std::mem::offset_of!(wkv_probe_params, arguments) - 40usize];
    ["Offset of field: wkv_probe_params::tensor"]
        [::std::mem::offset_of!(wkv_probe_params, tensor) - 104usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_testing {
    pub struct_size: usize,
    pub open: ::std::option::Option<
        unsafe extern "C" fn(capability: *mut ::std::os::raw::c_int) -> ::std::os::raw::c_int,
    >,
    pub allocate: ::std::option::Option<
        unsafe extern "C" fn(
            memory: *mut *mut ::std::os::raw::c_void,
            bytes: usize,
        ) -> ::std::os::raw::c_int,
    >,
    pub release: ::std::option::Option<
        unsafe extern "C" fn(memory: *mut ::std::os::raw::c_void) -> ::std::os::raw::c_int,
    >,
    pub upload: ::std::option::Option<
        unsafe extern "C" fn(
            memory: *mut ::std::os::raw::c_void,
            host: *const ::std::os::raw::c_void,
            bytes: usize,
        ) -> ::std::os::raw::c_int,
    >,
    pub download: ::std::option::Option<
        unsafe extern "C" fn(
            host: *mut ::std::os::raw::c_void,
            memory: *const ::std::os::raw::c_void,
            bytes: usize,
        ) -> ::std::os::raw::c_int,
    >,
    pub probe: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_probe_params) -> ::std::os::raw::c_int,
    >,
    pub configure:
        ::std::option::Option<unsafe extern "C" fn(seed: u64, workers: ::std::os::raw::c_uint)>,
    pub switches: ::std::option::Option<unsafe extern "C" fn() -> u64>,
    pub last_error: ::std::option::Option<unsafe extern "C" fn() -> *const ::std::os::raw::c_char>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_testing"][::std::mem::size_of::<wkv_testing>() - 80usize];
    ["Alignment of wkv_testing"][::std::mem::align_of::<wkv_testing>() - 8usize];
    ["Offset of field: wkv_testing::struct_size"]
        [::std::mem::offset_of!(wkv_testing, struct_size) - 0usize];
    ["Offset of field: wkv_testing::open"][::std::mem::offset_of!(wkv_testing, open) - 8usize];
    ["Offset of field: wkv_testing::allocate"]
        [::std::mem::offset_of!(wkv_testing, allocate) - 16usize];
    ["Offset of field: wkv_testing::release"]
        [::std::mem::offset_of!(wkv_testing, release) - 24usize];
    ["Offset of field: wkv_testing::upload"][::std::mem::offset_of!(wkv_testing, upload) - 32usize];
    ["Offset of field: wkv_testing::download"]
        [::std::mem::offset_of!(wkv_testing, download) - 40usize];
    ["Offset of field: wkv_testing::probe"][::std::mem::offset_of!(wkv_testing, probe) - 48usize];
    ["Offset of field: wkv_testing::configure"]
        [::std::mem::offset_of!(wkv_testing, configure) - 56usize];
    ["Offset of field: wkv_testing::switches"]
        [::std::mem::offset_of!(wkv_testing, switches) - 64usize];
    ["Offset of field: wkv_testing::last_error"]
        [::std::mem::offset_of!(wkv_testing, last_error) - 72usize];
};
unsafe extern "C" {
    pub fn wkv_emulated_testing() -> *const wkv_testing;
}
unsafe extern "C" {
    pub fn wkv_cuda_testing() -> *const wkv_testing;
}
