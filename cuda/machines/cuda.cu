// Architectures: sm_80 and later.
//
// The tables of a real GPU.

#include <cuda_runtime.h>

#include "common/cuda_status.h"
#include "common/error.h"
#include "machines/kernels.h"
#include "machines/machines.h"
#include "samples/samples.h"

namespace {

using windowkv::cuda_status;
using windowkv::set_error;

// Its code says whether this build has code for the GPU at hand.
__global__ void image_kernel() {}

int bind(int ordinal) { return cuda_status("cudaSetDevice", cudaSetDevice(ordinal)); }

int open(int ordinal, int* capability) {
  int count = 0, major = 0, minor = 0;
  int status = cuda_status("cudaGetDeviceCount", cudaGetDeviceCount(&count));
  if (status != WKV_OK) return status;
  if (ordinal < 0 || ordinal >= count) {
    return set_error(WKV_UNSUPPORTED, "there is no GPU " + std::to_string(ordinal) +
                                          ": CUDA sees " + std::to_string(count));
  }
  status = bind(ordinal);
  if (status != WKV_OK) return status;
  cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal);
  }
  if (error != cudaSuccess) return cuda_status("cudaDeviceGetAttribute", error);
  *capability = 10 * major + minor;
  cudaFuncAttributes attributes;
  const std::string code = "code for GPU " + std::to_string(ordinal) + ", of compute capability " +
                           std::to_string(major) + "." + std::to_string(minor) +
                           " (8.0 is the least)";
  return cuda_status(code.c_str(), cudaFuncGetAttributes(&attributes, image_kernel));
}

// The memory functions are for tests: they wait for all streams of the device.
int allocate(void** memory, size_t bytes) {
  int status = cuda_status("cudaMalloc", cudaMalloc(memory, bytes == 0 ? 1 : bytes));
  if (status != WKV_OK) return status;
  status = cuda_status("cudaMemset", cudaMemset(*memory, 0xff, bytes));
  return status != WKV_OK ? status : cuda_status("cudaMemset", cudaDeviceSynchronize());
}
int release(void* memory) { return cuda_status("cudaFree", cudaFree(memory)); }
int upload(void* memory, const void* host, size_t bytes) {
  int status = cuda_status("an earlier kernel", cudaDeviceSynchronize());
  if (status != WKV_OK) return status;
  status = cuda_status("cudaMemcpy", cudaMemcpy(memory, host, bytes, cudaMemcpyHostToDevice));
  return status != WKV_OK ? status : cuda_status("cudaMemcpy", cudaDeviceSynchronize());
}
int download(void* host, const void* memory, size_t bytes) {
  const int status = cuda_status("an earlier kernel", cudaDeviceSynchronize());
  if (status != WKV_OK) return status;
  return cuda_status("cudaMemcpy", cudaMemcpy(host, memory, bytes, cudaMemcpyDeviceToHost));
}
int probe(const wkv_probe_params* params) {
  if (params == nullptr || params->struct_size != sizeof(*params) || params->name == nullptr) {
    return set_error(WKV_INVALID_ARGUMENT, "probe: bad params");
  }
  const int status = wkv_cuda_probe_sm80(params);
  return status == WKV_INVALID_ARGUMENT ? wkv_cuda_probe_sm90a(params) : status;
}
void configure(uint64_t, unsigned) {}
uint64_t switches() { return 0; }

constexpr wkv_kernels kKernels = {
    .struct_size = sizeof(wkv_kernels),
    .prefill = wkv_cuda_prefill,
    .score = wkv_cuda_score,
    .select = wkv_cuda_select,
    .gather = wkv_cuda_gather,
    .decode = wkv_cuda_decode,
    .advance = wkv_cuda_advance,
    .rms_norm = wkv_cuda_rms_norm,
    .rope = wkv_cuda_rope,
    .silu_mul = wkv_cuda_silu_mul,
    .embedding = wkv_cuda_embedding,
    .sample = wkv_cuda_sample,
    .score_workspace_size = wkv_score_workspace_size,
    .decode_workspace_size = wkv_decode_workspace_size,
};
constexpr wkv_testing kTesting = {
    .struct_size = sizeof(wkv_testing),
    .open = open,
    .bind = bind,
    .allocate = allocate,
    .release = release,
    .upload = upload,
    .download = download,
    .probe = probe,
    .row_sum = wkv_cuda_row_sum,
    .mma_product = wkv_cuda_mma_product,
    .wgmma_product = wkv_cuda_wgmma_product,
    .configure = configure,
    .switches = switches,
    .last_error = wkv_last_error,
};

}  // namespace

extern "C" const wkv_kernels* wkv_cuda_kernels(void) { return &kKernels; }
extern "C" const wkv_testing* wkv_cuda_testing(void) { return &kTesting; }
