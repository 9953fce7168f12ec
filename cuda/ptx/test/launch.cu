// Architectures: sm_80 and later.

#include "common/launch.cuh"
#include "machines/machines.h"
#include "ptx/test/probes.cuh"
#include "ptx/test/run.h"

int wkv_cuda_probe_sm80(const wkv_probe_params* params) {
  using namespace windowkv;
  using namespace windowkv::probe;
  const Probe* probe = find(kProbes, params->name);
  if (probe == nullptr) {
    return set_error(WKV_INVALID_ARGUMENT, std::string("there is no probe ") + params->name);
  }
  Arguments arguments;
  if (const int status = prepare(*params, arguments); status != WKV_OK) return status;
  const int threads = params->threads != 0 ? params->threads : probe->threads;
  return launch(probe->kernel, dim3(static_cast<unsigned>(params->blocks)),
                dim3(static_cast<unsigned>(threads)), static_cast<unsigned>(probe->cluster),
                probe->shared_bytes, nullptr, arguments);
}
