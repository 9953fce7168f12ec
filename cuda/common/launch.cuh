// Launching from a launch.cu.

#pragma once

#include <cuda_runtime.h>

#include "common/cuda_status.h"

namespace windowkv {

// Launches `kernel` on the stream; `cluster` blocks in a row of x run together. A grid may be
// empty: then nothing is launched.
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, unsigned cluster,
           size_t shared_bytes, void* stream, Arguments... arguments) {
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(shared_bytes));
  if (error == cudaSuccess) {
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {cluster, 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = static_cast<cudaStream_t>(stream);
    config.attrs = &attribute;
    config.numAttrs = cluster > 1 ? 1 : 0;
    error = cudaLaunchKernelEx(&config, kernel, arguments...);
  }
  return cuda_status("launch", error);
}

}  // namespace windowkv
