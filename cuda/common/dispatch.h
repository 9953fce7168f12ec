// From the dtype and head_dim of a struct to the types that a kernel is made for. Host only.

#pragma once

#include "common/error.h"
#include "ptx/number.h"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE {

// run.operator()<T, kHeadDim>(). Both have been checked.
template <class Run>
int dispatch(wkv_dtype dtype, int head_dim, const Run& run) {
  const auto of_type = [&]<class T>() -> int {
    switch (head_dim) {
      case 32:
        return run.template operator()<T, 32>();
      case 64:
        return run.template operator()<T, 64>();
      case 96:
        return run.template operator()<T, 96>();
      case 128:
        return run.template operator()<T, 128>();
    }
    return set_error(WKV_INVALID_ARGUMENT, "head_dim is not 32, 64, 96 or 128");
  };
  return dtype == WKV_F16 ? of_type.template operator()<ptx::Half>()
                          : of_type.template operator()<ptx::Bfloat16>();
}

}  // namespace windowkv::inline WKV_MACHINE
