// The emulated GPU: the words of CUDA C++ that kernels use, for an ordinary compiler.

#pragma once

#include <cstddef>
#include <cstdint>

// A function of ptx: declared in ptx/*.h, defined here inline or in a .cpp.
#define WKV_PTX
// Any other function that the threads of a kernel call.
#define WKV_FN inline
#define WKV_BOTH constexpr

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)

namespace windowkv::inline WKV_MACHINE {

// The source line of a call: as the default argument `Where where = {}` it is the caller's.
struct Where {
  const char* file;
  unsigned line;
  constexpr Where(const char* in_file = __builtin_FILE(), unsigned on_line = __builtin_LINE())
      : file(in_file), line(on_line) {}
};

}  // namespace windowkv::inline WKV_MACHINE
