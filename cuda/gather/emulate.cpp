#include "common/emulate.h"

#include "gather/kernel.cuh"
#include "machines/kernels.h"

extern "C" int wkv_emulated_gather(const wkv_gather_params* params) {
  using namespace windowkv;
  using namespace windowkv::gather;
  const wkv_status status = check(params);
  if (status != WKV_OK) return status;
  return for_each_launch(*params, [](const Launch& launch, unsigned blocks) {
    return emulate({.grid = {blocks}, .block = {kThreads}, .cluster = {}, .shared_bytes = 0}, [&] {
      launch.division.in_place ? gather_kernel<kUnrollInPlace>(launch)
                               : gather_kernel<kUnroll>(launch);
    });
  });
}
