// Half-precision numbers, as storage and in pairs.
//
// PTX: cvt.rn.{f16,bf16}.f32, cvt.rn.{f16x2,bf16x2}.f32, cvt.f32.{f16,bf16} ("Data Movement and
// Conversion Instructions: cvt"), ex2.approx.ftz.f32 ("Floating Point Instructions: ex2"). SM: 80.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// IEEE binary16: 1 sign, 5 exponent, 10 fraction bits.
struct alignas(2) Half {
  uint16_t bits;
};
// The upper half of a float: 1 sign, 8 exponent, 7 fraction bits.
struct alignas(2) Bfloat16 {
  uint16_t bits;
};

// Exact.
WKV_PTX float to_float(Half value);
WKV_PTX float to_float(Bfloat16 value);

// Rounded to nearest, ties to even; overflow gives an infinity, NaN stays NaN (0x7fff).
template <class T>
WKV_PTX T from_float(float value);

// Two numbers in one register, `low` in bits 0-15: the form in which fragments hold them.
template <class T>
WKV_PTX uint32_t pack(float low, float high);

// 2^x with at most 2 ulp of error; subnormal arguments and results are zero.
WKV_PTX float exp2_approx(float x);

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(number)
