// A probe is a small kernel around one ptx function: it takes what each thread passes to the
// function from a buffer and writes what it got to another, so that a test can compare with the PTX
// manual.

#pragma once

#include "ptx/barrier.h"
#include "ptx/tensor_map.h"
#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::probe {

struct Arguments {
  const unsigned char* input;
  unsigned char* output;
  int64_t values[8];
  ptx::TensorMap map;
};

struct Probe {
  const char* name;
  int threads;  // of a block
  int cluster;
  size_t shared_bytes;
  void (*kernel)(const __grid_constant__ Arguments arguments);
};

// Element i of a buffer.
template <class T>
WKV_FN const T& in(const Arguments& arguments, int64_t i) {
  return reinterpret_cast<const T*>(arguments.input)[i];
}
template <class T>
WKV_FN T& out(const Arguments& arguments, int64_t i) {
  return reinterpret_cast<T*>(arguments.output)[i];
}

}  // namespace windowkv::inline WKV_MACHINE::probe
