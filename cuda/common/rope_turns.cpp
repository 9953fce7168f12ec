// Frequencies of the rotary embedding as 64-bit fractions of a turn. Host only: in long double,
// whose 64 bits or more of significand leave less than a unit of error in the fraction.

#include <cmath>

#include "common/check.h"
#include "windowkv.h"

namespace {

using Real = long double;
constexpr Real kTurn = 6.283185307179586476925286766559005768L;  // radians

// Radians a position, slowed down for long contexts.
Real scaled(Real frequency, const wkv_llama3_scaling& scaling) {
  const Real wavelength = kTurn / frequency;
  const Real context = scaling.original_max_position_embeddings;
  const Real low = scaling.low_freq_factor, high = scaling.high_freq_factor;
  if (wavelength > context / low) return frequency / scaling.factor;
  if (wavelength < context / high) return frequency;
  const Real smooth = (context / wavelength - low) / (high - low);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

bool positive(double number) { return std::isfinite(number) && number > 0; }

}  // namespace

extern "C" int wkv_rope_turns(uint64_t* turns, int32_t head_dim, double theta,
                              const wkv_llama3_scaling* scaling) {
  windowkv::Check check("rope_turns");
  check.require(turns != nullptr, "turns is null");
  check.require(head_dim >= 2 && head_dim % 2 == 0, "head_dim is %d, not even and above 0",
                head_dim);
  check.require(positive(theta), "theta is %g, not above 0 and finite", theta);
  if (scaling != nullptr) {
    check.require(positive(scaling->factor), "factor is %g, not above 0 and finite",
                  scaling->factor);
    check.require(positive(scaling->original_max_position_embeddings),
                  "original_max_position_embeddings is %g, not above 0 and finite",
                  scaling->original_max_position_embeddings);
    check.require(positive(scaling->low_freq_factor) && positive(scaling->high_freq_factor) &&
                      scaling->low_freq_factor < scaling->high_freq_factor,
                  "low_freq_factor is %g and high_freq_factor %g, not 0 < low < high",
                  scaling->low_freq_factor, scaling->high_freq_factor);
  }
  if (!check.ok()) return check.status();
  for (int i = 0; i < head_dim / 2; ++i) {
    Real frequency = std::pow(Real{theta}, Real{-2} * i / head_dim);
    if (scaling != nullptr) frequency = scaled(frequency, *scaling);
    // Whole turns drop out.
    const Real fraction = std::fmod(frequency / kTurn, Real{1});
    turns[i] = static_cast<uint64_t>(std::ldexp(fraction, 64));
  }
  return WKV_OK;
}
