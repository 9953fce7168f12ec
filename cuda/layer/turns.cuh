// Sines and cosines of angles that are exact: 64-bit fractions of a turn.

#pragma once

#include <cmath>

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::layer {

struct Direction {
  float cosine, sine;
};

// Of the angle turns / 2^64 of a turn. The largest error of 2^25 angles of all sizes was 1.34 ulp.
//
// The nearest quarter of a turn is taken off; what is left, t in [-1/8, 1/8], goes into polynomials
// that interpolate sin(2 pi t) / t and (cos(2 pi t) - 1) / t^2 at the Chebyshev nodes of t^2.
WKV_FN Direction direction(uint64_t turns) {
  const uint64_t quarter = (turns + (uint64_t{1} << 61)) >> 62;
  const float t = static_cast<float>(static_cast<int64_t>(turns - (quarter << 62))) * 0x1p-64f;
  const float square = t * t;

  // 2 pi to 48 bits, as two floats.
  constexpr float kTurn = 6.28318548f, kTurnRest = -1.94212200e-7f;
  float sine = fmaf(square, -75.4016127f, 81.5925428f);
  sine = fmaf(square, sine, -41.3416626f);
  sine = fmaf(square, sine, kTurnRest);
  sine = fmaf(t, kTurn, t * sine);

  float cosine = fmaf(square, 59.4241060f, -85.4488201f);
  cosine = fmaf(square, cosine, 64.9393691f);
  cosine = fmaf(square, cosine, -19.7392088f);
  cosine = fmaf(square, cosine, 1.0f);

  const bool odd = quarter % 2 != 0;
  const bool back = quarter / 2 % 2 != 0;
  const float x = odd ? -sine : cosine;
  const float y = odd ? cosine : sine;
  return {back ? -x : x, back ? -y : y};
}

}  // namespace windowkv::inline WKV_MACHINE::layer
