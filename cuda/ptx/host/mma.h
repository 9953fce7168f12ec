#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

void mma_half(float* d, const uint32_t* a, const uint32_t* b, const float* c, Where where);
void mma_bfloat16(float* d, const uint32_t* a, const uint32_t* b, const float* c, Where where);

template <>
WKV_FN void mma_m16n8k16<Half>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                               const float (&c)[4], Where where) {
  mma_half(d, a, b, c, where);
}
template <>
WKV_FN void mma_m16n8k16<Bfloat16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                   const float (&c)[4], Where where) {
  mma_bfloat16(d, a, b, c, where);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
