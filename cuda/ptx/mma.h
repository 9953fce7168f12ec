// The tensor cores of a warp: d = a b + c with a 16 x 16, b 16 x 8.
//
// PTX: mma.sync.aligned.m16n8k16.row.col.f32.{f16,bf16}.{f16,bf16}.f32 ("Warp Level Matrix
// Instructions: mma, Matrix Fragments for mma.m16n8k16 with floating point type"). SM: 80. Called
// by all 32 lanes of a warp, from the same line. T: Half or Bfloat16.
//
// With g = lane / 4 and t = lane % 4:
//   a[0]: row g, columns 2t, 2t+1      a[1]: row g+8, columns 2t, 2t+1
//   a[2]: row g, columns 2t+8, 2t+9    a[3]: row g+8, columns 2t+8, 2t+9
//   b[0]: rows 2t, 2t+1 of column g    b[1]: rows 2t+8, 2t+9 of column g
//   c, d [0], [1]: row g, columns 2t, 2t+1    [2], [3]: row g+8, columns 2t, 2t+1
// Products are exact; how the 17 terms are rounded is not specified. The emulated GPU adds the
// products one by one in float, in the order of k.

#pragma once

#include "ptx/machine.h"
#include "ptx/number.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// d and c may be the same array.
template <class T>
WKV_PTX void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                          const float (&c)[4], Where where = {});

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(mma)
