// Architectures: sm_80 and later.
//
// The tables of a real GPU.

#include <cuda_runtime.h>

#include "common/error.h"
#include "machines/machines.h"
#include "samples/samples.h"

namespace {

using windowkv::set_error;

int status_of(cudaError_t error) {
  if (error == cudaSuccess) return WKV_OK;
  cudaGetLastError();
  const int status = error == cudaErrorMemoryAllocation ? WKV_OUT_OF_MEMORY
                     : error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver
                         ? WKV_UNSUPPORTED
                         : WKV_DEVICE_ERROR;
  return set_error(static_cast<wkv_status>(status),
                   std::string("CUDA: ") + cudaGetErrorString(error));
}

int open(int* capability) {
  int device = 0, major = 0, minor = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  }
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  }
  *capability = 10 * major + minor;
  return status_of(error);
}

int allocate(void** memory, size_t bytes) {
  const int status = status_of(cudaMalloc(memory, bytes == 0 ? 1 : bytes));
  if (status != WKV_OK) return status;
  return status_of(cudaMemset(*memory, 0xff, bytes));
}
int release(void* memory) { return status_of(cudaFree(memory)); }
int upload(void* memory, const void* host, size_t bytes) {
  return status_of(cudaMemcpy(memory, host, bytes, cudaMemcpyHostToDevice));
}
int download(void* host, const void* memory, size_t bytes) {
  return status_of(cudaMemcpy(host, memory, bytes, cudaMemcpyDeviceToHost));
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

constexpr wkv_kernels kKernels = {sizeof(wkv_kernels), wkv_cuda_row_sum, wkv_cuda_mma_product,
                                  wkv_cuda_wgmma_product};
constexpr wkv_testing kTesting = {
    sizeof(wkv_testing), open,     allocate,      release, upload, download, probe,
    configure,           switches, wkv_last_error};

}  // namespace

extern "C" const wkv_kernels* wkv_cuda_kernels(void) { return &kKernels; }
extern "C" const wkv_testing* wkv_cuda_testing(void) { return &kTesting; }
