/* The C ABI of WindowKV's kernels.
 *
 * Every entry point takes one struct of parameters, whose first field is its size: a caller
 * compiled against an older header is told so. Nothing allocates, synchronises or uses the default
 * stream unless the stream is null. Strides are in elements. A function returns a wkv_status; what
 * went wrong is in wkv_last_error() of the same OS thread. */

#ifndef WINDOWKV_H
#define WINDOWKV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wkv_status {
  WKV_OK = 0,
  WKV_INVALID_ARGUMENT = 1, /* a parameter that no device could serve */
  WKV_UNSUPPORTED = 2,      /* this device, driver or build cannot do it */
  WKV_DEVICE_ERROR = 3,     /* CUDA reported an error */
  WKV_EMULATOR_REPORT = 4,  /* the emulated GPU found a fault in the kernel */
  WKV_OUT_OF_MEMORY = 5
} wkv_status;

typedef enum wkv_dtype { WKV_F16 = 0, WKV_BF16 = 1, WKV_F32 = 2 } wkv_dtype;

/* Grows whenever a struct or the meaning of a function changes. */
#define WKV_ABI_VERSION 1
int wkv_abi_version(void);

/* What went wrong in this OS thread's last call that returned something else than WKV_OK. */
const char* wkv_last_error(void);

/* output[r] = sum over c of input[r, c] */
typedef struct wkv_row_sum_params {
  size_t struct_size;
  const float* input; /* [rows, columns], row stride input_stride */
  float* output;      /* [rows] */
  int64_t rows;
  int64_t columns;
  int64_t input_stride;
  void* stream; /* cudaStream_t */
} wkv_row_sum_params;

/* c = a b^T */
typedef struct wkv_product_params {
  size_t struct_size;
  const void* a; /* [m, k] of dtype, row stride a_stride, 16-byte aligned rows */
  const void* b; /* [n, k] of dtype, row stride b_stride, 16-byte aligned rows */
  void* c; /* [m, n], row stride c_stride: float (mma) or dtype with 16-byte aligned rows (wgmma) */
  int64_t m, n, k; /* k: a multiple of 8 */
  int64_t a_stride, b_stride, c_stride;
  wkv_dtype dtype; /* WKV_F16 or WKV_BF16 */
  void* stream;    /* cudaStream_t */
} wkv_product_params;

/* The kernels, as one machine runs them. Both tables have the same functions. */
typedef struct wkv_kernels {
  size_t struct_size;
  int (*row_sum)(const wkv_row_sum_params* params);
  int (*mma_product)(const wkv_product_params* params);   /* SM 80 */
  int (*wgmma_product)(const wkv_product_params* params); /* SM 90a */
} wkv_kernels;

const wkv_kernels* wkv_emulated_kernels(void);
const wkv_kernels* wkv_cuda_kernels(void); /* in libraries built with CUDA */

#ifdef __cplusplus
}
#endif

#endif /* WINDOWKV_H */
