// The workspace of the scores, whose size no machine changes.

#include "machines/kernels.h"
#include "score/config.cuh"

extern "C" int wkv_score_workspace_size(const wkv_score_params* params, size_t* bytes) {
  const wkv_status status = windowkv::score::check_workspace_size(params, bytes);
  if (status == WKV_OK) *bytes = windowkv::score::workspace_bytes(*params);
  return status;
}
