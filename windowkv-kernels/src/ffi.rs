//! The C ABI as bindgen 0.73 sees `cuda/include`; `.ci/bindings.sh` writes this file.

#![allow(
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub
)]

pub const WKV_ABI_VERSION: u32 = 3;
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
pub const wkv_flag_WKV_FLAG_NAN: wkv_flag = 1;
pub const wkv_flag_WKV_FLAG_CAPACITY: wkv_flag = 2;
pub const wkv_flag_WKV_FLAG_RANGE: wkv_flag = 4;
pub type wkv_flag = ::std::os::raw::c_uint;
unsafe extern "C" {
    pub fn wkv_abi_version() -> ::std::os::raw::c_int;
}
unsafe extern "C" {
    pub fn wkv_last_error() -> *const ::std::os::raw::c_char;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_strides {
    pub batch: i64,
    pub token: i64,
    pub head: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_strides"][::std::mem::size_of::<wkv_strides>() - 24usize];
    ["Alignment of wkv_strides"][::std::mem::align_of::<wkv_strides>() - 8usize];
    ["Offset of field: wkv_strides::batch"][::std::mem::offset_of!(wkv_strides, batch) - 0usize];
    ["Offset of field: wkv_strides::token"][::std::mem::offset_of!(wkv_strides, token) - 8usize];
    ["Offset of field: wkv_strides::head"][::std::mem::offset_of!(wkv_strides, head) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_tensor {
    pub data: *mut ::std::os::raw::c_void,
    pub strides: wkv_strides,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_tensor"][::std::mem::size_of::<wkv_tensor>() - 32usize];
    ["Alignment of wkv_tensor"][::std::mem::align_of::<wkv_tensor>() - 8usize];
    ["Offset of field: wkv_tensor::data"][::std::mem::offset_of!(wkv_tensor, data) - 0usize];
    ["Offset of field: wkv_tensor::strides"][::std::mem::offset_of!(wkv_tensor, strides) - 8usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_rows_f32 {
    pub data: *mut f32,
    pub batch_stride: i64,
    pub head_stride: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_rows_f32"][::std::mem::size_of::<wkv_rows_f32>() - 24usize];
    ["Alignment of wkv_rows_f32"][::std::mem::align_of::<wkv_rows_f32>() - 8usize];
    ["Offset of field: wkv_rows_f32::data"][::std::mem::offset_of!(wkv_rows_f32, data) - 0usize];
    ["Offset of field: wkv_rows_f32::batch_stride"]
        [::std::mem::offset_of!(wkv_rows_f32, batch_stride) - 8usize];
    ["Offset of field: wkv_rows_f32::head_stride"]
        [::std::mem::offset_of!(wkv_rows_f32, head_stride) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_sequences {
    pub cu_seqlens: *const i32,
    pub seqlens: *const i32,
    pub max_seqlen: i64,
    pub num_tokens: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_sequences"][::std::mem::size_of::<wkv_sequences>() - 32usize];
    ["Alignment of wkv_sequences"][::std::mem::align_of::<wkv_sequences>() - 8usize];
    ["Offset of field: wkv_sequences::cu_seqlens"]
        [::std::mem::offset_of!(wkv_sequences, cu_seqlens) - 0usize];
    ["Offset of field: wkv_sequences::seqlens"]
        [::std::mem::offset_of!(wkv_sequences, seqlens) - 8usize];
    ["Offset of field: wkv_sequences::max_seqlen"]
        [::std::mem::offset_of!(wkv_sequences, max_seqlen) - 16usize];
    ["Offset of field: wkv_sequences::num_tokens"]
        [::std::mem::offset_of!(wkv_sequences, num_tokens) - 24usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_prefill_params {
    pub struct_size: usize,
    pub q: wkv_tensor,
    pub k: wkv_tensor,
    pub v: wkv_tensor,
    pub o: wkv_tensor,
    pub lse: wkv_rows_f32,
    pub sequences_q: wkv_sequences,
    pub sequences_kv: wkv_sequences,
    pub batch: i32,
    pub num_heads_q: i32,
    pub num_heads_kv: i32,
    pub head_dim: i32,
    pub softmax_scale: f32,
    pub dtype: wkv_dtype,
    pub flags: *mut u32,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_prefill_params"][::std::mem::size_of::<wkv_prefill_params>() - 264usize];
    ["Alignment of wkv_prefill_params"][::std::mem::align_of::<wkv_prefill_params>() - 8usize];
    ["Offset of field: wkv_prefill_params::struct_size"]
        [::std::mem::offset_of!(wkv_prefill_params, struct_size) - 0usize];
    ["Offset of field: wkv_prefill_params::q"]
        [::std::mem::offset_of!(wkv_prefill_params, q) - 8usize];
    ["Offset of field: wkv_prefill_params::k"]
        [::std::mem::offset_of!(wkv_prefill_params, k) - 40usize];
    ["Offset of field: wkv_prefill_params::v"]
        [::std::mem::offset_of!(wkv_prefill_params, v) - 72usize];
    ["Offset of field: wkv_prefill_params::o"]
        [::std::mem::offset_of!(wkv_prefill_params, o) - 104usize];
    ["Offset of field: wkv_prefill_params::lse"]
        [::std::mem::offset_of!(wkv_prefill_params, lse) - 136usize];
    ["Offset of field: wkv_prefill_params::sequences_q"]
        [::std::mem::offset_of!(wkv_prefill_params, sequences_q) - 160usize];
    ["Offset of field: wkv_prefill_params::sequences_kv"]
        [::std::mem::offset_of!(wkv_prefill_params, sequences_kv) - 192usize];
    ["Offset of field: wkv_prefill_params::batch"]
        [::std::mem::offset_of!(wkv_prefill_params, batch) - 224usize];
    ["Offset of field: wkv_prefill_params::num_heads_q"]
        [::std::mem::offset_of!(wkv_prefill_params, num_heads_q) - 228usize];
    ["Offset of field: wkv_prefill_params::num_heads_kv"]
        [::std::mem::offset_of!(wkv_prefill_params, num_heads_kv) - 232usize];
    ["Offset of field: wkv_prefill_params::head_dim"]
        [::std::mem::offset_of!(wkv_prefill_params, head_dim) - 236usize];
    ["Offset of field: wkv_prefill_params::softmax_scale"]
        [::std::mem::offset_of!(wkv_prefill_params, softmax_scale) - 240usize];
    ["Offset of field: wkv_prefill_params::dtype"]
        [::std::mem::offset_of!(wkv_prefill_params, dtype) - 244usize];
    ["Offset of field: wkv_prefill_params::flags"]
        [::std::mem::offset_of!(wkv_prefill_params, flags) - 248usize];
    ["Offset of field: wkv_prefill_params::stream"]
        [::std::mem::offset_of!(wkv_prefill_params, stream) - 256usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_observation {
    pub query_len: i32,
    pub suffix_len: i32,
    pub window_len: i32,
    pub top_tokens: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_observation"][::std::mem::size_of::<wkv_observation>() - 16usize];
    ["Alignment of wkv_observation"][::std::mem::align_of::<wkv_observation>() - 4usize];
    ["Offset of field: wkv_observation::query_len"]
        [::std::mem::offset_of!(wkv_observation, query_len) - 0usize];
    ["Offset of field: wkv_observation::suffix_len"]
        [::std::mem::offset_of!(wkv_observation, suffix_len) - 4usize];
    ["Offset of field: wkv_observation::window_len"]
        [::std::mem::offset_of!(wkv_observation, window_len) - 8usize];
    ["Offset of field: wkv_observation::top_tokens"]
        [::std::mem::offset_of!(wkv_observation, top_tokens) - 12usize];
};
pub const wkv_pooling_WKV_POOL_AVERAGE: wkv_pooling = 0;
pub const wkv_pooling_WKV_POOL_MAX: wkv_pooling = 1;
pub type wkv_pooling = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_score_params {
    pub struct_size: usize,
    pub q: wkv_tensor,
    pub k: wkv_tensor,
    pub lse: wkv_rows_f32,
    pub sequences_q: wkv_sequences,
    pub sequences_kv: wkv_sequences,
    pub observations: *const wkv_observation,
    pub column_scores: wkv_rows_f32,
    pub window_scores: wkv_rows_f32,
    pub column_heads: i32,
    pub max_columns: i32,
    pub max_windows: i32,
    pub pooling_width: i32,
    pub pooling: wkv_pooling,
    pub batch: i32,
    pub num_heads_q: i32,
    pub num_heads_kv: i32,
    pub head_dim: i32,
    pub softmax_scale: f32,
    pub dtype: wkv_dtype,
    pub workspace: *mut ::std::os::raw::c_void,
    pub workspace_bytes: usize,
    pub flags: *mut u32,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_score_params"][::std::mem::size_of::<wkv_score_params>() - 296usize];
    ["Alignment of wkv_score_params"][::std::mem::align_of::<wkv_score_params>() - 8usize];
    ["Offset of field: wkv_score_params::struct_size"]
        [::std::mem::offset_of!(wkv_score_params, struct_size) - 0usize];
    ["Offset of field: wkv_score_params::q"][::std::mem::offset_of!(wkv_score_params, q) - 8usize];
    ["Offset of field: wkv_score_params::k"][::std::mem::offset_of!(wkv_score_params, k) - 40usize];
    ["Offset of field: wkv_score_params::lse"]
        [::std::mem::offset_of!(wkv_score_params, lse) - 72usize];
    ["Offset of field: wkv_score_params::sequences_q"]
        [::std::mem::offset_of!(wkv_score_params, sequences_q) - 96usize];
    ["Offset of field: wkv_score_params::sequences_kv"]
        [::std::mem::offset_of!(wkv_score_params, sequences_kv) - 128usize];
    ["Offset of field: wkv_score_params::observations"]
        [::std::mem::offset_of!(wkv_score_params, observations) - 160usize];
    ["Offset of field: wkv_score_params::column_scores"]
        [::std::mem::offset_of!(wkv_score_params, column_scores) - 168usize];
    ["Offset of field: wkv_score_params::window_scores"]
        [::std::mem::offset_of!(wkv_score_params, window_scores) - 192usize];
    ["Offset of field: wkv_score_params::column_heads"]
        [::std::mem::offset_of!(wkv_score_params, column_heads) - 216usize];
    ["Offset of field: wkv_score_params::max_columns"]
        [::std::mem::offset_of!(wkv_score_params, max_columns) - 220usize];
    ["Offset of field: wkv_score_params::max_windows"]
        [::std::mem::offset_of!(wkv_score_params, max_windows) - 224usize];
    ["Offset of field: wkv_score_params::pooling_width"]
        [::std::mem::offset_of!(wkv_score_params, pooling_width) - 228usize];
    ["Offset of field: wkv_score_params::pooling"]
        [::std::mem::offset_of!(wkv_score_params, pooling) - 232usize];
    ["Offset of field: wkv_score_params::batch"]
        [::std::mem::offset_of!(wkv_score_params, batch) - 236usize];
    ["Offset of field: wkv_score_params::num_heads_q"]
        [::std::mem::offset_of!(wkv_score_params, num_heads_q) - 240usize];
    ["Offset of field: wkv_score_params::num_heads_kv"]
        [::std::mem::offset_of!(wkv_score_params, num_heads_kv) - 244usize];
    ["Offset of field: wkv_score_params::head_dim"]
        [::std::mem::offset_of!(wkv_score_params, head_dim) - 248usize];
    ["Offset of field: wkv_score_params::softmax_scale"]
        [::std::mem::offset_of!(wkv_score_params, softmax_scale) - 252usize];
    ["Offset of field: wkv_score_params::dtype"]
        [::std::mem::offset_of!(wkv_score_params, dtype) - 256usize];
    ["Offset of field: wkv_score_params::workspace"]
        [::std::mem::offset_of!(wkv_score_params, workspace) - 264usize];
    ["Offset of field: wkv_score_params::workspace_bytes"]
        [::std::mem::offset_of!(wkv_score_params, workspace_bytes) - 272usize];
    ["Offset of field: wkv_score_params::flags"]
        [::std::mem::offset_of!(wkv_score_params, flags) - 280usize];
    ["Offset of field: wkv_score_params::stream"]
        [::std::mem::offset_of!(wkv_score_params, stream) - 288usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_select_params {
    pub struct_size: usize,
    pub scores: *const f32,
    pub num_windows: *const i32,
    pub num_keep: *const i32,
    pub indices: *mut i32,
    pub num_kept: *mut i32,
    pub scores_stride: i64,
    pub indices_stride: i64,
    pub rows: i32,
    pub rows_per_sequence: i32,
    pub max_windows: i32,
    pub max_keep: i32,
    pub flags: *mut u32,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_select_params"][::std::mem::size_of::<wkv_select_params>() - 96usize];
    ["Alignment of wkv_select_params"][::std::mem::align_of::<wkv_select_params>() - 8usize];
    ["Offset of field: wkv_select_params::struct_size"]
        [::std::mem::offset_of!(wkv_select_params, struct_size) - 0usize];
    ["Offset of field: wkv_select_params::scores"]
        [::std::mem::offset_of!(wkv_select_params, scores) - 8usize];
    ["Offset of field: wkv_select_params::num_windows"]
        [::std::mem::offset_of!(wkv_select_params, num_windows) - 16usize];
    ["Offset of field: wkv_select_params::num_keep"]
        [::std::mem::offset_of!(wkv_select_params, num_keep) - 24usize];
    ["Offset of field: wkv_select_params::indices"]
        [::std::mem::offset_of!(wkv_select_params, indices) - 32usize];
    ["Offset of field: wkv_select_params::num_kept"]
        [::std::mem::offset_of!(wkv_select_params, num_kept) - 40usize];
    ["Offset of field: wkv_select_params::scores_stride"]
        [::std::mem::offset_of!(wkv_select_params, scores_stride) - 48usize];
    ["Offset of field: wkv_select_params::indices_stride"]
        [::std::mem::offset_of!(wkv_select_params, indices_stride) - 56usize];
    ["Offset of field: wkv_select_params::rows"]
        [::std::mem::offset_of!(wkv_select_params, rows) - 64usize];
    ["Offset of field: wkv_select_params::rows_per_sequence"]
        [::std::mem::offset_of!(wkv_select_params, rows_per_sequence) - 68usize];
    ["Offset of field: wkv_select_params::max_windows"]
        [::std::mem::offset_of!(wkv_select_params, max_windows) - 72usize];
    ["Offset of field: wkv_select_params::max_keep"]
        [::std::mem::offset_of!(wkv_select_params, max_keep) - 76usize];
    ["Offset of field: wkv_select_params::flags"]
        [::std::mem::offset_of!(wkv_select_params, flags) - 80usize];
    ["Offset of field: wkv_select_params::stream"]
        [::std::mem::offset_of!(wkv_select_params, stream) - 88usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_cache_layout {
    pub strides: wkv_strides,
    pub page_table: *const i32,
    pub page_table_stride: i64,
    pub page_len: i32,
    pub num_pages: i32,
    pub capacity: i64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_cache_layout"][::std::mem::size_of::<wkv_cache_layout>() - 56usize];
    ["Alignment of wkv_cache_layout"][::std::mem::align_of::<wkv_cache_layout>() - 8usize];
    ["Offset of field: wkv_cache_layout::strides"]
        [::std::mem::offset_of!(wkv_cache_layout, strides) - 0usize];
    ["Offset of field: wkv_cache_layout::page_table"]
        [::std::mem::offset_of!(wkv_cache_layout, page_table) - 24usize];
    ["Offset of field: wkv_cache_layout::page_table_stride"]
        [::std::mem::offset_of!(wkv_cache_layout, page_table_stride) - 32usize];
    ["Offset of field: wkv_cache_layout::page_len"]
        [::std::mem::offset_of!(wkv_cache_layout, page_len) - 40usize];
    ["Offset of field: wkv_cache_layout::num_pages"]
        [::std::mem::offset_of!(wkv_cache_layout, num_pages) - 44usize];
    ["Offset of field: wkv_cache_layout::capacity"]
        [::std::mem::offset_of!(wkv_cache_layout, capacity) - 48usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_gather_layer {
    pub k_source: *const ::std::os::raw::c_void,
    pub v_source: *const ::std::os::raw::c_void,
    pub k_cache: *mut ::std::os::raw::c_void,
    pub v_cache: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_gather_layer"][::std::mem::size_of::<wkv_gather_layer>() - 32usize];
    ["Alignment of wkv_gather_layer"][::std::mem::align_of::<wkv_gather_layer>() - 8usize];
    ["Offset of field: wkv_gather_layer::k_source"]
        [::std::mem::offset_of!(wkv_gather_layer, k_source) - 0usize];
    ["Offset of field: wkv_gather_layer::v_source"]
        [::std::mem::offset_of!(wkv_gather_layer, v_source) - 8usize];
    ["Offset of field: wkv_gather_layer::k_cache"]
        [::std::mem::offset_of!(wkv_gather_layer, k_cache) - 16usize];
    ["Offset of field: wkv_gather_layer::v_cache"]
        [::std::mem::offset_of!(wkv_gather_layer, v_cache) - 24usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_gather_params {
    pub struct_size: usize,
    pub layers: *const wkv_gather_layer,
    pub num_layers: i32,
    pub source_strides: wkv_strides,
    pub sequences_kv: wkv_sequences,
    pub cache: wkv_cache_layout,
    pub observations: *const wkv_observation,
    pub indices: *const i32,
    pub num_kept: *const i32,
    pub index_batch_stride: i64,
    pub index_head_stride: i64,
    pub index_heads: i32,
    pub max_keep: i32,
    pub kept_lens: *mut i32,
    pub batch: i32,
    pub num_heads_kv: i32,
    pub head_dim: i32,
    pub dtype: wkv_dtype,
    pub flags: *mut u32,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_gather_params"][::std::mem::size_of::<wkv_gather_params>() - 224usize];
    ["Alignment of wkv_gather_params"][::std::mem::align_of::<wkv_gather_params>() - 8usize];
    ["Offset of field: wkv_gather_params::struct_size"]
        [::std::mem::offset_of!(wkv_gather_params, struct_size) - 0usize];
    ["Offset of field: wkv_gather_params::layers"]
        [::std::mem::offset_of!(wkv_gather_params, layers) - 8usize];
    ["Offset of field: wkv_gather_params::num_layers"]
        [::std::mem::offset_of!(wkv_gather_params, num_layers) - 16usize];
    ["Offset of field: wkv_gather_params::source_strides"]
        [::std::mem::offset_of!(wkv_gather_params, source_strides) - 24usize];
    ["Offset of field: wkv_gather_params::sequences_kv"]
        [::std::mem::offset_of!(wkv_gather_params, sequences_kv) - 48usize];
    ["Offset of field: wkv_gather_params::cache"]
        [::std::mem::offset_of!(wkv_gather_params, cache) - 80usize];
    ["Offset of field: wkv_gather_params::observations"]
        [::std::mem::offset_of!(wkv_gather_params, observations) - 136usize];
    ["Offset of field: wkv_gather_params::indices"]
        [::std::mem::offset_of!(wkv_gather_params, indices) - 144usize];
    ["Offset of field: wkv_gather_params::num_kept"]
        [::std::mem::offset_of!(wkv_gather_params, num_kept) - 152usize];
    ["Offset of field: wkv_gather_params::index_batch_stride"]
        [::std::mem::offset_of!(wkv_gather_params, index_batch_stride) - 160usize];
    ["Offset of field: wkv_gather_params::index_head_stride"]
        [::std::mem::offset_of!(wkv_gather_params, index_head_stride) - 168usize];
    ["Offset of field: wkv_gather_params::index_heads"]
        [::std::mem::offset_of!(wkv_gather_params, index_heads) - 176usize];
    ["Offset of field: wkv_gather_params::max_keep"]
        [::std::mem::offset_of!(wkv_gather_params, max_keep) - 180usize];
    ["Offset of field: wkv_gather_params::kept_lens"]
        [::std::mem::offset_of!(wkv_gather_params, kept_lens) - 184usize];
    ["Offset of field: wkv_gather_params::batch"]
        [::std::mem::offset_of!(wkv_gather_params, batch) - 192usize];
    ["Offset of field: wkv_gather_params::num_heads_kv"]
        [::std::mem::offset_of!(wkv_gather_params, num_heads_kv) - 196usize];
    ["Offset of field: wkv_gather_params::head_dim"]
        [::std::mem::offset_of!(wkv_gather_params, head_dim) - 200usize];
    ["Offset of field: wkv_gather_params::dtype"]
        [::std::mem::offset_of!(wkv_gather_params, dtype) - 204usize];
    ["Offset of field: wkv_gather_params::flags"]
        [::std::mem::offset_of!(wkv_gather_params, flags) - 208usize];
    ["Offset of field: wkv_gather_params::stream"]
        [::std::mem::offset_of!(wkv_gather_params, stream) - 216usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_decode_params {
    pub struct_size: usize,
    pub q: wkv_tensor,
    pub k_new: wkv_tensor,
    pub v_new: wkv_tensor,
    pub o: wkv_tensor,
    pub lse: *mut f32,
    pub k_cache: *mut ::std::os::raw::c_void,
    pub v_cache: *mut ::std::os::raw::c_void,
    pub cache: wkv_cache_layout,
    pub cache_lens: *const i32,
    pub batch: i32,
    pub num_heads_q: i32,
    pub num_heads_kv: i32,
    pub head_dim: i32,
    pub softmax_scale: f32,
    pub dtype: wkv_dtype,
    pub workspace: *mut ::std::os::raw::c_void,
    pub workspace_bytes: usize,
    pub flags: *mut u32,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_decode_params"][::std::mem::size_of::<wkv_decode_params>() - 280usize];
    ["Alignment of wkv_decode_params"][::std::mem::align_of::<wkv_decode_params>() - 8usize];
    ["Offset of field: wkv_decode_params::struct_size"]
        [::std::mem::offset_of!(wkv_decode_params, struct_size) - 0usize];
    ["Offset of field: wkv_decode_params::q"]
        [::std::mem::offset_of!(wkv_decode_params, q) - 8usize];
    ["Offset of field: wkv_decode_params::k_new"]
        [::std::mem::offset_of!(wkv_decode_params, k_new) - 40usize];
    ["Offset of field: wkv_decode_params::v_new"]
        [::std::mem::offset_of!(wkv_decode_params, v_new) - 72usize];
    ["Offset of field: wkv_decode_params::o"]
        [::std::mem::offset_of!(wkv_decode_params, o) - 104usize];
    ["Offset of field: wkv_decode_params::lse"]
        [::std::mem::offset_of!(wkv_decode_params, lse) - 136usize];
    ["Offset of field: wkv_decode_params::k_cache"]
        [::std::mem::offset_of!(wkv_decode_params, k_cache) - 144usize];
    ["Offset of field: wkv_decode_params::v_cache"]
        [::std::mem::offset_of!(wkv_decode_params, v_cache) - 152usize];
    ["Offset of field: wkv_decode_params::cache"]
        [::std::mem::offset_of!(wkv_decode_params, cache) - 160usize];
    ["Offset of field: wkv_decode_params::cache_lens"]
        [::std::mem::offset_of!(wkv_decode_params, cache_lens) - 216usize];
    ["Offset of field: wkv_decode_params::batch"]
        [::std::mem::offset_of!(wkv_decode_params, batch) - 224usize];
    ["Offset of field: wkv_decode_params::num_heads_q"]
        [::std::mem::offset_of!(wkv_decode_params, num_heads_q) - 228usize];
    ["Offset of field: wkv_decode_params::num_heads_kv"]
        [::std::mem::offset_of!(wkv_decode_params, num_heads_kv) - 232usize];
    ["Offset of field: wkv_decode_params::head_dim"]
        [::std::mem::offset_of!(wkv_decode_params, head_dim) - 236usize];
    ["Offset of field: wkv_decode_params::softmax_scale"]
        [::std::mem::offset_of!(wkv_decode_params, softmax_scale) - 240usize];
    ["Offset of field: wkv_decode_params::dtype"]
        [::std::mem::offset_of!(wkv_decode_params, dtype) - 244usize];
    ["Offset of field: wkv_decode_params::workspace"]
        [::std::mem::offset_of!(wkv_decode_params, workspace) - 248usize];
    ["Offset of field: wkv_decode_params::workspace_bytes"]
        [::std::mem::offset_of!(wkv_decode_params, workspace_bytes) - 256usize];
    ["Offset of field: wkv_decode_params::flags"]
        [::std::mem::offset_of!(wkv_decode_params, flags) - 264usize];
    ["Offset of field: wkv_decode_params::stream"]
        [::std::mem::offset_of!(wkv_decode_params, stream) - 272usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_advance_params {
    pub struct_size: usize,
    pub values: *mut i32,
    pub count: i32,
    pub amount: i32,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_advance_params"][::std::mem::size_of::<wkv_advance_params>() - 32usize];
    ["Alignment of wkv_advance_params"][::std::mem::align_of::<wkv_advance_params>() - 8usize];
    ["Offset of field: wkv_advance_params::struct_size"]
        [::std::mem::offset_of!(wkv_advance_params, struct_size) - 0usize];
    ["Offset of field: wkv_advance_params::values"]
        [::std::mem::offset_of!(wkv_advance_params, values) - 8usize];
    ["Offset of field: wkv_advance_params::count"]
        [::std::mem::offset_of!(wkv_advance_params, count) - 16usize];
    ["Offset of field: wkv_advance_params::amount"]
        [::std::mem::offset_of!(wkv_advance_params, amount) - 20usize];
    ["Offset of field: wkv_advance_params::stream"]
        [::std::mem::offset_of!(wkv_advance_params, stream) - 24usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_rms_norm_params {
    pub struct_size: usize,
    pub x: *const ::std::os::raw::c_void,
    pub residual: *const ::std::os::raw::c_void,
    pub sum: *mut ::std::os::raw::c_void,
    pub weight: *const ::std::os::raw::c_void,
    pub out: *mut ::std::os::raw::c_void,
    pub x_stride: i64,
    pub residual_stride: i64,
    pub sum_stride: i64,
    pub out_stride: i64,
    pub rows: i64,
    pub hidden: i32,
    pub eps: f32,
    pub dtype: wkv_dtype,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_rms_norm_params"][::std::mem::size_of::<wkv_rms_norm_params>() - 112usize];
    ["Alignment of wkv_rms_norm_params"][::std::mem::align_of::<wkv_rms_norm_params>() - 8usize];
    ["Offset of field: wkv_rms_norm_params::struct_size"]
        [::std::mem::offset_of!(wkv_rms_norm_params, struct_size) - 0usize];
    ["Offset of field: wkv_rms_norm_params::x"]
        [::std::mem::offset_of!(wkv_rms_norm_params, x) - 8usize];
    ["Offset of field: wkv_rms_norm_params::residual"]
        [::std::mem::offset_of!(wkv_rms_norm_params, residual) - 16usize];
    ["Offset of field: wkv_rms_norm_params::sum"]
        [::std::mem::offset_of!(wkv_rms_norm_params, sum) - 24usize];
    ["Offset of field: wkv_rms_norm_params::weight"]
        [::std::mem::offset_of!(wkv_rms_norm_params, weight) - 32usize];
    ["Offset of field: wkv_rms_norm_params::out"]
        [::std::mem::offset_of!(wkv_rms_norm_params, out) - 40usize];
    ["Offset of field: wkv_rms_norm_params::x_stride"]
        [::std::mem::offset_of!(wkv_rms_norm_params, x_stride) - 48usize];
    ["Offset of field: wkv_rms_norm_params::residual_stride"]
        [::std::mem::offset_of!(wkv_rms_norm_params, residual_stride) - 56usize];
    ["Offset of field: wkv_rms_norm_params::sum_stride"]
        [::std::mem::offset_of!(wkv_rms_norm_params, sum_stride) - 64usize];
    ["Offset of field: wkv_rms_norm_params::out_stride"]
        [::std::mem::offset_of!(wkv_rms_norm_params, out_stride) - 72usize];
    ["Offset of field: wkv_rms_norm_params::rows"]
        [::std::mem::offset_of!(wkv_rms_norm_params, rows) - 80usize];
    ["Offset of field: wkv_rms_norm_params::hidden"]
        [::std::mem::offset_of!(wkv_rms_norm_params, hidden) - 88usize];
    ["Offset of field: wkv_rms_norm_params::eps"]
        [::std::mem::offset_of!(wkv_rms_norm_params, eps) - 92usize];
    ["Offset of field: wkv_rms_norm_params::dtype"]
        [::std::mem::offset_of!(wkv_rms_norm_params, dtype) - 96usize];
    ["Offset of field: wkv_rms_norm_params::stream"]
        [::std::mem::offset_of!(wkv_rms_norm_params, stream) - 104usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_llama3_scaling {
    pub factor: f64,
    pub low_freq_factor: f64,
    pub high_freq_factor: f64,
    pub original_max_position_embeddings: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_llama3_scaling"][::std::mem::size_of::<wkv_llama3_scaling>() - 32usize];
    ["Alignment of wkv_llama3_scaling"][::std::mem::align_of::<wkv_llama3_scaling>() - 8usize];
    ["Offset of field: wkv_llama3_scaling::factor"]
        [::std::mem::offset_of!(wkv_llama3_scaling, factor) - 0usize];
    ["Offset of field: wkv_llama3_scaling::low_freq_factor"]
        [::std::mem::offset_of!(wkv_llama3_scaling, low_freq_factor) - 8usize];
    ["Offset of field: wkv_llama3_scaling::high_freq_factor"]
        [::std::mem::offset_of!(wkv_llama3_scaling, high_freq_factor) - 16usize];
    ["Offset of field: wkv_llama3_scaling::original_max_position_embeddings"]
        [::std::mem::offset_of!(wkv_llama3_scaling, original_max_position_embeddings) - 24usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_rope_params {
    pub struct_size: usize,
    pub q: wkv_tensor,
    pub k: wkv_tensor,
    pub positions: *const i32,
    pub turns: *const u64,
    pub tokens: i64,
    pub num_heads_q: i32,
    pub num_heads_kv: i32,
    pub head_dim: i32,
    pub dtype: wkv_dtype,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_rope_params"][::std::mem::size_of::<wkv_rope_params>() - 120usize];
    ["Alignment of wkv_rope_params"][::std::mem::align_of::<wkv_rope_params>() - 8usize];
    ["Offset of field: wkv_rope_params::struct_size"]
        [::std::mem::offset_of!(wkv_rope_params, struct_size) - 0usize];
    ["Offset of field: wkv_rope_params::q"][::std::mem::offset_of!(wkv_rope_params, q) - 8usize];
    ["Offset of field: wkv_rope_params::k"][::std::mem::offset_of!(wkv_rope_params, k) - 40usize];
    ["Offset of field: wkv_rope_params::positions"]
        [::std::mem::offset_of!(wkv_rope_params, positions) - 72usize];
    ["Offset of field: wkv_rope_params::turns"]
        [::std::mem::offset_of!(wkv_rope_params, turns) - 80usize];
    ["Offset of field: wkv_rope_params::tokens"]
        [::std::mem::offset_of!(wkv_rope_params, tokens) - 88usize];
    ["Offset of field: wkv_rope_params::num_heads_q"]
        [::std::mem::offset_of!(wkv_rope_params, num_heads_q) - 96usize];
    ["Offset of field: wkv_rope_params::num_heads_kv"]
        [::std::mem::offset_of!(wkv_rope_params, num_heads_kv) - 100usize];
    ["Offset of field: wkv_rope_params::head_dim"]
        [::std::mem::offset_of!(wkv_rope_params, head_dim) - 104usize];
    ["Offset of field: wkv_rope_params::dtype"]
        [::std::mem::offset_of!(wkv_rope_params, dtype) - 108usize];
    ["Offset of field: wkv_rope_params::stream"]
        [::std::mem::offset_of!(wkv_rope_params, stream) - 112usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_silu_mul_params {
    pub struct_size: usize,
    pub gate: *const ::std::os::raw::c_void,
    pub up: *const ::std::os::raw::c_void,
    pub out: *mut ::std::os::raw::c_void,
    pub gate_stride: i64,
    pub up_stride: i64,
    pub out_stride: i64,
    pub rows: i64,
    pub columns: i32,
    pub dtype: wkv_dtype,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_silu_mul_params"][::std::mem::size_of::<wkv_silu_mul_params>() - 80usize];
    ["Alignment of wkv_silu_mul_params"][::std::mem::align_of::<wkv_silu_mul_params>() - 8usize];
    ["Offset of field: wkv_silu_mul_params::struct_size"]
        [::std::mem::offset_of!(wkv_silu_mul_params, struct_size) - 0usize];
    ["Offset of field: wkv_silu_mul_params::gate"]
        [::std::mem::offset_of!(wkv_silu_mul_params, gate) - 8usize];
    ["Offset of field: wkv_silu_mul_params::up"]
        [::std::mem::offset_of!(wkv_silu_mul_params, up) - 16usize];
    ["Offset of field: wkv_silu_mul_params::out"]
        [::std::mem::offset_of!(wkv_silu_mul_params, out) - 24usize];
    ["Offset of field: wkv_silu_mul_params::gate_stride"]
        [::std::mem::offset_of!(wkv_silu_mul_params, gate_stride) - 32usize];
    ["Offset of field: wkv_silu_mul_params::up_stride"]
        [::std::mem::offset_of!(wkv_silu_mul_params, up_stride) - 40usize];
    ["Offset of field: wkv_silu_mul_params::out_stride"]
        [::std::mem::offset_of!(wkv_silu_mul_params, out_stride) - 48usize];
    ["Offset of field: wkv_silu_mul_params::rows"]
        [::std::mem::offset_of!(wkv_silu_mul_params, rows) - 56usize];
    ["Offset of field: wkv_silu_mul_params::columns"]
        [::std::mem::offset_of!(wkv_silu_mul_params, columns) - 64usize];
    ["Offset of field: wkv_silu_mul_params::dtype"]
        [::std::mem::offset_of!(wkv_silu_mul_params, dtype) - 68usize];
    ["Offset of field: wkv_silu_mul_params::stream"]
        [::std::mem::offset_of!(wkv_silu_mul_params, stream) - 72usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_embedding_params {
    pub struct_size: usize,
    pub table: *const ::std::os::raw::c_void,
    pub ids: *const i32,
    pub out: *mut ::std::os::raw::c_void,
    pub table_stride: i64,
    pub out_stride: i64,
    pub rows: i64,
    pub vocab: i32,
    pub hidden: i32,
    pub dtype: wkv_dtype,
    pub flags: *mut u32,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_embedding_params"][::std::mem::size_of::<wkv_embedding_params>() - 88usize];
    ["Alignment of wkv_embedding_params"][::std::mem::align_of::<wkv_embedding_params>() - 8usize];
    ["Offset of field: wkv_embedding_params::struct_size"]
        [::std::mem::offset_of!(wkv_embedding_params, struct_size) - 0usize];
    ["Offset of field: wkv_embedding_params::table"]
        [::std::mem::offset_of!(wkv_embedding_params, table) - 8usize];
    ["Offset of field: wkv_embedding_params::ids"]
        [::std::mem::offset_of!(wkv_embedding_params, ids) - 16usize];
    ["Offset of field: wkv_embedding_params::out"]
        [::std::mem::offset_of!(wkv_embedding_params, out) - 24usize];
    ["Offset of field: wkv_embedding_params::table_stride"]
        [::std::mem::offset_of!(wkv_embedding_params, table_stride) - 32usize];
    ["Offset of field: wkv_embedding_params::out_stride"]
        [::std::mem::offset_of!(wkv_embedding_params, out_stride) - 40usize];
    ["Offset of field: wkv_embedding_params::rows"]
        [::std::mem::offset_of!(wkv_embedding_params, rows) - 48usize];
    ["Offset of field: wkv_embedding_params::vocab"]
        [::std::mem::offset_of!(wkv_embedding_params, vocab) - 56usize];
    ["Offset of field: wkv_embedding_params::hidden"]
        [::std::mem::offset_of!(wkv_embedding_params, hidden) - 60usize];
    ["Offset of field: wkv_embedding_params::dtype"]
        [::std::mem::offset_of!(wkv_embedding_params, dtype) - 64usize];
    ["Offset of field: wkv_embedding_params::flags"]
        [::std::mem::offset_of!(wkv_embedding_params, flags) - 72usize];
    ["Offset of field: wkv_embedding_params::stream"]
        [::std::mem::offset_of!(wkv_embedding_params, stream) - 80usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_sampling {
    pub seed: u64,
    pub temperature: f32,
    pub top_p: f32,
    pub top_k: i32,
    pub reserved: i32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_sampling"][::std::mem::size_of::<wkv_sampling>() - 24usize];
    ["Alignment of wkv_sampling"][::std::mem::align_of::<wkv_sampling>() - 8usize];
    ["Offset of field: wkv_sampling::seed"][::std::mem::offset_of!(wkv_sampling, seed) - 0usize];
    ["Offset of field: wkv_sampling::temperature"]
        [::std::mem::offset_of!(wkv_sampling, temperature) - 8usize];
    ["Offset of field: wkv_sampling::top_p"][::std::mem::offset_of!(wkv_sampling, top_p) - 12usize];
    ["Offset of field: wkv_sampling::top_k"][::std::mem::offset_of!(wkv_sampling, top_k) - 16usize];
    ["Offset of field: wkv_sampling::reserved"]
        [::std::mem::offset_of!(wkv_sampling, reserved) - 20usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_sample_params {
    pub struct_size: usize,
    pub logits: *const ::std::os::raw::c_void,
    pub sampling: *const wkv_sampling,
    pub steps: *const i32,
    pub tokens: *mut i32,
    pub logits_stride: i64,
    pub rows: i32,
    pub vocab: i32,
    pub dtype: wkv_dtype,
    pub flags: *mut u32,
    pub stream: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_sample_params"][::std::mem::size_of::<wkv_sample_params>() - 80usize];
    ["Alignment of wkv_sample_params"][::std::mem::align_of::<wkv_sample_params>() - 8usize];
    ["Offset of field: wkv_sample_params::struct_size"]
        [::std::mem::offset_of!(wkv_sample_params, struct_size) - 0usize];
    ["Offset of field: wkv_sample_params::logits"]
        [::std::mem::offset_of!(wkv_sample_params, logits) - 8usize];
    ["Offset of field: wkv_sample_params::sampling"]
        [::std::mem::offset_of!(wkv_sample_params, sampling) - 16usize];
    ["Offset of field: wkv_sample_params::steps"]
        [::std::mem::offset_of!(wkv_sample_params, steps) - 24usize];
    ["Offset of field: wkv_sample_params::tokens"]
        [::std::mem::offset_of!(wkv_sample_params, tokens) - 32usize];
    ["Offset of field: wkv_sample_params::logits_stride"]
        [::std::mem::offset_of!(wkv_sample_params, logits_stride) - 40usize];
    ["Offset of field: wkv_sample_params::rows"]
        [::std::mem::offset_of!(wkv_sample_params, rows) - 48usize];
    ["Offset of field: wkv_sample_params::vocab"]
        [::std::mem::offset_of!(wkv_sample_params, vocab) - 52usize];
    ["Offset of field: wkv_sample_params::dtype"]
        [::std::mem::offset_of!(wkv_sample_params, dtype) - 56usize];
    ["Offset of field: wkv_sample_params::flags"]
        [::std::mem::offset_of!(wkv_sample_params, flags) - 64usize];
    ["Offset of field: wkv_sample_params::stream"]
        [::std::mem::offset_of!(wkv_sample_params, stream) - 72usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct wkv_kernels {
    pub struct_size: usize,
    pub prefill: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_prefill_params) -> ::std::os::raw::c_int,
    >,
    pub score: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_score_params) -> ::std::os::raw::c_int,
    >,
    pub select: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_select_params) -> ::std::os::raw::c_int,
    >,
    pub gather: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_gather_params) -> ::std::os::raw::c_int,
    >,
    pub decode: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_decode_params) -> ::std::os::raw::c_int,
    >,
    pub advance: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_advance_params) -> ::std::os::raw::c_int,
    >,
    pub rms_norm: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_rms_norm_params) -> ::std::os::raw::c_int,
    >,
    pub rope: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_rope_params) -> ::std::os::raw::c_int,
    >,
    pub silu_mul: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_silu_mul_params) -> ::std::os::raw::c_int,
    >,
    pub embedding: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_embedding_params) -> ::std::os::raw::c_int,
    >,
    pub sample: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_sample_params) -> ::std::os::raw::c_int,
    >,
    pub score_workspace_size: ::std::option::Option<
        unsafe extern "C" fn(
            params: *const wkv_score_params,
            bytes: *mut usize,
        ) -> ::std::os::raw::c_int,
    >,
    pub decode_workspace_size: ::std::option::Option<
        unsafe extern "C" fn(
            params: *const wkv_decode_params,
            bytes: *mut usize,
        ) -> ::std::os::raw::c_int,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_kernels"][::std::mem::size_of::<wkv_kernels>() - 112usize];
    ["Alignment of wkv_kernels"][::std::mem::align_of::<wkv_kernels>() - 8usize];
    ["Offset of field: wkv_kernels::struct_size"]
        [::std::mem::offset_of!(wkv_kernels, struct_size) - 0usize];
    ["Offset of field: wkv_kernels::prefill"]
        [::std::mem::offset_of!(wkv_kernels, prefill) - 8usize];
    ["Offset of field: wkv_kernels::score"][::std::mem::offset_of!(wkv_kernels, score) - 16usize];
    ["Offset of field: wkv_kernels::select"][::std::mem::offset_of!(wkv_kernels, select) - 24usize];
    ["Offset of field: wkv_kernels::gather"][::std::mem::offset_of!(wkv_kernels, gather) - 32usize];
    ["Offset of field: wkv_kernels::decode"][::std::mem::offset_of!(wkv_kernels, decode) - 40usize];
    ["Offset of field: wkv_kernels::advance"]
        [::std::mem::offset_of!(wkv_kernels, advance) - 48usize];
    ["Offset of field: wkv_kernels::rms_norm"]
        [::std::mem::offset_of!(wkv_kernels, rms_norm) - 56usize];
    ["Offset of field: wkv_kernels::rope"][::std::mem::offset_of!(wkv_kernels, rope) - 64usize];
    ["Offset of field: wkv_kernels::silu_mul"]
        [::std::mem::offset_of!(wkv_kernels, silu_mul) - 72usize];
    ["Offset of field: wkv_kernels::embedding"]
        [::std::mem::offset_of!(wkv_kernels, embedding) - 80usize];
    ["Offset of field: wkv_kernels::sample"][::std::mem::offset_of!(wkv_kernels, sample) - 88usize];
    ["Offset of field: wkv_kernels::score_workspace_size"]
        [::std::mem::offset_of!(wkv_kernels, score_workspace_size) - 96usize];
    ["Offset of field: wkv_kernels::decode_workspace_size"]
        [::std::mem::offset_of!(wkv_kernels, decode_workspace_size) - 104usize];
};
unsafe extern "C" {
    pub fn wkv_emulated_kernels() -> *const wkv_kernels;
}
unsafe extern "C" {
    pub fn wkv_cuda_kernels() -> *const wkv_kernels;
}
unsafe extern "C" {
    pub fn wkv_rope_turns(
        turns: *mut u64,
        head_dim: i32,
        theta: f64,
        scaling: *const wkv_llama3_scaling,
    ) -> ::std::os::raw::c_int;
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
pub struct wkv_testing {
    pub struct_size: usize,
    pub open: ::std::option::Option<
        unsafe extern "C" fn(
            ordinal: ::std::os::raw::c_int,
            capability: *mut ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
    >,
    pub bind: ::std::option::Option<
        unsafe extern "C" fn(ordinal: ::std::os::raw::c_int) -> ::std::os::raw::c_int,
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
    pub row_sum: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_row_sum_params) -> ::std::os::raw::c_int,
    >,
    pub mma_product: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_product_params) -> ::std::os::raw::c_int,
    >,
    pub wgmma_product: ::std::option::Option<
        unsafe extern "C" fn(params: *const wkv_product_params) -> ::std::os::raw::c_int,
    >,
    pub configure:
        ::std::option::Option<unsafe extern "C" fn(seed: u64, workers: ::std::os::raw::c_uint)>,
    pub switches: ::std::option::Option<unsafe extern "C" fn() -> u64>,
    pub last_error: ::std::option::Option<unsafe extern "C" fn() -> *const ::std::os::raw::c_char>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of wkv_testing"][::std::mem::size_of::<wkv_testing>() - 112usize];
    ["Alignment of wkv_testing"][::std::mem::align_of::<wkv_testing>() - 8usize];
    ["Offset of field: wkv_testing::struct_size"]
        [::std::mem::offset_of!(wkv_testing, struct_size) - 0usize];
    ["Offset of field: wkv_testing::open"][::std::mem::offset_of!(wkv_testing, open) - 8usize];
    ["Offset of field: wkv_testing::bind"][::std::mem::offset_of!(wkv_testing, bind) - 16usize];
    ["Offset of field: wkv_testing::allocate"]
        [::std::mem::offset_of!(wkv_testing, allocate) - 24usize];
    ["Offset of field: wkv_testing::release"]
        [::std::mem::offset_of!(wkv_testing, release) - 32usize];
    ["Offset of field: wkv_testing::upload"][::std::mem::offset_of!(wkv_testing, upload) - 40usize];
    ["Offset of field: wkv_testing::download"]
        [::std::mem::offset_of!(wkv_testing, download) - 48usize];
    ["Offset of field: wkv_testing::probe"][::std::mem::offset_of!(wkv_testing, probe) - 56usize];
    ["Offset of field: wkv_testing::row_sum"]
        [::std::mem::offset_of!(wkv_testing, row_sum) - 64usize];
    ["Offset of field: wkv_testing::mma_product"]
        [::std::mem::offset_of!(wkv_testing, mma_product) - 72usize];
    ["Offset of field: wkv_testing::wgmma_product"]
        [::std::mem::offset_of!(wkv_testing, wgmma_product) - 80usize];
    ["Offset of field: wkv_testing::configure"]
        [::std::mem::offset_of!(wkv_testing, configure) - 88usize];
    ["Offset of field: wkv_testing::switches"]
        [::std::mem::offset_of!(wkv_testing, switches) - 96usize];
    ["Offset of field: wkv_testing::last_error"]
        [::std::mem::offset_of!(wkv_testing, last_error) - 104usize];
};
unsafe extern "C" {
    pub fn wkv_emulated_testing() -> *const wkv_testing;
}
unsafe extern "C" {
    pub fn wkv_cuda_testing() -> *const wkv_testing;
}
