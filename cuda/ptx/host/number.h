#pragma once

#include <bit>
#include <cmath>
#include <limits>

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN float to_float(Half value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
  const uint32_t magnitude = value.bits & 0x7fff;
  // Shifted to the place of a float's fields the exponent is 112 too small; a multiplication by
  // 2^112 corrects it for normal and subnormal numbers alike.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00 ? 0x7f800000u | magnitude << 13 : 0;
  return std::bit_cast<float>(sign | (special != 0 ? special : std::bit_cast<uint32_t>(scaled)));
}

WKV_FN float to_float(Bfloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

template <>
WKV_FN Half from_float<Half>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return {0x7fff};
  if (magnitude >= 0x477ff000) return {static_cast<uint16_t>(sign | 0x7c00)};  // from 65520 on
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 leaves the multiple of 2^-24 in the lowest bits, rounded by the adder.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(sum) - 0x3f000000))};
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return {static_cast<uint16_t>(sign | (rounded - 0x38000000) >> 13)};
}

template <>
WKV_FN Bfloat16 from_float<Bfloat16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

template <class T>
WKV_FN uint32_t pack(float low, float high) {
  return from_float<T>(low).bits | static_cast<uint32_t>(from_float<T>(high).bits) << 16;
}

WKV_FN float exp2_approx(float x) {
  const float flushed = std::fabs(x) < std::numeric_limits<float>::min() ? 0.0f : x;
  const float result = std::exp2(flushed);
  return result < std::numeric_limits<float>::min() ? 0.0f : result;
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
