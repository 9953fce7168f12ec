// 8 x 8 matrices of 16-bit numbers between shared memory and the fragments of mma.
//
// PTX: ldmatrix.sync.aligned.m8n8.{x1,x2,x4}{.trans}.shared.b16 (SM 75),
// stmatrix.sync.aligned.m8n8.{x1,x2,x4}{.trans}.shared.b16 (SM 90) ("Warp Level Matrix
// Instructions: ldmatrix, stmatrix"). Called by all 32 lanes of a warp, from the same line. Lane 8
// i + r gives the address of row r of matrix i: 16 bytes, 16-byte aligned, in shared memory; the
// addresses of lanes that name no row are not used.
//
// Register i of lane l holds row l / 4 and columns 2 (l % 4), 2 (l % 4) + 1 of matrix i (the lower
// column in the lower half); transposed, it holds column l / 4 and rows 2 (l % 4), 2 (l % 4) + 1.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// N: 1, 2 or 4 matrices. The instruction orders no memory: what other lanes stored needs a barrier.
template <int N>
WKV_PTX void load_matrix(uint32_t (&fragment)[N], const void* row, Where where = {});
template <int N>
WKV_PTX void load_matrix_transposed(uint32_t (&fragment)[N], const void* row, Where where = {});

template <int N>
WKV_PTX void store_matrix(void* row, const uint32_t (&fragment)[N], Where where = {});
template <int N>
WKV_PTX void store_matrix_transposed(void* row, const uint32_t (&fragment)[N], Where where = {});

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(ldmatrix)
