// The kernels' entry points, for the tables of both machines. Each is defined in the emulate.cpp
// and the launch.cu of its folder.

#pragma once

#include "windowkv.h"

#define WKV_ENTRY_POINT(name)                                            \
  extern "C" int wkv_emulated_##name(const wkv_##name##_params* params); \
  extern "C" int wkv_cuda_##name(const wkv_##name##_params* params);

WKV_ENTRY_POINT(prefill)
WKV_ENTRY_POINT(score)
WKV_ENTRY_POINT(select)
WKV_ENTRY_POINT(gather)
WKV_ENTRY_POINT(decode)
WKV_ENTRY_POINT(advance)
WKV_ENTRY_POINT(rms_norm)
WKV_ENTRY_POINT(rope)
WKV_ENTRY_POINT(silu_mul)
WKV_ENTRY_POINT(embedding)
WKV_ENTRY_POINT(sample)

// Sizes do not depend on the machine.
extern "C" int wkv_score_workspace_size(const wkv_score_params* params, size_t* bytes);
extern "C" int wkv_decode_workspace_size(const wkv_decode_params* params, size_t* bytes);

#undef WKV_ENTRY_POINT
