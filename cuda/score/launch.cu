// Architectures: sm_80 and later.

#include "common/dispatch.h"
#include "common/launch.cuh"
#include "machines/kernels.h"
#include "score/columns.cuh"
#include "score/pool.cuh"
#include "score/windows.cuh"

namespace {

using namespace windowkv;
using namespace windowkv::score;

template <class T, int kHeadDim>
int run_columns(const wkv_score_params& params, int64_t blocks) {
  const int spans = num_spans(params, blocks);
  const int64_t grid = int64_t{spans} * params.batch * params.num_heads_kv;
  return launch(score_columns_kernel<T, kHeadDim>, dim3(static_cast<unsigned>(grid)),
                dim3(kThreads), 1, sizeof(ColumnsStorage<T, kHeadDim>), params.stream, params,
                spans);
}

int multiprocessors(int* count) {
  int device = 0;
  const int status = cuda_status("cudaGetDevice", cudaGetDevice(&device));
  if (status != WKV_OK) return status;
  return cuda_status("cudaDeviceGetAttribute",
                     cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, device));
}

}  // namespace

extern "C" int wkv_cuda_score(const wkv_score_params* given) {
  int status = check(given);
  if (status != WKV_OK || given->batch == 0 || given->sequences_kv.max_seqlen == 0) return status;
  const wkv_score_params params = prepared(*given);
  int sms = 0;
  status = multiprocessors(&sms);
  if (status != WKV_OK) return status;

  const int64_t blocks = int64_t{sms} * kBlocksOfSm;
  status = dispatch(params.dtype, params.head_dim, [&]<class T, int kHeadDim>() {
    return run_columns<T, kHeadDim>(params, blocks);
  });
  if (status != WKV_OK) return status;
  const int64_t pool_grid = pool_tiles(params) * params.batch * params.column_heads;
  if (params.column_scores.data != nullptr) {
    status = launch(score_pool_kernel, dim3(static_cast<unsigned>(pool_grid)), dim3(kPoolThreads),
                    1, 0, params.stream, params);
    if (status != WKV_OK) return status;
  }
  const int64_t window_grid = window_tiles(params) * params.batch;
  if (params.window_scores.data != nullptr) {
    status = launch(score_windows_kernel, dim3(static_cast<unsigned>(window_grid)),
                    dim3(kWindowThreads), 1, sizeof(WindowsStorage), params.stream, params);
  }
  return status;
}
