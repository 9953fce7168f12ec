#pragma once

#include <cstring>

namespace windowkv::inline WKV_MACHINE::ptx {

// What the 128 bytes hold here. The magic number tells a map from bytes that nobody encoded.
struct EncodedTensorMap {
  static constexpr uint32_t kMagic = 0x746d6170;
  uint32_t magic;
  uint8_t element, rank, swizzle, fill;
  const void* base;
  uint64_t last[kMaxTensorRank];  // size - 1
  uint64_t stride_bytes[kMaxTensorRank];
  uint16_t box[kMaxTensorRank];
};
static_assert(sizeof(EncodedTensorMap) <= sizeof(TensorMap));

inline const char* encode_tensor_map(TensorMap& map, const TensorMapSpec& spec) {
  if (const char* error = check_tensor_map(spec)) return error;
  EncodedTensorMap encoded = {};
  encoded.magic = EncodedTensorMap::kMagic;
  encoded.element = static_cast<uint8_t>(spec.element);
  encoded.rank = static_cast<uint8_t>(spec.rank);
  encoded.swizzle = static_cast<uint8_t>(spec.swizzle);
  encoded.fill = static_cast<uint8_t>(spec.fill);
  encoded.base = spec.base;
  for (int i = 0; i < kMaxTensorRank; ++i) {
    const bool used = i < spec.rank;
    encoded.last[i] = used ? spec.size[i] - 1 : 0;
    encoded.stride_bytes[i] = used && i > 0 ? spec.stride_bytes[i] : 0;
    encoded.box[i] = static_cast<uint16_t>(used ? spec.box[i] : 1);
  }
  std::memset(&map, 0, sizeof(map));
  std::memcpy(&map, &encoded, sizeof(encoded));
  return nullptr;
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
