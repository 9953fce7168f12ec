// Errors of the CUDA runtime as statuses.

#pragma once

#include <cuda_runtime.h>

#include <string>

#include "common/error.h"

namespace windowkv {

// WKV_OK, or the status of `error` with a message that names the call, what went wrong and, where
// there is one, the way out. The error is taken from CUDA, so that no innocent later call meets it;
// one that poisons the context comes again.
inline wkv_status cuda_status(const char* call, cudaError_t error) {
  if (error == cudaSuccess) return WKV_OK;
  cudaGetLastError();
  const std::string message =
      std::string(call) + ": " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error);
  switch (error) {
    case cudaErrorMemoryAllocation:
      return set_error(WKV_OUT_OF_MEMORY, message);
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
      return set_error(WKV_UNSUPPORTED, message +
                                            ". Is there such an NVIDIA GPU, and is it visible "
                                            "(CUDA_VISIBLE_DEVICES)?");
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
      return set_error(WKV_UNSUPPORTED, message + ". Install or update the NVIDIA driver");
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return set_error(WKV_UNSUPPORTED, message +
                                            ". Build with WINDOWKV_CUDA_ARCHS set to this "
                                            "GPU's architecture, or update the driver");
    default:
      return set_error(WKV_DEVICE_ERROR, message);
  }
}

}  // namespace windowkv
