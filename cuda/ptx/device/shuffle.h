#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

template <class T>
WKV_FN T shuffle(T value, int source, uint32_t mask, int width, Where) {
  static_assert(sizeof(T) == 4);
  return __shfl_sync(mask, value, source, width);
}
template <class T>
WKV_FN T shuffle_up(T value, int delta, uint32_t mask, int width, Where) {
  static_assert(sizeof(T) == 4);
  return __shfl_up_sync(mask, value, delta, width);
}
template <class T>
WKV_FN T shuffle_down(T value, int delta, uint32_t mask, int width, Where) {
  static_assert(sizeof(T) == 4);
  return __shfl_down_sync(mask, value, delta, width);
}
template <class T>
WKV_FN T shuffle_xor(T value, int lane_mask, uint32_t mask, int width, Where) {
  static_assert(sizeof(T) == 4);
  return __shfl_xor_sync(mask, value, lane_mask, width);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
