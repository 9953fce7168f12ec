// Which machine a kernel is compiled for. This is the only place that asks: everything else
// includes WKV_MACHINE_HEADER(ptx/..., name) and gets ptx/device (PTX, compiled by nvcc) or
// ptx/host (the emulated GPU, compiled by any C++20 compiler).

#pragma once

// clang-format off
#define WKV_QUOTE(text) #text

#if defined(__CUDACC__)
#define WKV_MACHINE device
#define WKV_MACHINE_HEADER(name) WKV_QUOTE(ptx/device/name.h)
#else
#define WKV_MACHINE emulated
#define WKV_MACHINE_HEADER(name) WKV_QUOTE(ptx/host/name.h)
#endif
// clang-format on

#include WKV_MACHINE_HEADER(machine)
