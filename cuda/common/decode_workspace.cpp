// The workspace of decode, whose size no machine changes.

#include "decode/config.cuh"
#include "machines/kernels.h"

extern "C" int wkv_decode_workspace_size(const wkv_decode_params* params, size_t* bytes) {
  const wkv_status status = windowkv::decode::check_workspace_size(params, bytes);
  if (status == WKV_OK) *bytes = windowkv::decode::workspace_bytes(*params);
  return status;
}
