// Random numbers that are a function of a key and a counter: Philox4x32-10.
//
// J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE {

struct PhiloxBlock {
  uint32_t words[4];
};

WKV_FN PhiloxBlock philox(PhiloxBlock counter, uint64_t key) {
  constexpr uint32_t kMultipliers[2] = {0xd2511f53, 0xcd9e8d57};
  // The golden ratio and the square root of 3, minus 1.
  constexpr uint32_t kWeyl[2] = {0x9e3779b9, 0xbb67ae85};
  auto low_key = static_cast<uint32_t>(key), high_key = static_cast<uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{kMultipliers[0]} * counter.words[0];
    const uint64_t b = uint64_t{kMultipliers[1]} * counter.words[2];
    counter = {
        {static_cast<uint32_t>(b >> 32) ^ counter.words[1] ^ low_key, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ counter.words[3] ^ high_key, static_cast<uint32_t>(a)}};
    low_key += kWeyl[0];
    high_key += kWeyl[1];
  }
  return counter;
}

}  // namespace windowkv::inline WKV_MACHINE
