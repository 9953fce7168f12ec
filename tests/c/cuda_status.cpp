// CUDA's errors as statuses, each with a way out where there is one. Needs the CUDA runtime's
// headers and library, and no GPU.

#include "common/cuda_status.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

int main() {
  const struct {
    cudaError_t error;
    wkv_status status;
    const char* advice;
  } cases[] = {
      {cudaSuccess, WKV_OK, ""},
      {cudaErrorMemoryAllocation, WKV_OUT_OF_MEMORY, "cudaErrorMemoryAllocation"},
      {cudaErrorNoDevice, WKV_UNSUPPORTED, "CUDA_VISIBLE_DEVICES"},
      {cudaErrorInvalidDevice, WKV_UNSUPPORTED, "CUDA_VISIBLE_DEVICES"},
      {cudaErrorInsufficientDriver, WKV_UNSUPPORTED, "update the NVIDIA driver"},
      {cudaErrorStubLibrary, WKV_UNSUPPORTED, "update the NVIDIA driver"},
      {cudaErrorSystemDriverMismatch, WKV_UNSUPPORTED, "update the NVIDIA driver"},
      {cudaErrorNoKernelImageForDevice, WKV_UNSUPPORTED, "WINDOWKV_CUDA_ARCHS"},
      {cudaErrorUnsupportedPtxVersion, WKV_UNSUPPORTED, "WINDOWKV_CUDA_ARCHS"},
      {cudaErrorIllegalAddress, WKV_DEVICE_ERROR, "cudaErrorIllegalAddress"},
      {cudaErrorLaunchFailure, WKV_DEVICE_ERROR, "cudaErrorLaunchFailure"},
  };
  int failures = 0;
  for (const auto& one : cases) {
    const wkv_status status = windowkv::cuda_status("a call", one.error);
    const char* message = status == WKV_OK ? "" : wkv_last_error();
    const bool named = status == WKV_OK || std::strncmp(message, "a call: cudaError", 17) == 0;
    if (status == one.status && named && std::strstr(message, one.advice) != nullptr) continue;
    ++failures;
    std::printf("%s: status %d, \"%s\", expected %d, \"%s\"\n", cudaGetErrorName(one.error), status,
                message, one.status, one.advice);
  }
  std::printf("%zu errors of CUDA, %d of them not told as they should be\n",
              sizeof(cases) / sizeof(cases[0]), failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
