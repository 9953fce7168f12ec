// The entry points of the sample kernels, for the tables of both machines.

#pragma once

#include "windowkv_testing.h"

#ifdef __cplusplus
extern "C" {
#endif

int wkv_emulated_row_sum(const wkv_row_sum_params* params);
int wkv_emulated_mma_product(const wkv_product_params* params);
int wkv_emulated_wgmma_product(const wkv_product_params* params);

int wkv_cuda_row_sum(const wkv_row_sum_params* params);
int wkv_cuda_mma_product(const wkv_product_params* params);
int wkv_cuda_wgmma_product(const wkv_product_params* params);

#ifdef __cplusplus
}
#endif
