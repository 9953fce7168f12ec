#pragma once

#include <bit>

namespace windowkv::inline WKV_MACHINE::ptx {

enum class ShuffleKind { kIndex, kUp, kDown, kXor };
uint32_t shuffle_bits(ShuffleKind kind, uint32_t value, int operand, uint32_t mask, int width,
                      Where where);

template <class T>
WKV_FN T shuffle(T value, int source, uint32_t mask, int width, Where where) {
  return std::bit_cast<T>(shuffle_bits(ShuffleKind::kIndex, std::bit_cast<uint32_t>(value), source,
                                       mask, width, where));
}
template <class T>
WKV_FN T shuffle_up(T value, int delta, uint32_t mask, int width, Where where) {
  return std::bit_cast<T>(
      shuffle_bits(ShuffleKind::kUp, std::bit_cast<uint32_t>(value), delta, mask, width, where));
}
template <class T>
WKV_FN T shuffle_down(T value, int delta, uint32_t mask, int width, Where where) {
  return std::bit_cast<T>(
      shuffle_bits(ShuffleKind::kDown, std::bit_cast<uint32_t>(value), delta, mask, width, where));
}
template <class T>
WKV_FN T shuffle_xor(T value, int lane_mask, uint32_t mask, int width, Where where) {
  return std::bit_cast<T>(shuffle_bits(ShuffleKind::kXor, std::bit_cast<uint32_t>(value), lane_mask,
                                       mask, width, where));
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
