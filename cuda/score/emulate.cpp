#include "common/emulate.h"

#include "common/dispatch.h"
#include "machines/kernels.h"
#include "score/columns.cuh"
#include "score/pool.cuh"
#include "score/windows.cuh"

namespace {

using namespace windowkv;
using namespace windowkv::score;

// Few, so that small tests have blocks with several tiles.
constexpr int64_t kBlocks = 2;

template <class T, int kHeadDim>
int run_columns(const wkv_score_params& params) {
  const int spans = num_spans(params, kBlocks);
  const int64_t grid = int64_t{spans} * params.batch * params.num_heads_kv;
  return emulate({.grid = {static_cast<unsigned>(grid)},
                  .block = {kThreads},
                  .cluster = {},
                  .shared_bytes = sizeof(ColumnsStorage<T, kHeadDim>)},
                 [&] { score_columns_kernel<T, kHeadDim>(params, spans); });
}

}  // namespace

extern "C" int wkv_emulated_score(const wkv_score_params* given) {
  int status = check(given);
  if (status != WKV_OK || given->batch == 0 || given->sequences_kv.max_seqlen == 0) return status;
  const wkv_score_params params = prepared(*given);

  status = dispatch(params.dtype, params.head_dim,
                    [&]<class T, int kHeadDim>() { return run_columns<T, kHeadDim>(params); });
  if (status != WKV_OK) return status;
  const int64_t pool_grid = pool_tiles(params) * params.batch * params.column_heads;
  if (params.column_scores.data != nullptr) {
    status = emulate({.grid = {static_cast<unsigned>(pool_grid)},
                      .block = {kPoolThreads},
                      .cluster = {},
                      .shared_bytes = 0},
                     [&] { score_pool_kernel(params); });
    if (status != WKV_OK) return status;
  }
  const int64_t window_grid = window_tiles(params) * params.batch;
  if (params.window_scores.data != nullptr) {
    status = emulate({.grid = {static_cast<unsigned>(window_grid)},
                      .block = {kWindowThreads},
                      .cluster = {},
                      .shared_bytes = sizeof(WindowsStorage)},
                     [&] { score_windows_kernel(params); });
  }
  return status;
}
