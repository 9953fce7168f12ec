// Running a probe by name, on either machine.

#pragma once

#include <cstring>
#include <span>
#include <string>

#include "common/error.h"
#include "ptx/test/probe.cuh"
#include "windowkv_testing.h"

namespace windowkv::inline WKV_MACHINE::probe {

inline const Probe* find(std::span<const Probe> probes, const char* name) {
  for (const Probe& probe : probes) {
    if (std::strcmp(probe.name, name) == 0) return &probe;
  }
  return nullptr;
}

// The arguments as the kernel takes them. A status, with the message set when it is an error.
inline int prepare(const wkv_probe_params& params, Arguments& arguments) {
  arguments = {};
  arguments.input = static_cast<const unsigned char*>(params.input);
  arguments.output = static_cast<unsigned char*>(params.output);
  std::memcpy(arguments.values, params.arguments, sizeof(arguments.values));
  if (params.tensor.rank == 0) return WKV_OK;
  ptx::TensorMapSpec spec = {};
  spec.element = static_cast<ptx::Element>(params.tensor.element);
  spec.rank = params.tensor.rank;
  spec.base = params.tensor.of_output ? params.output : params.input;
  for (int i = 0; i < ptx::kMaxTensorRank; ++i) {
    spec.size[i] = params.tensor.size[i];
    spec.stride_bytes[i] = params.tensor.stride_bytes[i];
    spec.box[i] = params.tensor.box[i];
  }
  spec.swizzle = static_cast<ptx::Swizzle>(params.tensor.swizzle);
  spec.fill = static_cast<ptx::Fill>(params.tensor.fill);
  const char* error = ptx::encode_tensor_map(arguments.map, spec);
  return error == nullptr ? WKV_OK : set_error(WKV_INVALID_ARGUMENT, error);
}

}  // namespace windowkv::inline WKV_MACHINE::probe
