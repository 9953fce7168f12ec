// The tables of the emulated GPU.

#include <cstdlib>
#include <cstring>
#include <string>

#include "common/error.h"
#include "machines/kernels.h"
#include "machines/machines.h"
#include "samples/samples.h"
#include "simt/launch.h"

namespace {

using windowkv::set_error;

// The emulated GPU is a Hopper, the only one.
int open(int ordinal, int* capability) {
  if (ordinal != 0) {
    return set_error(WKV_UNSUPPORTED, "there is one emulated GPU, number 0");
  }
  *capability = 90;
  return WKV_OK;
}
int bind(int) { return WKV_OK; }

// As cudaMalloc: aligned to 256 bytes. Filled with NaNs of every format. Not a byte longer than
// asked for, so that AddressSanitizer sees the end.
int allocate(void** memory, size_t bytes) {
  if (posix_memalign(memory, 256, bytes == 0 ? 1 : bytes) != 0) {
    return set_error(WKV_OUT_OF_MEMORY,
                     std::to_string(bytes) + " bytes of host memory are not to be had");
  }
  std::memset(*memory, 0xff, bytes);
  return WKV_OK;
}
int release(void* memory) {
  std::free(memory);
  return WKV_OK;
}
int upload(void* memory, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(memory, host, bytes);
  return WKV_OK;
}
int download(void* host, const void* memory, size_t bytes) {
  if (bytes > 0) std::memcpy(host, memory, bytes);
  return WKV_OK;
}
void configure(uint64_t seed, unsigned workers) { windowkv::simt::configure({seed, workers}); }
uint64_t switches() { return windowkv::simt::last_statistics().switches; }

constexpr wkv_kernels kKernels = {
    .struct_size = sizeof(wkv_kernels),
    .prefill = wkv_emulated_prefill,
    .score = wkv_emulated_score,
    .select = wkv_emulated_select,
    .gather = wkv_emulated_gather,
    .decode = wkv_emulated_decode,
    .advance = wkv_emulated_advance,
    .rms_norm = wkv_emulated_rms_norm,
    .rope = wkv_emulated_rope,
    .silu_mul = wkv_emulated_silu_mul,
    .embedding = wkv_emulated_embedding,
    .sample = wkv_emulated_sample,
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
    .probe = wkv_emulated_probe,
    .row_sum = wkv_emulated_row_sum,
    .mma_product = wkv_emulated_mma_product,
    .wgmma_product = wkv_emulated_wgmma_product,
    .configure = configure,
    .switches = switches,
    .last_error = wkv_last_error,
};

}  // namespace

extern "C" const wkv_kernels* wkv_emulated_kernels(void) { return &kKernels; }
extern "C" const wkv_testing* wkv_emulated_testing(void) { return &kTesting; }
