// Small arithmetic of kernels and launchers.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE {

// The quotient, rounded up; a is not negative, b is positive.
template <class T>
WKV_BOTH T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

}  // namespace windowkv::inline WKV_MACHINE
