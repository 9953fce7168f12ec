#include "ptx/mma.h"

#include "ptx/shuffle.h"
#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

struct Arguments {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
  const float* c;
};

template <class T>
void multiply(simt::Warp&, uint32_t, const void* const* arguments) {
  float a[16][16], b[16][8], d[16][8];
  const auto unpack = [](uint32_t pair, float& low, float& high) {
    low = to_float(T{static_cast<uint16_t>(pair)});
    high = to_float(T{static_cast<uint16_t>(pair >> 16)});
  };
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const Arguments*>(arguments[lane]);
    const int g = lane / 4, t = 2 * (lane % 4);
    unpack(mine.a[0], a[g][t], a[g][t + 1]);
    unpack(mine.a[1], a[g + 8][t], a[g + 8][t + 1]);
    unpack(mine.a[2], a[g][t + 8], a[g][t + 9]);
    unpack(mine.a[3], a[g + 8][t + 8], a[g + 8][t + 9]);
    unpack(mine.b[0], b[t][g], b[t + 1][g]);
    unpack(mine.b[1], b[t + 8][g], b[t + 9][g]);
    d[g][t] = mine.c[0];
    d[g][t + 1] = mine.c[1];
    d[g + 8][t] = mine.c[2];
    d[g + 8][t + 1] = mine.c[3];
  }
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 16; ++k) {
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const Arguments*>(arguments[lane]);
    const int g = lane / 4, t = 2 * (lane % 4);
    mine.d[0] = d[g][t];
    mine.d[1] = d[g][t + 1];
    mine.d[2] = d[g + 8][t];
    mine.d[3] = d[g + 8][t + 1];
  }
}

}  // namespace

void mma_half(float* d, const uint32_t* a, const uint32_t* b, const float* c, Where where) {
  const Arguments arguments{d, a, b, c};
  simt::meet_warp({"mma.m16n8k16.f16", true, false}, kFullWarp, &arguments, multiply<Half>, where);
}

void mma_bfloat16(float* d, const uint32_t* a, const uint32_t* b, const float* c, Where where) {
  const Arguments arguments{d, a, b, c};
  simt::meet_warp({"mma.m16n8k16.bf16", true, false}, kFullWarp, &arguments, multiply<Bfloat16>,
                  where);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
