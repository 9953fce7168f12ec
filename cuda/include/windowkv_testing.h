/* What the test suite needs besides the kernels: device memory, schedules of the emulated GPU, the
 * tutorial's sample kernels (cuda/samples), and the probes, small kernels around one ptx function
 * each (cuda/ptx/test). Not part of the stable ABI. */

#ifndef WINDOWKV_TESTING_H
#define WINDOWKV_TESTING_H

#include "windowkv.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor map for a probe; see cuda/ptx/tensor_map.h. rank 0: none. */
typedef struct wkv_tensor_spec {
  int32_t element; /* 0 f16, 1 bf16, 2 f32, 3 u8 */
  int32_t rank;
  int32_t swizzle;   /* 0 none, 1 32, 2 64, 3 128 bytes */
  int32_t fill;      /* 0 zero, 1 NaN */
  int32_t of_output; /* 0: the map is of the input, 1: of the output */
  uint64_t size[4];
  uint64_t stride_bytes[4];
  uint32_t box[4];
} wkv_tensor_spec;

typedef struct wkv_probe_params {
  size_t struct_size;
  const char* name;
  const void* input; /* device memory */
  void* output;      /* device memory */
  int32_t blocks;
  int32_t threads; /* of a block; 0: the probe's own number */
  int64_t arguments[8];
  wkv_tensor_spec tensor;
} wkv_probe_params;

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

typedef struct wkv_testing {
  size_t struct_size;
  /* WKV_OK when GPU `ordinal` can run this library's kernels; *capability gets 10 * major + minor.
   * It is then the calling OS thread's current one. */
  int (*open)(int ordinal, int* capability);
  /* Makes it the calling OS thread's current one. */
  int (*bind)(int ordinal);
  /* Memory filled with 0xff, NaN in every format. These four wait for all that runs on the GPU. */
  int (*allocate)(void** memory, size_t bytes);
  int (*release)(void* memory);
  int (*upload)(void* memory, const void* host, size_t bytes);
  int (*download)(void* host, const void* memory, size_t bytes);
  int (*probe)(const wkv_probe_params* params);
  int (*row_sum)(const wkv_row_sum_params* params);
  int (*mma_product)(const wkv_product_params* params);   /* SM 80 */
  int (*wgmma_product)(const wkv_product_params* params); /* SM 90a */
  /* How the calling OS thread's next launches run on the emulated GPU: the seed of the schedule,
   * and how many OS threads share the blocks (0: one a core). Nothing on a real one. */
  void (*configure)(uint64_t seed, unsigned workers);
  /* Switches from fiber to fiber in the calling OS thread's last launch; 0 on a real GPU. */
  uint64_t (*switches)(void);
  /* wkv_last_error of this library. */
  const char* (*last_error)(void);
} wkv_testing;

const wkv_testing* wkv_emulated_testing(void);
const wkv_testing* wkv_cuda_testing(void); /* in libraries built with CUDA */

#ifdef __cplusplus
}
#endif

#endif /* WINDOWKV_TESTING_H */
